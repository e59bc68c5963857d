"""Shared parts of behavioural probes: variants of prompts under the same latents, and comparisons of two answers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.tasks import Task


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with `exact`, even while `probe.read` runs operation by operation. For loops without the learner."""
    program = exact(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.disable_jit(False):
            return program(*arguments)

    return call


def as_given(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts themselves, for probes that vary nothing."""
    return given


def label_scale(task: Task, prompts: Prompts) -> Float[Array, ""]:
    """Return the standard deviation of all targets of a batch (or of stacked ones): the unit of answers."""
    return jnp.std(task.outcomes.targets(prompts.y))


def other_labels(task: Task, prompts: Prompts) -> Shaped[Array, "batch position"]:
    """Return another outcome in place of each: one standard deviation more, or the next class.

    Real labels change by more than with `outcomes.altered`. An answer that jumps between stored tasks then moves by a
    few times the change of the label, not by many times.
    """
    if task.outcomes.linear:
        return prompts.y + label_scale(task, prompts)
    return task.outcomes.altered(prompts.y)


@compiled
def expected_targets(task: Task, latent: object, prompts: Prompts) -> Float[Array, "batch target"]:
    """Return the expected targets at the last position, given a latent for every prompt."""
    return jax.vmap(lambda lat, x: task.outcome(lat, x).mean_target()[-1])(latent, prompts.x)


def draw_pairs(task: Task, latents: Any, key: Array) -> tuple[Array, Array]:
    """Sample inputs and outcomes of one prompt for every latent (a pytree with a leading axis)."""

    def one(latent: Any, key: Array) -> tuple[Array, Array]:
        inputs_key, outcome_key = jax.random.split(key)
        return task.draw_pairs(latent, task.draw_inputs(inputs_key, latent), outcome_key)

    return jax.vmap(one)(latents, jax.random.split(key, len(jax.tree.leaves(latents)[0])))


def redraw(task: Task, key: Array, prompts: Prompts) -> tuple[Array, Array]:
    """Sample inputs and outcomes of other prompts under the same latents, independent of these given the latents."""
    return draw_pairs(task, prompts.latent, key)


def ratio(top: Array, bottom: Array) -> Array:
    """Return top / bottom, 0 where bottom is 0."""
    return jnp.where(bottom > 0, top / jnp.where(bottom > 0, bottom, 1.0), 0.0)


def growth(before: Float[Array, "*batch target"], after: Float[Array, "*batch target"]) -> Float[Array, "*batch"]:
    """Return (|b| − |a|)/(|b| + |a|) in [−1, 1]: 0 for equal norms, 1/3 for twice, 3/5 for four times, −1 for b = 0."""
    first, second = jnp.linalg.norm(before, axis=-1), jnp.linalg.norm(after, axis=-1)
    return ratio(second - first, second + first)


def departure(before: Float[Array, "*batch target"], after: Float[Array, "*batch target"]) -> Float[Array, "*batch"]:
    """Return |b − a|²/(|a|² + |b|²) in [0, 2]: 0 for a = b, 1 for orthogonal or if one is 0, 2 for b = −a."""
    return ratio(jnp.square(after - before).sum(-1), (jnp.square(before) + jnp.square(after)).sum(-1))
