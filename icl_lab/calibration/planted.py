"""Planted learners: references at parameters between grid points, with noise added to their answers."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.prompts import Categorical, Point, Predictions, Prompts
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank, reference_answers
from icl_lab.judging.comparison import zero_predictor
from icl_lab.learners.reference import ReferenceLearner

LARGEST = 100.0  # ratio to the labels' size in nats beyond which answers explode


def between_grid_points(bank: Bank, name: str, seed: int | Sequence[int], margin: float = 0.0) -> dict[str, float]:
    """Draw parameters between grid points, a quarter to three quarters of the way to the next on a log scale.

    Args:
        bank: with the grids.
        name: of the reference.
        seed: of the draw.
        margin: excluded share of every grid at both ends.
    """
    generator = np.random.default_rng([*np.atleast_1d(seed), *name.encode()])
    chosen = {}
    for parameter, values in bank.grids[name].items():
        out = int(margin * len(values))
        low = int(generator.integers(out, max(len(values) - 1 - out, out + 1)))
        share = generator.uniform(0.25, 0.75)
        chosen[parameter] = float(values[low] ** (1 - share) * values[low + 1] ** share)
    return chosen


def steady_parameters(bank: Bank, name: str, seed: int) -> dict[str, float]:
    """Draw parameters whose answers at the next grid point are at most LARGEST times as large as the labels.

    Used for distortions and mixtures, which are negligible beside exploding gradient steps.
    """
    drawn = (between_grid_points(bank, name, (seed, attempt)) for attempt in itertools.count())
    return next(parameters for parameters in drawn if not _explodes(bank, name, parameters))


def _explodes(bank: Bank, name: str, parameters: dict[str, float]) -> bool:
    grid = bank.grids[name]
    corner = tuple(int(np.searchsorted(values, parameters[key])) for key, values in grid.items())
    answers = jax.tree.map(lambda leaf: leaf[corner], bank.predictions[name])
    if isinstance(answers, Categorical):
        return False  # probabilities cannot
    labels = jax.tree.map(np.asarray, bank.task.outcomes.certain(jnp.asarray(bank.prompts.y)))
    sizes = [bank.distances(each, zero_predictor(each)).mean() for each in (answers, labels)]
    return not sizes[0] <= LARGEST * sizes[1]


def learner_at(bank: Bank, name: str, parameters: dict[str, float]) -> ReferenceLearner:
    """Return a reference of the bank at these parameters, with what it learned on the task."""
    given = {key: jnp.float32(value) for key, value in parameters.items()}
    return ReferenceLearner(bank.task, {**bank.prepared[name], **given}, REFERENCES[name][1])


def answers_at(bank: Bank, name: str, parameters: dict[str, float], prompts: Prompts | None = None) -> Predictions:
    """Compute a reference's answers at these parameters (without interpolation), on the bank's prompts or others.

    The same number of prompts as in the bank reuses the bank's compiled program.
    """
    found = reference_answers(learner_at(bank, name, parameters), bank.prompts if prompts is None else prompts)
    return jax.tree.map(np.asarray, found)


def disturbed(answers: Predictions, seed: int | Sequence[int], noise: float) -> Predictions:
    """Add independent normal noise to means, or to logits (log probabilities around their mean).

    Args:
        answers: of every prompt at every position.
        seed: of the noise.
        noise: its size relative to the root mean square of each prompt's answers. Relative to that of all prompts, it
            would exceed the typical answer of a learner whose answers have heavy tails.
    """
    if not noise:
        return answers
    if not isinstance(answers, Categorical):
        return Point(_with_noise(np.asarray(answers.mean_target()[..., 0]), seed, noise))
    logits = np.asarray(answers.log_probs - answers.log_probs.mean(-1, keepdims=True))
    noisy: Any = np.asarray(jax.nn.log_softmax(_with_noise(logits, seed, noise)))
    return Categorical(noisy)


def _with_noise(values: np.ndarray, seed: int | Sequence[int], noise: float) -> Any:  # stored as numpy
    size = np.sqrt(np.mean(np.square(values), axis=tuple(range(1, values.ndim)), keepdims=True))
    return (values + noise * size * np.random.default_rng(seed).normal(size=values.shape)).astype(np.float32)


def mixture(first: Predictions, second: Predictions, share: float) -> Predictions:
    """Return (1 − share)·first + share·second of means, or of probabilities."""
    if isinstance(first, Categorical) and isinstance(second, Categorical):
        logs: Any = np.stack([first.log_probs + np.log1p(-share), second.log_probs + np.log(share)])
        mixed: Any = np.logaddexp(*logs).astype(np.float32)
        return Categorical(mixed)
    mean: Any = (1 - share) * first.mean_target()[..., 0] + share * second.mean_target()[..., 0]
    return Point(mean.astype(np.float32))
