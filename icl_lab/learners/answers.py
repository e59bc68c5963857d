"""Prompts of a task and answers to them, compiled: what probes, stress tests, the judge and experiments start from."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task

Learner = Callable[[Prompts], Predictions]


@exact(effort="once", static=("prompts",))
def sample(task: Task, key: Array, prompts: int = 64) -> Prompts:
    """Sample prompts from the task's prior. Compiled, because the prior may be a loop over a large pool."""
    return task.sample(key, prompts)


@exact(effort="quick")
def exact_answers(task: Task, prompts: Prompts) -> Predictions | None:
    """Return the posterior predictive; None where it has no closed form."""
    found = task.posterior_predictive(prompts)
    return None if found is None else found.answer()


@exact(effort="quick")
def unit_of(task: Task, prompts: Prompts) -> Array:
    """Return `task.unit`."""
    return task.unit(prompts)


@exact(effort="quick")
def answers_of(learner: Learner, prompts: Prompts) -> Predictions:
    """Return a learner's answers. The learner is a pytree, so one program serves all of its kind."""
    return learner(prompts).answer()


def last_answer(learner: Learner, prompts: Prompts) -> Float[Array, "batch target"]:
    """Return the mean targets at the last position: ŷ alone, or the probability of every class."""
    return learner(prompts).mean_target()[:, -1]


def stack(variants: Sequence[Prompts]) -> Prompts:
    """Stack variants of a batch along a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants)


def answers_to(learner: Learner, variants: Prompts) -> Float[Array, "variant batch target"]:
    """Return the last answers to stacked variants of a batch, computed one variant after the other."""
    return jax.lax.map(lambda prompts: last_answer(learner, prompts), variants)
