"""Responses of the last answer to labels and query, which need only calls of the learner."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, last_answer, stack
from icl_lab.tasks import Task


@exact
def label_influence(learner: Learner, task: Task, prompts: Prompts) -> Float[Array, "batch example"]:
    """Return a_i = ⟨Δt̂_N, Δt_i⟩ / |Δt_i|², the change of the last answer when the label of example i < N changes.

    For answers linear in the targets (smoothers, copiers, ridge, gradient descent on squared error) these are the
    weights: a kernel smoother has a ≥ 0 with Σa = 1, copying is one-hot, ridge and gradient descent are signed. The
    change is `task.outcomes.altered`: a little more, or the next class; in a stream, the next input changes with it.

    Args:
        learner: a pytree that can be called, such as TransformerLearner or ReferenceLearner.
    """
    outcomes = task.outcomes
    before = last_answer(learner, prompts)
    other = outcomes.altered(prompts.y)

    def one(index: Array) -> Array:
        here = jnp.arange(prompts.positions) == index
        changed = task.with_outcomes(prompts, jnp.where(here, other, prompts.y))
        step = (outcomes.targets(other) - outcomes.targets(prompts.y))[:, index]
        return ((last_answer(learner, changed) - before) * step).sum(-1) / jnp.square(step).sum(-1)

    return jax.lax.map(one, jnp.arange(prompts.positions - 1)).T


@exact
def query_sensitivity(learner: Learner, prompts: Prompts) -> Float[Array, "batch feature_target"]:
    """Return ∂t̂_N/∂x_N, the weights of a linear learner, by which von Oswald et al. 2022 compare models.

    In forward mode, one feature after the other: reverse mode cannot differentiate a loop whose length is data, such as
    the loop over a pool.
    """

    def answer(query: Array) -> Array:
        return last_answer(learner, prompts.replace(x=prompts.x.at[:, -1].set(query)))

    query = prompts.x[:, -1]

    def along(direction: Array) -> Array:
        return jax.jvp(answer, (query,), (jnp.broadcast_to(direction, query.shape),))[1]

    found = jax.lax.map(along, jnp.eye(query.shape[1], dtype=query.dtype))
    return jnp.moveaxis(found, 0, 1).reshape(query.shape[0], -1)


def alignment(first: Float[Array, "batch entry"], second: Float[Array, "batch entry"]) -> Float[Array, " batch"]:
    """Return the cosine of two sensitivities for every prompt; 0 if one of them vanishes."""
    product = jnp.linalg.norm(first, axis=-1) * jnp.linalg.norm(second, axis=-1)
    return jnp.where(product > 0, (first * second).sum(-1) / jnp.where(product > 0, product, 1.0), 0.0)


@exact
def label_nonlinearity(learner: Learner, task: Task, prompts: Prompts, key: Array) -> Float[Array, ""]:
    """Return E[(g((y+y')/√2) − (g(y)+g(y'))/√2)²] / E[g(y)²] with g(y) = ŷ(y) − ŷ(0) and the same inputs.

    y' are outcomes of the same inputs under another prompt's latent. 0 for learners affine in the labels (ridge,
    gradient descent, Nadaraya-Watson, learned starting points); positive for mixtures over a pool, Lasso, medians.
    NaN for classes, which cannot be added.
    """
    if not task.outcomes.linear:
        return jnp.asarray(jnp.nan)
    first, second, both, _ = label_responses(learner, superposed(task, prompts, key))
    defect = both - (first + second) / jnp.sqrt(2.0)
    return jnp.mean(jnp.square(defect)) / jnp.maximum(jnp.mean(jnp.square(first)), jnp.finfo(first.dtype).tiny)


def superposed(task: Task, prompts: Prompts, key: Array) -> Prompts:
    """Return the prompts with labels 0, y, y' and (y + y')/√2, stacked, for real outcomes."""
    latent = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), prompts.latent)
    keys = jax.random.split(key, prompts.y.shape[0])
    other = jax.vmap(lambda lat, x, k: task.outcome(lat, x).sample(k))(latent, prompts.x, keys)
    labels = (jnp.zeros_like(prompts.y), prompts.y, other, (prompts.y + other) / jnp.sqrt(2.0))
    return stack([prompts.replace(y=y) for y in labels])


def label_responses(learner: Learner, variants: Prompts) -> tuple[Array, Array, Array, Array]:
    """Return g(y), g(y'), g((y + y')/√2) and ŷ(0) of `superposed` prompts, all [batch, target]."""
    start, *rest = answers_to(learner, variants)
    first, second, both = (answer - start for answer in rest)
    return first, second, both, start
