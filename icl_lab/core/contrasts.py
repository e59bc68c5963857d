"""Seen minus predicted, paired over prompts: means, intervals, p-values corrected for their number."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from icl_lab.core.statistics import bootstrap_interval


class Contrast(NamedTuple):
    """Differences of means over prompts. Entries are NaN where nothing was predicted.

    Attributes:
        difference, low, high: mean and its 95% bootstrap interval, prompts resampled in pairs.
        p: of the paired t test (Student 1908), two-sided, corrected by Holm (1979) over all entries.
        effect: difference / (largest − smallest prediction), so that ±1 is as far off as predictions lie apart. NaN
            where they lie no further apart than half the widest interval: such a statistic tells nothing apart.
    """

    difference: Float[np.ndarray, "prediction statistic"]
    low: Float[np.ndarray, "prediction statistic"]
    high: Float[np.ndarray, "prediction statistic"]
    p: Float[np.ndarray, "prediction statistic"]
    effect: Float[np.ndarray, "prediction statistic"]


def contrast(
    seen: Float[np.ndarray, "prompt statistic"],
    predicted: Float[np.ndarray, "prediction prompt statistic"],
    draws: int = 500,
) -> Contrast:
    """Compare what was measured on some prompts with each of several predictions for the same prompts.

    Args:
        seen, predicted: one row per prompt; predictions that are not there are NaN.
        draws: resamples of the bootstrap; 0: no intervals (NaN), and every statistic has an effect size.
    """
    pairs = np.moveaxis(
        np.asarray(seen, float) - np.asarray(predicted, float), 1, -1
    )  # [prediction, statistic, prompt]
    difference = pairs.mean(-1)
    low, high = bootstrap_interval(pairs, draws=draws) if draws else np.full((2, *difference.shape), np.nan)
    level = np.asarray(predicted, float).mean(1)
    there = np.isfinite(level).any(0)
    spread = np.where(there, np.nanmax(level, 0, initial=-np.inf) - np.nanmin(level, 0, initial=np.inf), np.nan)
    width = np.nan_to_num((high - low) / 2).max(0, initial=0.0)
    tells = there & (spread > width) & (spread > 0)
    effect = np.where(tells, difference / np.where(tells, spread, 1.0), np.nan)
    return Contrast(difference, low, high, holm(paired_p(pairs)), effect)


def paired_p(differences: Float[np.ndarray, "*lead sample"]) -> Float[np.ndarray, "*lead"]:
    """Two-sided p-value of the t test that the mean over the last axis is 0; where nothing varies, 1 if it is 0."""
    count = differences.shape[-1]
    with np.errstate(invalid="ignore"):  # of infinite differences nothing is known
        mean, error = differences.mean(-1), differences.std(-1, ddof=1) / np.sqrt(count)
    size = np.where(error > 0, np.abs(mean) / np.where(error > 0, error, 1.0), np.where(mean == 0, 0.0, np.inf))
    return np.where(np.isfinite(mean), 2 * stats.t.sf(size, count - 1), np.nan)


def holm(p: Float[np.ndarray, "*lead"]) -> Float[np.ndarray, "*lead"]:
    """p-values corrected step by step: the i-th smallest of m times m − i + 1, never below the one before (Holm 1979).

    NaN entries stay and do not count.
    """
    flat = np.full(p.size, np.nan)
    known = np.flatnonzero(np.isfinite(p.ravel()))
    order = known[np.argsort(p.ravel()[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    flat[order] = np.minimum(np.maximum.accumulate(p.ravel()[order] * factors), 1.0)
    return flat.reshape(p.shape)
