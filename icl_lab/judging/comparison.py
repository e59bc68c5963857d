"""Distances of a subject to every reference fitted to it: what the verdict rule is applied to."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float

from icl_lab.core.prompts import Predictions
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.thresholds import THRESHOLDS, Thresholds
from icl_lab.judging.bank import Bank
from icl_lab.judging.fitting import Fit

TYPICAL = 0.9  # share of the prompts, those with the smaller answers, on which the remainder is measured as well


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A subject's distances to every fitted reference.

    Attributes:
        regimes, references: names of the axes.
        distance: D_k(r) in nats, [regime, reference].
        per_prompt: the same before averaging over prompts, [regime, reference, prompt].
        zero_per_prompt: distance to the zero predictor, [regime, prompt].
        fits: the fitted references.
    """

    regimes: tuple[str, ...]
    references: tuple[str, ...]
    distance: Float[np.ndarray, "regime reference"]
    per_prompt: Float[np.ndarray, "regime reference prompt"]
    zero_per_prompt: Float[np.ndarray, "regime prompt"]
    fits: dict[str, Fit]

    @property
    def zero(self) -> Float[np.ndarray, " regime"]:
        """Mean distance D_0(r) to the zero predictor."""
        return self.zero_per_prompt.mean(-1)

    def floors(self, thresholds: Thresholds = THRESHOLDS) -> Float[np.ndarray, " regime"]:
        """Return the distance f(r) in nats below which differences do not count."""
        return np.maximum(thresholds.floor, thresholds.precision * self.zero)

    def remainder(self, reference: int, floor: float) -> Float[np.ndarray, " regime"]:
        """Return the share D_k(r)/D_0(r) of the answers that a reference leaves unexplained.

        The larger of the shares over all prompts and over the 90% of prompts with the smaller answers. Gradient steps
        that explode on a few prompts have answers with heavy tails, and those prompts alone would decide the first.
        """
        shares = []
        for distance, zero in zip(self.per_prompt[:, reference], self.zero_per_prompt, strict=True):
            kept = zero <= np.quantile(zero, TYPICAL)
            pairs = ((distance, zero), (distance[kept], zero[kept]))
            shares.append(max(part.mean() / max(whole.mean(), floor) for part, whole in pairs))
        return np.where(np.isfinite(shares), shares, np.inf)

    def interval(self, seed: int = 0, draws: int = 500) -> Float[np.ndarray, "2 regime reference"]:
        """Return the 95% bootstrap interval over prompts of every distance."""
        return bootstrap_interval(self.per_prompt, seed, draws)


def compare(bank: Bank, subject: Predictions, fits: dict[str, Fit] | None = None) -> Comparison:
    """Fit every reference to the subject's answers on the bank's prompts and measure all distances.

    Args:
        bank: made for the subject's task; `bank.score` restricts it to positions the subject answers.
        subject: answers on `bank.prompts`.
        fits: references fitted before, to use instead of fitting.
    """
    answers = subject.answer()
    fits = bank.fit_all(answers) if fits is None else fits
    rows = [bank.slices[regime] for regime in bank.regimes]
    per_reference = np.stack([bank.distances(answers, fit.predictions) for fit in fits.values()])
    per_prompt = np.stack([per_reference[:, r] for r in rows])
    to_zero = bank.distances(answers, zero_predictor(answers))
    zero = np.stack([to_zero[r] for r in rows])
    return Comparison(bank.regimes, tuple(fits), per_prompt.mean(-1), per_prompt, zero, fits)


def zero_predictor(answers: Predictions) -> Predictions:
    """Return the answers that ignore the prompt: 0 for regressions, a uniform distribution for categoricals."""
    zeros = jax.tree.map(lambda leaf: np.zeros((1, *leaf.shape), np.float32), answers)
    return jax.tree.map(np.asarray, zeros.blend(np.ones(1, np.float32)))
