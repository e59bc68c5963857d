"""Learners that are exact but for one bias of known strength: controls of the stress lab, and its yardstick.

Each family has one parameter and starts at the exact learner of the training prior (strength 0). A subject's bias is
reported as the strength of the family that describes it best, see `stress.strength`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.learners.decoys import label_mean, previous_label
from icl_lab.stress.exact import counted, knows_weighted
from icl_lab.tasks import Task


def forgetting(positions: int, strength: Array | float) -> Array:
    """Return weights of exponential forgetting: example j counts e^{−γ(i−1−j)} times at position i, γ = `strength`."""
    place = jnp.arange(positions)
    return jnp.exp(-strength * jnp.maximum(place[:, None] - 1 - place, 0))


def timid(positions: int, strength: Array | float) -> Array:
    """Return equal weights 1 − `strength` of all examples: the answer stays too near the prior's."""
    return jnp.full((positions,) * 2, 1 - strength)


def majority(task: Task, prompts: Prompts) -> Predictions:
    """Return the mean label of the examples so far."""
    return label_mean(task, prompts, 1.0)


def mixed(task: Task, exact: Predictions | None, other: Predictions, strength: Array | float) -> Predictions:
    """Mix mean targets: a share `strength` of `other`, the rest of the exact answer."""
    if exact is None:
        raise TypeError(f"posterior_predictive: {type(task).__name__} has no exact answer")
    return task.outcomes.from_mean((1 - strength) * exact.mean_target() + strength * other.mean_target())


Family = Callable[[Task, Prompts, Array | float], Predictions]


def weighting(weights: Callable[[int, Array | float], Array]) -> Family:
    """Return the family in which examples count as often as the weights say, [position, example]."""
    return lambda task, prompts, strength: counted(task, prompts, weights(prompts.positions, strength))


def giving_way(other: Callable[[Task, Prompts], Predictions]) -> Family:
    """Return the family in which another answer replaces a share of the exact one."""
    return lambda task, prompts, strength: mixed(
        task, task.posterior_predictive(prompts), other(task, prompts), strength
    )


@dataclasses.dataclass(frozen=True)
class Bias:
    """A family of biased learners.

    Attributes:
        name, title: identifier, and the bias in words.
        unit: of the strength.
        answers: (task, prompts, strength) → predictions; exact at 0.
        grid: strengths to fit, increasing from 0.
        weights, other: arguments of `weighting` or `giving_way`, if `answers` is one of these; families then share
            compiled programs.
    """

    name: str
    title: str
    unit: str
    answers: Family
    grid: tuple[float, ...]
    weights: Callable[[int, Array | float], Array] | None = None
    other: Callable[[Task, Prompts], Predictions] | None = None


SHARES = (0.0, *(float(share) for share in np.geomspace(0.01, 0.9, 20)))
RATES = (0.0, *(float(rate) for rate in np.geomspace(0.01, 1.5, 20)))


def _weighted(name: str, title: str, unit: str, weights: Any, grid: tuple[float, ...]) -> Bias:
    return Bias(name, title, unit, weighting(weights), grid, weights=weights)


def _shared(name: str, title: str, other: Any) -> Bias:
    return Bias(name, title, "share of the answer", giving_way(other), SHARES, other=other)


BIASES: dict[str, Bias] = {
    bias.name: bias
    for bias in (
        _weighted("forgetting", "forgets exponentially", "rate per example", forgetting, RATES),
        _shared("last_label", "copies the last label", previous_label),
        _shared("majority", "follows the majority", majority),
        _weighted("timid", "learns too little from examples", "share of the evidence lost", timid, SHARES),
    )
}


def can_be_biased(task: Task) -> str:
    """Return "" if the task has these families, else the reason why not."""
    return knows_weighted(task)


@pytree_dataclass
class BiasedLearner:
    """A biased learner: one family at one strength."""

    task: Task
    strength: Array | float
    bias: Bias = static()

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        return self.bias.answers(self.task, prompts, self.strength)
