"""What behavioural probes share: the last answer, its scale, and other prompts under the same latents.

A probe comes in two parts. `vary_…(task, key, given)` makes what is asked out of given prompts, mostly variants of them
stacked along a leading axis; the function named like the probe reads a learner on it. The first part takes longer to
compile, and is the same program and the same data for all learners.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task

Learner = Callable[[Prompts], Predictions]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with `exact`, also where a probe runs operation by operation; for what depends on the task alone."""
    program = exact(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.disable_jit(False):
            return program(*arguments)

    return call


def last_answer(learner: Learner, prompts: Prompts) -> Float[Array, "batch target"]:
    """The mean targets answered at the last position of every prompt: ŷ alone, or the probability of every class."""
    return learner(prompts).mean_target()[:, -1]


@exact(effort="once", static=("prompts",))
def sample(task: Task, key: Array, prompts: int = 64) -> Prompts:
    """Prompts from the task's prior: compiled, as a loop over a large pool has to be, but in a hurry."""
    return task.sample(key, prompts)


@exact(effort="quick")
def exact_answers(task: Task, prompts: Prompts) -> Predictions | None:
    """What the posterior predictive answers, None where there is none in closed form; compiled."""
    found = task.posterior_predictive(prompts)
    return None if found is None else found.answer()


@exact(effort="quick")
def unit_of(task: Task, prompts: Prompts) -> Array:
    """`task.unit`, compiled."""
    return task.unit(prompts)


def as_given(task: Task, key: Array, given: Prompts) -> Prompts:
    """The prompts themselves, for probes that ask nothing else."""
    return given


@exact(effort="quick")
def answers_of(learner: Learner, prompts: Prompts) -> Predictions:
    """What a learner answers, compiled; the learner, a pytree, is data."""
    return learner(prompts).answer()


def stack(variants: Sequence[Prompts]) -> Prompts:
    """Variants of a batch along a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants)


def answers_to(learner: Learner, variants: Prompts) -> Float[Array, "variant batch target"]:
    """The last answers to stacked variants of a batch, one after the other: the learner is compiled once."""
    return jax.lax.map(lambda prompts: last_answer(learner, prompts), variants)


def label_scale(task: Task, prompts: Prompts) -> Float[Array, ""]:
    """Standard deviation of all targets of a batch (or of stacked ones): the unit of answers, for all learners."""
    return jnp.std(task.outcomes.targets(prompts.y))


def other_labels(task: Task, prompts: Prompts) -> Shaped[Array, "batch position"]:
    """Another outcome in place of each: one standard deviation more, or the next class.

    Further than `outcomes.altered` goes with real numbers, so that an answer that jumps between stored tasks moves by a
    few times what the label does, not by many times.
    """
    if task.outcomes.linear:
        return prompts.y + label_scale(task, prompts)
    return task.outcomes.altered(prompts.y)


@compiled
def expected_targets(task: Task, latent: object, prompts: Prompts) -> Float[Array, "batch target"]:
    """Expected targets of the last position, of a latent for every prompt."""
    return jax.vmap(lambda lat, x: task.outcome(lat, x).mean_target()[-1])(latent, prompts.x)


def draw_pairs(task: Task, latents: Any, key: Array) -> tuple[Array, Array]:
    """Inputs and outcomes of a prompt for every latent (a pytree with a leading axis)."""

    def one(latent: Any, key: Array) -> tuple[Array, Array]:
        inputs_key, outcome_key = jax.random.split(key)
        return task.draw_pairs(latent, task.draw_inputs(inputs_key, latent), outcome_key)

    return jax.vmap(one)(latents, jax.random.split(key, len(jax.tree.leaves(latents)[0])))


def redraw(task: Task, key: Array, prompts: Prompts) -> tuple[Array, Array]:
    """Inputs and outcomes of other prompts under the same latents, independent of these given the latents."""
    return draw_pairs(task, prompts.latent, key)


def ratio(top: Array, bottom: Array) -> Array:
    """top / bottom, 0 where bottom is 0."""
    return jnp.where(bottom > 0, top / jnp.where(bottom > 0, bottom, 1.0), 0.0)


def growth(before: Float[Array, "*batch target"], after: Float[Array, "*batch target"]) -> Float[Array, "*batch"]:
    """(|b| − |a|)/(|b| + |a|) from a to b, in [−1, 1]: 0 as large, 1/3 twice, 3/5 four times as large, −1 vanished."""
    first, second = jnp.linalg.norm(before, axis=-1), jnp.linalg.norm(after, axis=-1)
    return ratio(second - first, second + first)


def departure(before: Float[Array, "*batch target"], after: Float[Array, "*batch target"]) -> Float[Array, "*batch"]:
    """|b − a|²/(|a|² + |b|²) in [0, 2]: 0 the same, 1 unrelated or one of them vanished, 2 reversed."""
    return ratio(jnp.square(after - before).sum(-1), (jnp.square(before) + jnp.square(after)).sum(-1))
