"""Planted subjects for tests: every reference at parameters off its grid, with noise, as a network would answer."""

import jax
import numpy as np

from icl_lab.calibration.planted import answers_at, between_grid_points, disturbed
from icl_lab.core.prompts import Categorical, Point, Predictions
from icl_lab.judging.bank import Bank
from icl_lab.learners.decoys import label_median

NOISE = 0.02


def planted(bank: Bank, name: str, seed: int = 0, noise: float = NOISE, margin: float = 0.25) -> Predictions:
    """A reference off the grid, disturbed."""
    return disturbed(answers_at(bank, name, between_grid_points(bank, name, seed, margin)), seed, noise)


def unlisted(bank: Bank, seed: int = 0) -> dict[str, Predictions]:
    """Learners that no reference describes."""
    median = jax.tree.map(np.asarray, jax.jit(lambda prompts: label_median(bank.task, prompts))(bank.prompts))
    if isinstance(median, Categorical):
        logits = np.random.default_rng(seed).normal(size=median.log_probs.shape).astype(np.float32)
        return {
            "label median": disturbed(median, seed, NOISE),
            "noise": Categorical(np.asarray(jax.nn.log_softmax(3 * logits))),
            "not a number": Categorical(np.full_like(logits, np.nan)),
        }
    mean = np.asarray(median.mean_target()[..., 0])
    noise = np.random.default_rng(seed).normal(size=mean.shape).astype(np.float32)
    return {
        "label median": disturbed(median, seed, NOISE),
        "noise": Point(noise),
        "silence": Point(np.zeros_like(mean)),
        "not a number": Point(np.full_like(mean, np.nan)),
    }
