"""Decoys: learners that belong to none of the hypotheses, so that a judge can be caught naming one anyway."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.learners.linear import prefix_sums
from icl_lab.prompts import Point, Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sum_before

SWEEPS, SETTLED = 400, 1e-5  # most sweeps, and the change of a weight below which a sweep is the last


def lasso(task: Task, prompts: Prompts, penalty: Array | float) -> Point:
    """ŷ_i = x_i·w, w = argmin |y − Xw|²/2n + λ|w|₁ over the examples before i.

    By cyclic coordinate descent until no weight moves by more than 1e-5, at most 400 sweeps: hundreds are needed with
    fewer examples than features and a small penalty. Every prompt and prefix stops by itself, so that its answer does
    not depend on what else is in the batch.
    """
    phi = task.features(prompts.x)
    count = jnp.maximum(jnp.arange(phi.shape[1]), 1)[:, None]
    gram, moment = prefix_sums(phi, prompts.y)
    gram, moment = gram / count[..., None], moment / count
    size = phi.shape[-1]

    def coordinate(feature: Array, weights: Array) -> Array:
        curvature = gram[..., feature, feature]
        others = jnp.einsum("bpg,bpg->bp", gram[..., feature, :], weights, precision="highest")
        target = moment[..., feature] - others + curvature * weights[..., feature]
        shrunk = jnp.sign(target) * jnp.maximum(jnp.abs(target) - penalty, 0.0)
        value = jnp.where(curvature > 0, shrunk / jnp.where(curvature > 0, curvature, 1.0), 0.0)
        return weights.at[..., feature].set(value)

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        count, weights, moving = carry
        swept = jax.lax.fori_loop(0, size, coordinate, weights)
        swept = jnp.where(moving[..., None], swept, weights)
        return count + 1, swept, jnp.abs(swept - weights).max(-1) > SETTLED

    def unsettled(carry: tuple[Array, Array, Array]) -> Array:
        return (carry[0] < SWEEPS) & carry[2].any()

    start = (jnp.zeros((), int), jnp.zeros_like(moment), jnp.ones(moment.shape[:-1], bool))
    _, weights, _ = jax.lax.while_loop(unsettled, sweep, start)
    return Point((weights * phi).sum(-1))


def label_mean(task: Task, prompts: Prompts) -> Point:
    """The mean of the labels seen so far, whatever the query; 0 before the first."""
    return Point(sum_before(prompts.y) / jnp.maximum(jnp.arange(prompts.positions), 1))


def label_median(task: Task, prompts: Prompts) -> Point:
    """The median of the labels seen so far; 0 before the first."""
    positions = prompts.positions
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
    ordered = jnp.sort(jnp.where(earlier, prompts.y[:, None, :], jnp.inf), axis=-1)
    count = jnp.arange(positions)
    low, high = jnp.maximum((count - 1) // 2, 0), count // 2

    def pick(index: Array) -> Array:
        return jnp.take_along_axis(ordered, jnp.broadcast_to(index[:, None], (*ordered.shape[:-1], 1)), axis=-1)[..., 0]

    return Point(jnp.where(count > 0, 0.5 * (pick(low) + pick(high)), 0.0))


def previous_label(task: Task, prompts: Prompts) -> Point:
    """The label of the last example, whatever the query; 0 before the first."""
    return Point(jnp.pad(prompts.y[:, :-1], ((0, 0), (1, 0))))
