"""Duels: on the prompts on which two fitted references disagree most, whom does the subject follow?

A mean over all prompts may hide a difference that few of them show. The prompts are those of the bank's prompt sets on
which the two references lie farthest apart, so they depend on the subject through the fitted parameters alone, and the
calibration prompts, which fitted these, are not among them. Shown beside the verdict, which does not depend on it.
`probes.discriminating` does the same with prompts of its own, for any two learners.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from icl_lab.core.statistics import wilson_interval
from icl_lab.judging.bank import Bank
from icl_lab.judging.judge import THRESHOLDS, Comparison

SHARE = 0.1  # of the prompts, those on which the two differ most


class Duel(NamedTuple):
    """One duel; all NaN where both references are the same function: at most .006 nats apart where they differ most.

    Attributes:
        share, low, high: of the prompts on which the subject is nearer to the challenger, and its 95% interval.
        p: of an exact two-sided binomial test that it is one half; not corrected.
        nats: how far apart the two references are there, the mean.
    """

    share: float
    low: float
    high: float
    p: float
    nats: float


def duels(bank: Bank, comparison: Comparison, nearest: str, challengers: Sequence[str]) -> list[Duel]:
    """The nearest reference against others, each fitted to the subject.

    Args:
        bank: that gave the comparison.
        comparison: of the subject.
        nearest: name of its nearest reference.
        challengers: names of references; "" or the nearest itself: no duel.
    """
    return [_duel(bank, comparison, nearest, name) if name not in ("", nearest) else NO_DUEL for name in challengers]


NO_DUEL = Duel(*[float("nan")] * 5)


def _duel(bank: Bank, comparison: Comparison, nearest: str, challenger: str) -> Duel:
    rows = np.concatenate([np.arange(len(bank.prompts.y))[bank.slices[regime]] for regime in comparison.regimes])
    fits = [comparison.fits[name].predictions for name in (nearest, challenger)]
    apart = (bank.distances(*fits) + bank.distances(*reversed(fits)))[rows] / 2
    chosen = np.argsort(-apart, kind="stable")[: max(1, round(SHARE * len(rows)))]
    nats = float(apart[chosen].mean())
    if not nats > THRESHOLDS.near * THRESHOLDS.floor:
        return NO_DUEL
    own = [
        comparison.per_prompt[:, comparison.references.index(name)].ravel()[chosen] for name in (nearest, challenger)
    ]
    won, total = int((own[1] < own[0]).sum()), len(chosen)
    return Duel(won / total, *wilson_interval(won, total), float(binomtest(won, total).pvalue), nats)
