"""Measure a learner under a stress test: bias, mismatch and distance per prompt, see `stress.base`.

All learners share what depends on the task alone: changed prompts, both exact learners and the unit. Sampling, exact
learners and subjects are compiled once per kind of task and shape of prompts, for all perturbations.
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
    """Prompts before and after a change, with the answers of the exact learners.

    Attributes:
        before, after: the same sample without and with the change to the prompts.
        trained: t, exact predictive on `after` under the training prior; None if there is no closed form.
        changed: c, the same under the changed prior.
        unit: v on `after`, [prompt, position].
    """

    before: Prompts
    after: Prompts
    trained: Any
    changed: Any
    unit: Any


@dataclasses.dataclass(frozen=True)
class Terms:
    """Means over the scored positions of every prompt, in nats, [prompt]; NaN if there is no exact answer.

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
    """Sample changed prompts and compute both exact answers.

    Args:
        perturbation: the change.
        task: the training task.
        key: of the sample; all strengths share it, so that they differ in the change alone.
        prompts: their number.
        strength: of the change.

    Raises:
        ValueError: the perturbation does not apply to the task.
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
    """Return the learner with the changed format, if it has a format."""
    own = getattr(learner, "format", None)
    if own is None:
        return learner
    other = perturbation.format(own, strength)
    return learner if other == own else dataclasses.replace(learner, format=other)  # pyrefly: ignore


def terms(perturbation: Perturbation, given: Stressed, learner: Learner, strength: Strength) -> Terms:
    """Measure the effect of a change on a learner.

    Args:
        perturbation, strength: those of `given`.
        given: returned by `stressed`.
        learner: a pytree.
    """
    reader = in_format(learner, perturbation, strength)
    answer = answers_of(reader, given.after)
    scored = np.asarray(given.after.scored) & answered(answer)

    def distance_of(first: Predictions | None, second: Predictions | None) -> np.ndarray:
        if first is None or second is None:
            return np.full(len(scored), np.nan)
        found = np.asarray(first.divergence(second, given.unit))
        return _mean(found, scored)

    lost, mismatch = distance_of(given.changed, answer), distance_of(given.changed, given.trained)
    moved = np.full(len(scored), np.nan)
    if perturbation.aligned:
        moved = distance_of(answers_of(learner, given.before), answer)
    if not perturbation.likelihood:
        lost = mismatch = np.full(len(scored), np.nan)
    distance = distance_of(given.trained, answer) if perturbation.likelihood else np.full(len(scored), np.nan)
    return Terms(lost - mismatch, mismatch, distance, moved)


def answered(answer: Predictions) -> np.ndarray:
    """Return whether the learner answers a position, [prompt, position]; some formats read the last one only.

    A position answered in some prompt counts in all: an answer that is not finite there is infinitely far.
    """
    finite = np.isfinite(np.asarray(answer.mean_target())).all(-1)
    return np.broadcast_to(finite.any(0), finite.shape)


def _mean(values: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Return the mean over scored positions: infinite if a value is not finite, NaN if none is scored."""
    count = scored.sum(-1)
    known = np.where(np.isfinite(values), values, np.inf)
    return np.where(scored, known, 0.0).sum(-1) / np.where(count > 0, count, np.nan)
