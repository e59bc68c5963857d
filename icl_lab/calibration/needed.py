"""How many prompts a paired test needs."""

import bisect

import numpy as np
from scipy.special import nctdtr, stdtrit

LEVEL, POWER = 0.05, 0.8  # two-sided error, and the chance to see what is there


def power_of(prompts: int, size: float, tests: int = 1) -> float:
    """P(T > t_{n−1, 1−α/2m}) with T noncentral t of n − 1 degrees of freedom, noncentrality size·√n.

    The chance that a two-sided paired t-test at level α/m of n prompts finds a difference on the side where it is.

    Args:
        prompts: n, at least 2.
        size: of the difference, in standard deviations.
        tests: m.
    """
    critical = -stdtrit(prompts - 1, LEVEL / 2 / tests)
    missed = nctdtr(prompts - 1, size * np.sqrt(prompts), critical)
    return 1 - float(np.nan_to_num(missed))  # NaN where its series does not converge: less than 1% is missed there


def needed(values: np.ndarray, effect: float = 0.0, tests: int = 1) -> float:
    """The least n of `power_of(n, (|mean| − effect)/sd, m)` ≥ 80%: prompts for a mean to stand out.

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
    gap, spread = abs(float(values.mean())) - effect, float(values.std(ddof=1))
    if gap <= 0:
        return np.inf
    if not spread:
        return 2.0
    counts = range(2, len(values) + 1)
    found = bisect.bisect_left(counts, POWER, key=lambda count: power_of(count, gap / spread, tests))
    return float(counts[found]) if found < len(counts) else np.inf
