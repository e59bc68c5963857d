"""Intervals, tests and contrasts over prompts and members."""

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from scipy import stats

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def relative(
    distance: Float[np.ndarray, "*lead reference"], zero: Float[np.ndarray, "*lead"], floor: float
) -> Float[np.ndarray, "*lead reference"]:
    """Return D_k / max(D_0, floor): distances in units of the distance to the answer that ignores the prompt.

    Infinite distances stay infinite and unmeasured ones (NaN) stay NaN.
    """
    infinite = np.isinf(distance)
    shares = np.where(infinite, 0.0, distance) / np.maximum(zero, floor)[..., None]
    return np.where(infinite, np.inf, shares)


# -- Intervals -------------------------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A statistic of all samples, and its confidence interval."""

    value: Float[np.ndarray, "*shape"]
    low: Float[np.ndarray, "*shape"]
    high: Float[np.ndarray, "*shape"]


def bootstrap(
    statistic: Callable[..., np.ndarray], *rows: int, seed: int = 0, draws: int = 500, level: float = 0.95
) -> Estimate:
    """Compute a statistic of weighted samples and its percentile bootstrap interval (Efron 1979).

    >>> ratio = bootstrap(lambda weight: (weight @ parts) / (weight @ wholes), len(parts))

    Args:
        statistic: weights, one array [draw, row] per group, each row of which sums to 1 → values [draw, ...].
        rows: number of samples in each group. Groups are resampled independently.
        seed: of the resampling.
        draws: number of resamples.
        level: coverage.
    """
    generator = np.random.default_rng(seed)
    resampled = [generator.multinomial(count, np.full(count, 1 / count), size=draws) / count for count in rows]
    value = statistic(*(np.full((1, count), 1 / count) for count in rows))[0]
    tail = (1 - level) / 2
    low, high = np.quantile(statistic(*resampled), [tail, 1 - tail], axis=0)
    return Estimate(value, low, high)


def bootstrap_interval(
    values: Float[np.ndarray, "*lead sample"], seed: int = 0, draws: int = 500, level: float = 0.95
) -> Float[np.ndarray, "2 *lead"]:
    """Return the percentile bootstrap interval of the mean over the last axis.

    All leading entries are resampled together, so that their differences stay paired.

    Args:
        values: one value per sample.
        seed, draws, level: see `bootstrap`.
    """

    def mean(weight: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):  # infinite values have no interval
            return np.moveaxis(values @ weight.T, -1, 0)

    return np.stack(bootstrap(mean, values.shape[-1], seed=seed, draws=draws, level=level)[1:])


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95% score interval of a proportion (Wilson 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    found = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


# -- Tests -----------------------------------------------------------------------------------------------------------


def rank_sum_p(ranks: Sequence[int], size: int) -> float:
    """Return the probability that independent uniform ranks, 1 to `size`, sum to at most what these do.

    An exact one-sided test for one object among `size` − 1 exchangeable controls, over several draws.
    """
    ways = np.ones(1)
    for _ in ranks:
        ways = np.convolve(ways, np.full(size, 1 / size))
    return float(ways[: sum(ranks) - len(ranks) + 1].sum())


def paired_p(differences: Float[np.ndarray, "*lead sample"]) -> Float[np.ndarray, "*lead"]:
    """Return two-sided p-values of the t test that the mean over the last axis is 0 (Student 1908).

    Where nothing varies p is 1 for a mean of 0, and 0 for any other. It is NaN where a difference is not finite.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, where nothing varies
        p = stats.ttest_1samp(differences, 0.0, axis=-1).pvalue
    return np.where((differences == 0).all(-1), 1.0, p)


def holm(p: Float[np.ndarray, "*lead"]) -> Float[np.ndarray, "*lead"]:
    """Correct p-values for their number m by Holm's (1979) step-down procedure.

    The i-th smallest is multiplied by m − i + 1 and is never below the one before. NaN entries stay and do not count.
    """
    flat = np.full(p.size, np.nan)
    known = np.flatnonzero(np.isfinite(p.ravel()))
    order = known[np.argsort(p.ravel()[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    flat[order] = np.minimum(np.maximum.accumulate(p.ravel()[order] * factors), 1.0)
    return flat.reshape(p.shape)


class Contrast(NamedTuple):
    """Differences of means over prompts. Entries are NaN where nothing was predicted.

    Attributes:
        difference, low, high: mean and its 95% bootstrap interval, prompts resampled in pairs.
        p: of the paired t test, corrected over all entries (`paired_p`, `holm`).
        effect: difference / (largest − smallest prediction), so that ±1 is as large as the spread of the predictions.
            NaN where the spread is at most half the widest interval: such a statistic distinguishes nothing.
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
    """Compare measurements on some prompts with each of several predictions for the same prompts.

    Args:
        seen: measured values.
        predicted: their predictions; NaN where there is none.
        draws: resamples of the bootstrap. With 0 intervals are NaN and every statistic has an effect size.
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


# -- Times of change -------------------------------------------------------------------------------------------------


class Bracket(NamedTuple):
    """A time known to lie in (after, by]. It is left-censored if after = −∞ and right-censored if by = ∞."""

    after: float
    by: float

    def __str__(self) -> str:
        if math.isinf(self.by):
            return f"after {self.after:,.0f}"
        return f"by {self.by:,.0f}" if math.isinf(self.after) else f"{self.after:,.0f}–{self.by:,.0f}"


def last_change(labels: Sequence[Hashable], times: Sequence[float]) -> Bracket:
    """Return when a sequence of labels last changed, between two observations.

    Left-censored if it never changed; right-censored if only the last observation differs, because it may not last.

    Args:
        labels: one per observation.
        times: of the observations, increasing; at least two.
    """
    changes = [index for index in range(1, len(labels)) if labels[index] != labels[index - 1]]
    if not changes:
        return Bracket(-math.inf, times[0])
    if changes[-1] == len(labels) - 1:
        return Bracket(times[-2], math.inf)
    return Bracket(times[changes[-1] - 1], times[changes[-1]])


def bracketed_median(found: Sequence[Bracket]) -> Bracket:
    """Return bounds of the median of bracketed times: the lower medians of both ends."""
    after, by = (sorted(ends)[(len(found) - 1) // 2] for ends in zip(*found, strict=True))
    return Bracket(after, by)
