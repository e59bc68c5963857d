"""Behavioural probes and how to run them: `ask` once per task, then `read` once per learner.

A probe consists of two pure functions. `vary` turns prompts of the task into all prompts of the probe, usually variants
along a leading axis. The other function turns the learner's answers to them into statistics.

`ask` compiles `vary`. `read` compiles the learner alone, for batches of one size, and runs the probe around it one
operation at a time. A program that holds both would take seconds to compile for every pair of probe and learner and
then run for milliseconds, whereas single operations are the same for all learners. A probe may therefore loop over
variants (`lax.map` and `lax.scan` run as Python loops), but long computations without the learner belong in `vary` or
are wrapped in `variants.compiled`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.answers import Learner, answers_of, sample
from icl_lab.tasks import Task

PROMPTS = 64


@dataclasses.dataclass(frozen=True)
class Probe:
    """A behavioural measurement.

    Attributes:
        name: identifier.
        title: for figures and tables.
        question: the question it answers, in one line.
        statistics: names of its numbers.
        vary: (task, key, given prompts) → all prompts of the probe, a pytree.
        read: (learner, task, asked) → [prompt, statistic], one row per independent prompt.
        applies: task → whether the probe makes sense for it.
    """

    name: str
    title: str
    question: str
    statistics: tuple[str, ...]
    vary: Callable[[Task, Array, Prompts], Any]
    read: Callable[[Learner, Task, Any], Float[Array, "prompt statistic"]]
    applies: Callable[[Task], bool]

    def __call__(
        self, learner: Learner, task: Task, key: Array, prompts: int = PROMPTS
    ) -> Float[np.ndarray, "prompt statistic"]:
        """Ask, then read.

        Raises:
            ValueError: the probe does not apply to the task.
        """
        if not self.applies(task):
            raise ValueError(f"task: the probe {self.name} makes no sense for this {type(task).__name__}")
        return read(self, learner, task, ask(self, task, key, prompts), prompts)


def ask(probe: Probe, task: Task, key: Array, prompts: int = PROMPTS) -> Any:
    """Sample prompts from the task's prior and vary them. All probes start from the same prompts under one key."""
    sample_key, vary_key = jax.random.split(key)
    return _vary(probe, task, vary_key, sample(task, sample_key, prompts))


@exact(effort="once", static=("probe",))
def _vary(probe: Probe, task: Task, key: Array, given: Prompts) -> Any:
    return probe.vary(task, key, given)


def read(
    probe: Probe, learner: Learner, task: Task, asked: Any, batch: int = PROMPTS
) -> Float[np.ndarray, "prompt statistic"]:
    """Return the statistics of one learner.

    Args:
        probe: to run.
        learner: a pytree. It is compiled once for every kind, parameters being data, and does not see the latents.
        task: source of the prompts.
        asked: returned by `ask`.
        batch: prompts answered at once; a larger batch is answered in parts.
    """

    def answers(prompts: Prompts) -> Predictions:
        public = prompts.replace(latent=None, scored=jnp.ones(prompts.y.shape, bool))
        with jax.disable_jit(False):
            parts = [
                answers_of(learner, jax.tree.map(lambda leaf, s=start: leaf[s : s + batch], public))
                for start in range(0, len(prompts.y), batch)
            ]
            # A learner that calls back to Python may use JAX there, and deadlocks when much work is queued behind it.
            jax.block_until_ready(parts)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts) if len(parts) > 1 else parts[0]

    with jax.disable_jit(), jax.default_matmul_precision("highest"):
        return np.asarray(probe.read(answers, task, asked))
