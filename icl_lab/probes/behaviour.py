"""Behavioural probes: they only call the learner, so they run on any differentiable one.

All of them look at the last position, whose query has the most examples, and return numbers, never a verdict.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.prompts import Predictions, Prompts
from icl_lab.tasks import Task

Learner = Callable[[Prompts], Predictions]


def _answer(learner: Learner, prompts: Prompts) -> Float[Array, " batch"]:
    """The answers ŷ at the last position of every prompt."""
    answer: Any = learner(prompts).answer()
    return answer.mean[:, -1]


def _derivative(function: Callable[[Array], Array], at: Float[Array, "batch entry"]) -> Float[Array, "batch entry"]:
    """∂function_b/∂at_bk of a function that treats prompts apart, one entry after the other in forward mode.

    Reverse mode cannot pass through a loop whose length is data, as that over a pool is.
    """

    def along(direction: Array) -> Array:
        return jax.jvp(function, (at,), (jnp.broadcast_to(direction, at.shape),))[1]

    return jax.lax.map(along, jnp.eye(at.shape[1], dtype=at.dtype)).T


@jax.jit
def label_influence(learner: Learner, prompts: Prompts) -> Float[Array, "batch example"]:
    """a_i = ∂ŷ_N/∂y_i of every example i < N.

    A kernel smoother has a ≥ 0 with Σa = 1, copying is one-hot, gradient descent and ridge are signed.

    Args:
        learner: a pytree that can be called, such as TransformerLearner or ReferenceLearner.
    """
    return _derivative(lambda y: _answer(learner, prompts.replace(y=y)), prompts.y)[:, :-1]


@jax.jit
def query_sensitivity(learner: Learner, prompts: Prompts) -> Float[Array, "batch feature"]:
    """∂ŷ_N/∂x_N: for a linear learner its weights (von Oswald et al. 2022 compare models by them)."""

    def answer(query: Array) -> Array:
        return _answer(learner, prompts.replace(x=prompts.x.at[:, -1].set(query)))

    return _derivative(answer, prompts.x[:, -1])


def alignment(first: Float[Array, "batch feature"], second: Float[Array, "batch feature"]) -> Float[Array, " batch"]:
    """Cosine between two sensitivities of every prompt; 0 where one of them vanishes."""
    product = jnp.linalg.norm(first, axis=-1) * jnp.linalg.norm(second, axis=-1)
    return jnp.where(product > 0, (first * second).sum(-1) / jnp.where(product > 0, product, 1.0), 0.0)


@jax.jit
def label_nonlinearity(learner: Learner, task: Task, prompts: Prompts, key: Array) -> Float[Array, ""]:
    """E[(g((y+y')/√2) − (g(y)+g(y'))/√2)²] / E[g(y)²], g(y) = ŷ(y) − ŷ(0), same inputs; the scale of labels stays.

    y' are outcomes of the same inputs under another prompt's latent. 0 for learners affine in the labels (ridge,
    gradient descent, Nadaraya-Watson, learned starting points); positive for mixtures over a pool, Lasso, medians.
    """
    latent = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), prompts.latent)
    keys = jax.random.split(key, prompts.y.shape[0])
    other = jax.vmap(lambda lat, x, k: task.outcome(lat, x).sample(k))(latent, prompts.x, keys)

    def centred(y: Array) -> Array:
        return _answer(learner, prompts.replace(y=y)) - _answer(learner, prompts.replace(y=jnp.zeros_like(y)))

    first, second = centred(prompts.y), centred(other)
    defect = centred((prompts.y + other) / jnp.sqrt(2.0)) - (first + second) / jnp.sqrt(2.0)
    return jnp.mean(jnp.square(defect)) / jnp.maximum(jnp.mean(jnp.square(first)), jnp.finfo(first.dtype).tiny)
