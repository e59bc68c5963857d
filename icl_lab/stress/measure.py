"""Stress a learner: bias, mismatch and distance per prompt, see `stress.base`.

What depends on the task alone (changed prompts, both exact learners, the unit) is shared by all learners. A draw, an
exact learner, and a learner are compiled once per kind of task and shape of prompts, whatever perturbation asks them.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.learners.answers import Learner, answers_of, exact_answers, sample, unit_of
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.tasks import Task


@pytree_dataclass
class Stressed:
    """Prompts before and after a change, and what exact learners say of them.

    Attributes:
        before, after: the same draw without and with the change to the prompts (of another task: another draw).
        trained: t, the training prior's exact predictive on `after`; None where there is none in closed form.
        changed: c, the changed prior's.
        unit: v on `after`, [prompt, position].
    """

    before: Prompts
    after: Prompts
    trained: Any
    changed: Any
    unit: Any


@dataclasses.dataclass(frozen=True)
class Terms:
    """Means over the scored positions of every prompt, in nats, [prompt]; NaN where there is nothing to compare with.

    Attributes:
        bias: D(c‖s) − D(c‖t).
        mismatch: D(c‖t).
        distance: D(t‖s).
        moved: D(s before ‖ s after).
    """

    bias: Float[np.ndarray, " prompt"]
    mismatch: Float[np.ndarray, " prompt"]
    distance: Float[np.ndarray, " prompt"]
    moved: Float[np.ndarray, " prompt"]


NAMES = tuple(field.name for field in dataclasses.fields(Terms))


def stressed(perturbation: Perturbation, task: Task, key: Array, prompts: int, strength: Strength) -> Stressed:
    """A batch of changed prompts with both exact answers.

    Args:
        perturbation: what is changed.
        task: that the subject was trained on.
        key: of the draw; strengths share it, so that what is not changed stays the same.
        prompts: how many.
        strength: how far.

    Raises:
        ValueError: the perturbation makes no sense for the task.
    """
    reason = perturbation.applies(task)
    if reason:
        raise ValueError(f"{perturbation.name}: {reason}")
    draw_key, change_key = jax.random.split(key)
    other = perturbation.task(task, strength)
    before = sample(other, draw_key, prompts)
    after = _changed(perturbation, strength, other, before, change_key)
    trained = exact_answers(task, after)
    changed = trained if other is task else exact_answers(other, after)
    return Stressed(before, after, trained, changed, unit_of(task, after))


@exact(effort="once", static=("perturbation", "strength"))
def _changed(perturbation: Perturbation, strength: Strength, task: Task, prompts: Prompts, key: Array) -> Prompts:
    return perturbation.prompts(task, prompts, key, strength)


def in_format(learner: Learner, perturbation: Perturbation, strength: Strength) -> Learner:
    """The same learner, reading prompts in the changed format if it reads any."""
    own = getattr(learner, "format", None)
    if own is None:
        return learner
    other = perturbation.format(own, strength)
    return learner if other == own else dataclasses.replace(learner, format=other)  # pyrefly: ignore


def terms(perturbation: Perturbation, given: Stressed, learner: Learner, strength: Strength) -> Terms:
    """What the change does to a learner.

    Args:
        perturbation, strength: of `given`.
        given: by `stressed`.
        learner: a pytree, as all of the lab's are.
    """
    reader = in_format(learner, perturbation, strength)
    answer = answers_of(reader, given.after)
    scored = np.asarray(given.after.scored) & answered(answer)

    def apart(first: Predictions | None, second: Predictions | None) -> np.ndarray:
        if first is None or second is None:
            return np.full(len(scored), np.nan)
        found = np.asarray(first.divergence(second, given.unit))
        return _mean(found, scored)

    lost, mismatch = apart(given.changed, answer), apart(given.changed, given.trained)
    moved = np.full(len(scored), np.nan)
    if perturbation.aligned:
        moved = apart(answers_of(learner, given.before), answer)
    if not perturbation.likelihood:
        lost = mismatch = np.full(len(scored), np.nan)
    distance = apart(given.trained, answer) if perturbation.likelihood else np.full(len(scored), np.nan)
    return Terms(lost - mismatch, mismatch, distance, moved)


def answered(answer: Predictions) -> np.ndarray:
    """Positions that the learner answers at all, [prompt, position]: a format may read the last one only.

    One that it answers in some prompt counts in all: an answer that is not finite there is infinitely far.
    """
    finite = np.isfinite(np.asarray(answer.mean_target())).all(-1)
    return np.broadcast_to(finite.any(0), finite.shape)


def _mean(values: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Mean over scored positions, infinite where one is not finite; NaN for prompts without any."""
    count = scored.sum(-1)
    known = np.where(np.isfinite(values), values, np.inf)
    return np.where(scored, known, 0.0).sum(-1) / np.where(count > 0, count, np.nan)
