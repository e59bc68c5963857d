"""Copying learners: an answer taken from examples of the prompt."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.kernels import squared_distances
from icl_lab.tasks import Task


def copied(task: Task, prompts: Prompts, closeness: Array, neighbours: int) -> Predictions:
    """Mean target of the k examples of greatest `closeness` [batch, position, example] before each position.

    All of them while there are fewer; examples of closeness −∞ are never taken; ties go to the most recent.
    """
    outcomes, positions = task.outcomes, prompts.positions
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
    # Reversed, so that a stable choice among equals is the most recent.
    reverse = jnp.where(earlier, closeness, -jnp.inf)[..., ::-1]
    top, index = jax.lax.top_k(reverse, min(neighbours, positions))
    taken = jnp.isfinite(top)
    targets = outcomes.targets(prompts.y)[:, ::-1]
    chosen = jax.vmap(lambda t, i: t[i])(targets, index) * taken[..., None]
    count = taken.sum(-1, keepdims=True)
    return outcomes.from_mean(jnp.where(count > 0, chosen.sum(-2) / jnp.maximum(count, 1), outcomes.neutral))


def nearest_neighbours(task: Task, prompts: Prompts, neighbours: int) -> Predictions:
    """Mean label of the k examples nearest to the query (all of them while there are fewer); neutral before the first.

    Ties go to the most recent example. k = 1 copies: of a stream, the most recent match.
    """
    return copied(task, prompts, -squared_distances(task.features(prompts.x)), neighbours)


def match_lengths(x: Array) -> Int[Array, "batch position position"]:
    """How many inputs in a row agree, going back from x_i and from x_j: 0 where x_i ≠ x_j.

    In the chain 0 1 1 0 1 1 the last 1 matches position 2 with length 3 (0 1 1), position 1 with length 1, and position
    4 with length 1.
    """
    same: Bool[Array, "batch position position"] = (jnp.abs(x[:, :, None] - x[:, None]) < 1e-6).all(-1)

    def row(previous: Array, now: Array) -> tuple[Array, Array]:
        before = jnp.pad(previous[:, :-1], ((0, 0), (1, 0)))  # match lengths of position i-1 with j-1
        length = jnp.where(now, before + 1, 0)
        return length, length

    start = jnp.zeros(same.shape[::2], jnp.int32)
    _, lengths = jax.lax.scan(row, start, jnp.moveaxis(same, 1, 0))
    return jnp.moveaxis(lengths, 0, 1)


def longest_match(task: Task, prompts: Prompts) -> Predictions:
    """Copies what followed the longest earlier match of the most recent inputs, the most recent among equals.

    The induction rule with an unlimited context (Olsson et al. 2022); neutral where nothing matches.
    """
    lengths = match_lengths(prompts.x)
    return copied(task, prompts, jnp.where(lengths > 0, lengths.astype(jnp.float32), -jnp.inf), 1)


def most_recent_match(task: Task, prompts: Prompts) -> Predictions:
    """Copies what followed the most recent position with the same input; neutral where there is none.

    An induction head (Olsson et al. 2022).
    """
    return copied(task, prompts, jnp.where(match_lengths(prompts.x) > 0, 0.0, -jnp.inf), 1)
