"""Learners of no hypothesis: references with distorted prompts or answers. The judge uses none of them.

Each distortion keeps the contract of a learner: the answer at position i depends on x_i and the examples before i. It
acts on inputs and targets alone, so it applies to every task.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task

Answer = Callable[[Prompts], Predictions]


@dataclasses.dataclass(frozen=True)
class Distortion:
    """One distortion.

    Attributes:
        name, title: for tables; the title follows that of a reference.
        strengths: lowest and highest strength; drawn uniformly between them.
        apply: (answer, task, prompts, strength) → predictions; `answer` is the undistorted learner.
    """

    name: str
    title: str
    strengths: tuple[float, float]
    apply: Callable[[Answer, Task, Prompts, Any], Predictions]


def blind_to_a_feature(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Set the last feature of every input to zero; the last of one-hot states becomes no state."""
    return answer(prompts.replace(x=jnp.asarray(prompts.x).at[..., -1].set(0.0)))


def misbound(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Bind every input to the label of the example before it; the first to its own."""
    return answer(prompts.replace(y=jnp.concatenate([prompts.y[:, :1], prompts.y[:, :-1]], axis=1)))


def every_second_example(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Replace every second example by the one before it; queries stay as they are."""
    positions = jnp.arange(prompts.positions)

    def doubled(parity: int) -> Predictions:
        """Return prompts that are right at positions of this parity; those of the other repeat their predecessor."""
        source = jnp.where((positions % 2 != parity) & (positions > 0), positions - 1, positions)
        seen = prompts.replace(x=jnp.asarray(prompts.x)[:, source], y=jnp.asarray(prompts.y)[:, source])
        return answer(seen).answer()

    even, odd = doubled(0), doubled(1)

    def choose(a: Array, b: Array) -> Array:
        shape = (1, prompts.positions) + (1,) * (a.ndim - 2)
        return jnp.where((positions % 2 == 0).reshape(shape), a, b)

    return jax.tree.map(choose, even, odd)


def coarse_labels(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Reduce real labels to their sign times the standard deviation; merge the last class into the first."""
    y = jnp.asarray(prompts.y)
    if task.outcomes.linear:
        return answer(prompts.replace(y=jnp.sign(y) * _deviation(task)))
    return answer(prompts.replace(y=jnp.where(y == task.outcomes.size - 1, 0, y)))


def persistent(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Mix a share of the last example's label into the answer."""
    found, outcomes = answer(prompts), task.outcomes
    last = jnp.pad(outcomes.targets(jnp.asarray(prompts.y))[:, :-1] - outcomes.neutral, ((0, 0), (1, 0), (0, 0)))
    return outcomes.from_mean((1 - strength) * found.mean_target() + strength * (last + outcomes.neutral))


def conforming(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Mix a share of the mean label of the examples so far into the answer; at first, of the neutral answer."""
    found, outcomes = answer(prompts), task.outcomes
    seen = jnp.cumsum(outcomes.targets(jnp.asarray(prompts.y)) - outcomes.neutral, axis=1)[:, :-1]
    mean = jnp.pad(seen / jnp.arange(1, prompts.positions)[:, None], ((0, 0), (1, 0), (0, 0)))
    return outcomes.from_mean((1 - strength) * found.mean_target() + strength * (mean + outcomes.neutral))


def squashed(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Saturate real answers at `strength` standard deviations of labels; multiply log odds of classes by it."""
    mean, outcomes = answer(prompts).mean_target(), task.outcomes
    if outcomes.linear:
        limit = _deviation(task) * strength
        return outcomes.from_mean(limit * jnp.tanh(mean / limit))
    return outcomes.from_natural(strength * jnp.log(jnp.maximum(mean, 1e-6)))


def gated(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Keep the answer if the query's first feature is positive; otherwise answer with the mean label so far."""
    mean = conforming(answer, task, prompts, 1.0).mean_target()
    found = jnp.where((jnp.asarray(prompts.x)[..., :1] > 0), answer(prompts).mean_target(), mean)
    return task.outcomes.from_mean(found)


def rounded(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Round real answers to steps of `strength` standard deviations; give the likeliest class 1 − strength/2."""
    mean, outcomes = answer(prompts).mean_target(), task.outcomes
    if outcomes.linear:
        step = strength * _deviation(task)
        return outcomes.from_mean(step * jnp.round(mean / step))
    chosen = jax.nn.one_hot(mean.argmax(-1), outcomes.size)
    return outcomes.from_mean((1 - strength / 2) * chosen + strength / 2 * (1 - chosen) / (outcomes.size - 1))


def lopsided(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Multiply positive answers by 1 + strength and negative ones by 1 − strength; likewise odds of the first class."""
    mean, outcomes = answer(prompts).mean_target(), task.outcomes
    if outcomes.linear:
        return outcomes.from_mean(mean * (1 + strength * jnp.sign(mean)))
    share = mean * jnp.where(jnp.arange(outcomes.size) == 0, (1 + strength) / (1 - strength), 1.0)
    return outcomes.from_mean(share / share.sum(-1, keepdims=True))


def rewired(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Shift the features of every input in the first half of the prompt by one place."""
    x, positions = jnp.asarray(prompts.x), prompts.positions
    early = (jnp.arange(positions) < positions // 2)[:, None]
    return answer(prompts.replace(x=jnp.where(early, jnp.roll(x, 1, axis=-1), x)))


def dragging(answer: Answer, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Mix a share of the previous position's answer into the answer."""
    mean = answer(prompts).mean_target()
    before = jnp.concatenate([mean[:, :1], mean[:, :-1]], axis=1)
    return task.outcomes.from_mean((1 - strength) * mean + strength * before)


@exact
def _deviation(task: Task) -> Array:
    """Return the standard deviation of the labels."""
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
"""Changes of the judge's rule came out of some of these."""

STRANGERS = (
    Distortion("gated", "for positive first features alone", (0.0, 0.0), gated),
    Distortion("rounded", "in whole steps", (0.5, 1.0), rounded),
    Distortion("lopsided", "larger upwards than downwards", (0.3, 0.6), lopsided),
    Distortion("rewired", "of inputs read otherwise in the first half", (0.0, 0.0), rewired),
    Distortion("dragging", "drawn to the answer before", (0.15, 0.4), dragging),
)
"""Written after the last change of the rule, and measured once."""
