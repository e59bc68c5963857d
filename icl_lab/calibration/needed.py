"""How many prompts a paired test needs."""

import numpy as np
from scipy.stats import norm, t

LEVEL, POWER = 0.05, 0.8  # two-sided error, and the chance to see what is there
SMALL = 300  # prompts up to which quantiles of t are used


def needed(values: np.ndarray, effect: float = 0.0, tests: int = 1) -> float:
    """The least n with n ≥ ((t_{n−1, 1−α/2m} + t_{n−1, .8})·sd/(|mean| − effect))²: prompts for a mean to stand out.

    A paired t-test of that many prompts sees the mean difference with 80% power at a 5% level, corrected for m tests
    (Bonferroni). Infinite where even as many prompts as were looked at would not do: what they do not show cannot be
    extrapolated from them, and a difference of no size would otherwise need "some hundreds".

    Args:
        values: one difference per prompt; those that are not finite are left out.
        effect: size that the mean has to exceed, such as that of rounding.
        tests: m.
    """
    values = np.asarray(values, np.float64)[np.isfinite(values)]
    if len(values) < 8:
        return np.inf
    gap = abs(float(values.mean())) - effect
    if gap <= 0:
        return np.inf
    spread = (float(values.std(ddof=1)) / gap) ** 2
    counts = np.arange(2, SMALL)
    enough = (t.isf(LEVEL / 2 / tests, counts - 1) + t.isf(1 - POWER, counts - 1)) ** 2 * spread <= counts
    if enough.any():
        found = float(counts[enough.argmax()])
    else:
        found = max(float(np.ceil((norm.isf(LEVEL / 2 / tests) + norm.isf(1 - POWER)) ** 2 * spread)), float(SMALL))
    return found if found <= len(values) else np.inf
