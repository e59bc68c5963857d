"""Probes of regression along the eigenvectors of XᵀX, and outside their span.

Learners that are linear in the labels and use only the prompt multiply the component of least squares along an
eigenvector of XᵀX/n with eigenvalue s by a filter g(s): ridge s/(s + λ/n), K steps of gradient descent 1 − (1 − ηs)^K,
Newton's iteration a polynomial of degree 2^K. This is the best test of gradient descent against a Gaussian prior.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, last_answer, stack
from icl_lab.probes.behaviour.variants import label_scale
from icl_lab.tasks import Task

CONDITION = 36.0  # largest over smallest eigenvalue
PROBED = 5  # probed eigenvalues


def spectrum(task: Task) -> Float[Array, " rank"]:
    """Return the eigenvalues of XᵀX/n, increasing at a constant ratio; min(n, d) of them are not 0.

    Their sum is the trace of the training inputs' second moment.
    """
    rank = min(task.examples, task.inputs_size)
    shape = jnp.geomspace(1.0, CONDITION, rank)
    return shape * jnp.trace(task.feature_covariance()) / shape.sum()


def _probed(task: Task) -> Array:
    """Return the indices of probed eigenvalues, evenly spaced; some repeat if there are few."""
    rank = min(task.examples, task.inputs_size)
    return jnp.round(jnp.linspace(0, rank - 1, PROBED)).astype(int)


def probed_eigenvalues(task: Task) -> Float[Array, "5"]:
    """Return the eigenvalues s of the five gains."""
    return spectrum(task)[_probed(task)]


def vary_spectral_filter(task: Task, key: Array, given: Prompts) -> tuple[Prompts, Float[Array, ""]]:
    """Return the prompts of every probed eigenvalue, and the least-squares answer to them."""
    left_key, right_key = jax.random.split(key)
    prompts, count, size = len(given.x), task.examples, given.x.shape[-1]
    values = spectrum(task)
    rank = values.shape[0]
    left = jnp.linalg.qr(jax.random.normal(left_key, (prompts, count, rank)))[0]
    right = jnp.linalg.qr(jax.random.normal(right_key, (prompts, size, rank)))[0]
    x = jnp.einsum("bnr,r,bdr->bnd", left, jnp.sqrt(count * values), right, precision="highest")
    truth = label_scale(task, given)

    variants = []
    for index in _probed(task):
        labels = truth * jnp.sqrt(float(count)) * jnp.take(left, index, axis=-1)
        query = jnp.sqrt(values[index]) * jnp.take(right, index, axis=-1)
        y = jnp.concatenate([labels, jnp.full((prompts, 1), truth)], axis=1)
        variants.append(given.replace(x=jnp.concatenate([x, query[:, None]], axis=1), y=y))
    return stack(variants), truth


def spectral_filter(learner: Learner, task: Task, asked: tuple[Prompts, Array]) -> Float[Array, "prompt statistic"]:
    """Measure the gain g(s) = ŷ/y at five eigenvalues s of XᵀX/n (`probed_eigenvalues`), [prompt, 5], without unit.

    X = √n Q diag(√s) Vᵀ with random orthonormal Q and V. Along eigenvector v of eigenvalue s labels are X·v·c without
    noise, the query is √s·v, and c is such that labels have the task's root mean square, which is also the answer y of
    least squares. The gain is 1 for least squares, 0 for the zero predictor, and large for steps too long for s.
    """
    variants, truth = asked
    return answers_to(learner, variants)[..., 0].T / truth


def vary_orthogonal_query(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return prompts whose query is along a direction missing from their examples."""
    direction_key, label_key = jax.random.split(key)
    direction = jax.random.normal(direction_key, (len(given.x), 1, given.x.shape[-1]))
    direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    flat = given.x - (given.x * direction).sum(-1, keepdims=True) * direction
    query = jnp.linalg.norm(given.x[:, -1:], axis=-1, keepdims=True) * direction
    x = jnp.concatenate([flat[:, :-1], query], axis=1)
    keys = jax.random.split(label_key, len(given.x))
    y = jax.vmap(lambda latent, x, k: task.outcome(latent, x).sample(k))(given.latent, x, keys)
    return given.replace(x=x, y=y)


def orthogonal_query(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Return |ŷ|/std(y) at a query orthogonal to all examples, [prompt, 1]: 0 for isotropic learners that start from 0.

    A random direction u is removed from the examples' inputs before they are labelled, and the query is |x_N|·u, so
    that such a query exists for any number of examples. Smoothers answer a mean of labels; a learned starting point
    answers θ₀·x; a prior with correlated weights infers u from the other directions.
    """
    return jnp.abs(last_answer(learner, asked)) / label_scale(task, asked)
