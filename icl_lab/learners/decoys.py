"""Decoys: learners that belong to none of the hypotheses, so that a judge can be caught naming one anyway."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Point, Predictions, Prompts
from icl_lab.learners.linear import prefix_means
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
    gram, moment = prefix_means(phi, prompts.y[..., None])
    moment = moment[..., 0]
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


def label_mean(task: Task, prompts: Prompts, pseudo_count: Array | float = 0.0) -> Predictions:
    """The mean target seen so far, whatever the query, with `pseudo_count` neutral ones; of a chain, unigram counts."""
    outcomes = task.outcomes
    total = sum_before(outcomes.targets(prompts.y) - outcomes.neutral, axis=1)
    count = jnp.arange(prompts.positions)[:, None] + pseudo_count
    return outcomes.from_mean(outcomes.neutral + total / jnp.where(count > 0, count, 1))


def label_median(task: Task, prompts: Prompts) -> Predictions:
    """The median of every target's entries so far: of classes, the one in the majority; neutral before the first."""
    outcomes, positions = task.outcomes, prompts.positions
    targets = outcomes.targets(prompts.y)
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)[..., None]
    ordered = jnp.sort(jnp.where(earlier, targets[:, None], jnp.inf), axis=2)  # [batch, position, example, target]
    count = jnp.arange(positions)
    low, high = jnp.maximum((count - 1) // 2, 0), count // 2

    def pick(index: Array) -> Array:
        index = jnp.broadcast_to(index[:, None, None], (*ordered.shape[:2], 1, ordered.shape[3]))
        return jnp.take_along_axis(ordered, index, axis=2)[:, :, 0]

    return outcomes.from_mean(jnp.where(count[:, None] > 0, 0.5 * (pick(low) + pick(high)), outcomes.neutral))


def previous_label(task: Task, prompts: Prompts) -> Predictions:
    """The label of the last example, whatever the query; neutral before the first."""
    outcomes = task.outcomes
    shifted = jnp.pad(outcomes.targets(prompts.y)[:, :-1] - outcomes.neutral, ((0, 0), (1, 0), (0, 0)))
    return outcomes.from_mean(outcomes.neutral + shifted)


def uniform(task: Task, prompts: Prompts) -> Predictions:
    """The answer that knows nothing: 0, or equal shares."""
    outcomes = task.outcomes
    return outcomes.from_mean(jnp.full((*prompts.y.shape, outcomes.size), outcomes.neutral))
