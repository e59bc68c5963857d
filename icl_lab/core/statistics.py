"""Intervals over prompts and members, and a few out of many. Pure numpy; imports nothing of ours."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

Item = TypeVar("Item")


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, spaced evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, most).round().astype(int)]


def relative(
    distance: Float[np.ndarray, "*lead reference"], zero: Float[np.ndarray, "*lead"], floor: float
) -> Float[np.ndarray, "*lead reference"]:
    """D_k/D_0, distances as shares of that of the answer which knows nothing; D_0 counts as `floor` at least.

    Infinite where D_k is, NaN where it was not measured.
    """
    infinite = np.isinf(distance)
    shares = np.where(infinite, 0.0, distance) / np.maximum(zero, floor)[..., None]
    return np.where(infinite, np.inf, shares)


def bootstrap_interval(
    values: Float[np.ndarray, "*lead sample"], seed: int = 0, draws: int = 500, level: float = 0.95
) -> Float[np.ndarray, "2 *lead"]:
    """Percentile bootstrap interval of the mean over the last axis (Efron 1979).

    Args:
        values: one value per sample; all leading entries are resampled together, so their differences stay paired.
        seed: of the resampling.
        draws: number of resamples.
        level: coverage.
    """
    samples = values.shape[-1]
    counts = np.random.default_rng(seed).multinomial(samples, np.full(samples, 1 / samples), size=draws)
    with np.errstate(invalid="ignore"):
        means = values @ (counts.T / samples)
    tail = (1 - level) / 2
    return np.quantile(means, [tail, 1 - tail], axis=-1)


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """95% score interval of a proportion (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    return float(centre - half), float(centre + half)


def rank_sum_p(ranks: Sequence[int], size: int) -> float:
    """Probability that independent uniform ranks, 1 to `size`, sum to at most what these do: an exact one-sided test.

    For one object among `size` − 1 exchangeable controls, first in 1 of `size` draws, over several draws.
    """
    ways = np.ones(1)
    for _ in ranks:
        ways = np.convolve(ways, np.full(size, 1 / size))
    return float(ways[: sum(ranks) - len(ranks) + 1].sum())


class Bracket(NamedTuple):
    """A time that is known to lie in (after, by]. after = −∞: censored on the left; by = ∞: on the right."""

    after: float
    by: float

    def __str__(self) -> str:
        if math.isinf(self.by):
            return f"after {self.after:,.0f}"
        return f"by {self.by:,.0f}" if math.isinf(self.after) else f"{self.after:,.0f}–{self.by:,.0f}"


def last_change(labels: Sequence[Hashable], times: Sequence[float]) -> Bracket:
    """When a sequence became what it is at its end, between two looks.

    What never changed was there by the first look; what is there at the last look alone may not stay.

    Args:
        labels: what was seen at each look.
        times: of the looks, increasing; at least two.
    """
    changes = [index for index in range(1, len(labels)) if labels[index] != labels[index - 1]]
    if not changes:
        return Bracket(-math.inf, times[0])
    if changes[-1] == len(labels) - 1:
        return Bracket(times[-2], math.inf)
    return Bracket(times[changes[-1] - 1], times[changes[-1]])


def bracketed_median(found: Sequence[Bracket]) -> Bracket:
    """Bounds of the median of times that are known to brackets: the medians of their ends (the lower of two)."""
    after, by = (sorted(ends)[(len(found) - 1) // 2] for ends in zip(*found, strict=True))
    return Bracket(after, by)
