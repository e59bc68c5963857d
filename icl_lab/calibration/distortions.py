"""Learners of no hypothesis: a reference that is shown, or shows, something distorted. None takes part in judging.

Each distortion keeps the contract of a learner (the answer at position i depends on examples before i and on x_i), and
is written on targets and inputs alone, so it serves every task.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.prompts import Predictions, Prompts
from icl_lab.tasks import Task

Answer = Callable[[Prompts], Predictions]


@dataclasses.dataclass(frozen=True)
class Distortion:
    """One way to go wrong.

    Attributes:
        name, title: for tables; the title reads after that of a reference.
        strengths: lowest and highest strength; drawn evenly between.
        apply: (answer, task, prompts, strength) → predictions; `answer` is what the undistorted learner says to
            prompts.
    """

    name: str
    title: str
    strengths: tuple[float, float]
    apply: Callable[[Answer, Task, Prompts, Any], Predictions]


def blind_to_a_feature(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """The last feature of every input is zero; of one-hot states, the last state is none."""
    return answer(prompts.replace(x=jnp.asarray(prompts.x).at[..., -1].set(0.0)))


def misbound(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Every input is bound to the label of the example before it; the first to its own."""
    return answer(prompts.replace(y=jnp.concatenate([prompts.y[:, :1], prompts.y[:, :-1]], axis=1)))


def every_second_example(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Of two examples the first is seen twice and the second not at all; queries are seen as they are."""
    positions = jnp.arange(prompts.positions)

    def doubled(parity: int) -> Predictions:
        """Right at positions of this parity: all of the other parity repeat what comes before them."""
        source = jnp.where((positions % 2 != parity) & (positions > 0), positions - 1, positions)
        seen = prompts.replace(x=jnp.asarray(prompts.x)[:, source], y=jnp.asarray(prompts.y)[:, source])
        return answer(seen).answer()

    even, odd = doubled(0), doubled(1)

    def choose(a: Array, b: Array) -> Array:
        shape = (1, prompts.positions) + (1,) * (a.ndim - 2)
        return jnp.where((positions % 2 == 0).reshape(shape), a, b)

    return jax.tree.map(choose, even, odd)


def coarse_labels(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Real labels are seen by sign alone, at their standard deviation; of classes, the last is taken for the first."""
    y = jnp.asarray(prompts.y)
    if task.outcomes.linear:
        return answer(prompts.replace(y=jnp.sign(y) * _deviation(task)))
    return answer(prompts.replace(y=jnp.where(y == task.outcomes.size - 1, 0, y)))


def persistent(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """A share of the answer is the label of the last example."""
    found, outcomes = answer(prompts), task.outcomes
    last = jnp.pad(outcomes.targets(jnp.asarray(prompts.y))[:, :-1] - outcomes.neutral, ((0, 0), (1, 0), (0, 0)))
    return outcomes.from_mean((1 - strength) * found.mean_target() + strength * (last + outcomes.neutral))


def conforming(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """A share of the answer is the mean label of the examples so far; of the first, the neutral answer."""
    found, outcomes = answer(prompts), task.outcomes
    seen = jnp.cumsum(outcomes.targets(jnp.asarray(prompts.y)) - outcomes.neutral, axis=1)[:, :-1]
    mean = jnp.pad(seen / jnp.arange(1, prompts.positions)[:, None], ((0, 0), (1, 0), (0, 0)))
    return outcomes.from_mean((1 - strength) * found.mean_target() + strength * (mean + outcomes.neutral))


def squashed(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Real answers saturate at `strength` standard deviations of labels; of classes, log odds are multiplied by it."""
    mean, outcomes = answer(prompts).mean_target(), task.outcomes
    if outcomes.linear:
        limit = _deviation(task) * strength
        return outcomes.from_mean(limit * jnp.tanh(mean / limit))
    return outcomes.from_natural(strength * jnp.log(jnp.maximum(mean, 1e-6)))


@jax.jit
def _deviation(task: Task) -> Array:
    """Standard deviation of the labels."""
    return 10 * task.resolution()


DISTORTIONS = (
    Distortion("blind", "blind to a feature", (0.0, 0.0), blind_to_a_feature),
    Distortion("misbound", "bound to the label before", (0.0, 0.0), misbound),
    Distortion("every_second", "of every second example", (0.0, 0.0), every_second_example),
    Distortion("coarse", "of coarse labels", (0.0, 0.0), coarse_labels),
    Distortion("persistent", "drawn to the last label", (0.15, 0.4), persistent),
    Distortion("conforming", "drawn to the mean label", (0.15, 0.4), conforming),
    Distortion("squashed", "saturating", (0.4, 0.7), squashed),
)
