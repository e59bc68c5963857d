"""Biased learners of known strength: exact but for one fault. Controls of the stress lab, and a yardstick.

Each is a one-parameter family that starts at the exact learner of the training prior (strength 0), so that a subject's
fault can be said as the strength of the family that describes it best, see `stress.strength`.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.learners.decoys import label_mean, previous_label
from icl_lab.prompts import Predictions, Prompts
from icl_lab.pytrees import pytree_dataclass, static
from icl_lab.stress.exact import counted, knows_weighted
from icl_lab.tasks import Task


def forgetful(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Example j counts e^{−γ(i−1−j)} times at position i, γ = `strength`: the posterior of a leaky memory."""
    place = jnp.arange(prompts.positions)
    return counted(task, prompts, jnp.exp(-strength * jnp.maximum(place[:, None] - 1 - place, 0)))


def copying(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """The mean target is that of the last label in a share `strength`, of the exact answer in the rest."""
    return _mixed(task, prompts, previous_label(task, prompts), strength)


def majority(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """The mean target is the mean label seen so far in a share `strength`, of the exact answer in the rest."""
    return _mixed(task, prompts, label_mean(task, prompts, 1.0), strength)


def timid(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Every example counts 1 − `strength` times: the answer stays too near the prior's."""
    return counted(task, prompts, jnp.full((prompts.positions,) * 2, 1 - strength))


def _mixed(task: Task, prompts: Prompts, other: Predictions, strength: Array | float) -> Predictions:
    exact = task.posterior_predictive(prompts)
    if exact is None:
        raise TypeError(f"posterior_predictive: {type(task).__name__} has none to be biased")
    return task.outcomes.from_mean((1 - strength) * exact.mean_target() + strength * other.mean_target())


@dataclasses.dataclass(frozen=True)
class Bias:
    """A family of biased learners.

    Attributes:
        name, title: identifier, and the fault in words.
        unit: what the strength is.
        answers: (task, prompts, strength) → predictions; the exact ones at 0.
        grid: strengths that are tried, increasing from 0.
    """

    name: str
    title: str
    unit: str
    answers: Callable[[Task, Prompts, Array | float], Predictions]
    grid: tuple[float, ...]


SHARES = (0.0, *(float(share) for share in np.geomspace(0.01, 0.9, 20)))
RATES = (0.0, *(float(rate) for rate in np.geomspace(0.01, 1.5, 20)))

BIASES: dict[str, Bias] = {
    bias.name: bias
    for bias in (
        Bias("forgetting", "forgets exponentially", "rate per example", forgetful, RATES),
        Bias("last_label", "copies the last label", "share of the answer", copying, SHARES),
        Bias("majority", "follows the majority", "share of the answer", majority, SHARES),
        Bias("timid", "learns too little from examples", "share of the evidence lost", timid, SHARES),
    )
}


def can_be_biased(task: Task) -> str:
    """ "" if the families are known for the task, else why not."""
    return knows_weighted(task)


@pytree_dataclass
class BiasedLearner:
    """A member of a family as a learner."""

    task: Task
    strength: Array | float
    bias: Bias = static()

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        return self.bias.answers(self.task, prompts, self.strength)
