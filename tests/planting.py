"""Planted subjects for tests: every reference at parameters off its grid, with noise, as a network would answer."""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.bank import Bank
from icl_lab.learners.decoys import label_median
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.prompts import Point, Predictions, Prompts

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


def with_noise(bank: Bank, mean: np.ndarray, seed: int, noise: float = NOISE) -> Point:
    """Answers disturbed by a share of their root mean square at every position of every regime."""
    disturbance = np.random.default_rng(seed).normal(size=mean.shape)
    for rows in bank.slices.values():
        disturbance[rows] *= np.sqrt(np.mean(np.square(mean[rows]), axis=0))
    return Point((mean + noise * disturbance).astype(np.float32))


@jax.jit
def _answers(learner: ReferenceLearner, prompts: Prompts) -> Predictions:
    return learner(prompts).answer()


def planted(bank: Bank, name: str, seed: int = 0, noise: float = NOISE, margin: float = 0.25) -> Predictions:
    """A reference off the grid, computed anew (not interpolated), disturbed."""
    given = {key: jnp.float32(value) for key, value in between_grid_points(bank, name, seed, margin).items()}
    learner = ReferenceLearner(bank.task, {**bank.prepared[name], **given}, REFERENCES[name][1])
    return with_noise(bank, np.asarray(_answers(learner, bank.prompts).mean), seed, noise)


def unlisted(bank: Bank, seed: int = 0) -> dict[str, Predictions]:
    """Learners that no reference describes."""
    median = np.asarray(jax.jit(lambda prompts: label_median(bank.task, prompts).mean)(bank.prompts))
    noise = np.random.default_rng(seed).normal(size=median.shape).astype(np.float32)
    return {
        "label median": with_noise(bank, median, seed),
        "noise": Point(noise),
        "silence": Point(np.zeros_like(median)),
        "not a number": Point(np.full_like(median, np.nan)),
    }
