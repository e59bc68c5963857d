"""Planted subjects for tests: every reference at parameters off its grid, with noise, as a network would answer."""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.bank import Bank
from icl_lab.learners.decoys import label_median
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.prompts import Categorical, Point, Predictions, Prompts

NOISE = 0.02


def between_grid_points(bank: Bank, name: str, seed: int, margin: float = 0.25) -> dict[str, float]:
    """Parameters that are no grid point; `margin` is the share of the grid left out at both ends."""
    generator = np.random.default_rng([seed, *name.encode()])
    chosen = {}
    for parameter, values in bank.grids[name].items():
        out = int(margin * len(values))
        low = int(generator.integers(out, max(len(values) - 1 - out, out + 1)))
        share = generator.uniform(0.25, 0.75)
        chosen[parameter] = float(values[low] ** (1 - share) * values[low + 1] ** share)
    return chosen


def with_noise(bank: Bank, values: np.ndarray, seed: int, noise: float = NOISE) -> np.ndarray:
    """Values disturbed by a share of their root mean square at every position of every regime."""
    disturbance = np.random.default_rng(seed).normal(size=values.shape)
    for rows in bank.slices.values():
        disturbance[rows] *= np.sqrt(np.mean(np.square(values[rows]), axis=0))
    return (values + noise * disturbance).astype(np.float32)


def disturbed(bank: Bank, answers: Predictions, seed: int, noise: float = NOISE) -> Predictions:
    """Answers as a network would give them: noise on means, or on logits (log probabilities around their mean)."""
    if not isinstance(answers, Categorical):
        return Point(with_noise(bank, np.asarray(answers.mean), seed, noise))
    logits = np.asarray(answers.log_probs - answers.log_probs.mean(-1, keepdims=True))
    return Categorical(np.asarray(jax.nn.log_softmax(with_noise(bank, logits, seed, noise))))


@jax.jit
def _answers(learner: ReferenceLearner, prompts: Prompts) -> Predictions:
    return learner(prompts).answer()


def at(bank: Bank, name: str, parameters: dict[str, float]) -> Predictions:
    """A reference's answers at these parameters, computed anew (not interpolated)."""
    given = {key: jnp.float32(value) for key, value in parameters.items()}
    return _answers(ReferenceLearner(bank.task, {**bank.prepared[name], **given}, REFERENCES[name][1]), bank.prompts)


def planted(bank: Bank, name: str, seed: int = 0, noise: float = NOISE, margin: float = 0.25) -> Predictions:
    """A reference off the grid, disturbed."""
    return disturbed(bank, at(bank, name, between_grid_points(bank, name, seed, margin)), seed, noise)


def unlisted(bank: Bank, seed: int = 0) -> dict[str, Predictions]:
    """Learners that no reference describes."""
    median = jax.jit(lambda prompts: label_median(bank.task, prompts))(bank.prompts)
    if isinstance(median, Categorical):
        logits = np.random.default_rng(seed).normal(size=median.log_probs.shape).astype(np.float32)
        return {
            "label median": disturbed(bank, median, seed),
            "noise": Categorical(np.asarray(jax.nn.log_softmax(3 * logits))),
            "not a number": Categorical(np.full_like(logits, np.nan)),
        }
    mean = np.asarray(median.mean)
    noise = np.random.default_rng(seed).normal(size=mean.shape).astype(np.float32)
    return {
        "label median": disturbed(bank, median, seed),
        "noise": Point(noise),
        "silence": Point(np.zeros_like(mean)),
        "not a number": Point(np.full_like(mean, np.nan)),
    }
