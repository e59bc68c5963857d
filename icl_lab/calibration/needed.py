"""Number of prompts that a paired test needs."""

import bisect

import numpy as np
from scipy.special import nctdtr, stdtrit

LEVEL, POWER = 0.05, 0.8  # two-sided error, and power


def power_of(prompts: int, size: float, tests: int = 1) -> float:
    """Compute the power P(T > t_{n−1, 1−α/2m}), T noncentral t with n − 1 degrees of freedom, noncentrality size·√n.

    This is the chance that a two-sided paired t-test of n prompts at level α/m finds the difference with its sign.

    Args:
        prompts: n, at least 2.
        size: of the difference, in standard deviations.
        tests: m.
    """
    critical = -stdtrit(prompts - 1, LEVEL / 2 / tests)
    missed = nctdtr(prompts - 1, size * np.sqrt(prompts), critical)
    return 1 - float(np.nan_to_num(missed))  # NaN if its series does not converge, which misses less than 1%


def needed(values: np.ndarray, effect: float = 0.0, tests: int = 1) -> float:
    """Return the least n with `power_of(n, (|mean| − effect)/sd, m)` ≥ 80%.

    With n prompts a paired t-test finds the mean difference with 80% power at the 5% level, corrected for m tests
    (Bonferroni). Infinite if the given prompts would not suffice: more than was measured is not extrapolated, because a
    difference of no size would otherwise seem to need a few hundred prompts.

    Args:
        values: one difference per prompt; values that are not finite are ignored.
        effect: size that the mean must exceed, such as rounding error.
        tests: m.
    """
    values = np.asarray(values, np.float64)[np.isfinite(values)]
    if len(values) < 8:
        return np.inf
    gap, spread = abs(float(values.mean())) - effect, float(values.std(ddof=1))
    if gap <= 0:
        return np.inf
    if not spread:
        return 2.0
    counts = range(2, len(values) + 1)
    found = bisect.bisect_left(counts, POWER, key=lambda count: power_of(count, gap / spread, tests))
    return float(counts[found]) if found < len(counts) else np.inf
