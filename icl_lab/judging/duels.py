"""Duels: which of two fitted references does the subject follow on the prompts where they disagree most?

A mean over all prompts may hide a difference that appears on few of them. A duel looks only at the scored prompts on
which the two references lie farthest apart; this choice depends on the subject only through the fitted parameters. The
verdict does not depend on duels. `probes.behaviour.discriminating` samples its own prompts, for any two learners.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from icl_lab.core.statistics import wilson_interval
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.judging.bank import Bank
from icl_lab.judging.comparison import Comparison

SHARE = 0.1  # share of the prompts that a duel looks at


class Duel(NamedTuple):
    """One duel. All NaN if the two references are the same function: at most .006 nats apart where they differ most.

    Attributes:
        share, low, high: share of the prompts on which the subject is nearer to the challenger, and its 95% interval.
        p: of an exact two-sided binomial test that the share is one half; not corrected.
        nats: mean distance between the two references on these prompts.
    """

    share: float
    low: float
    high: float
    p: float
    nats: float


def duels(bank: Bank, comparison: Comparison, nearest: str, challengers: Sequence[str]) -> list[Duel]:
    """Return the duels of the nearest reference with others, each fitted to the subject.

    Args:
        bank: the bank that the comparison was made with.
        comparison: of the subject.
        nearest: name of the nearest reference.
        challengers: names of references; `NO_DUEL` for "" and for the nearest itself.
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
