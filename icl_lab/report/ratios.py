"""How much farther than the nearest reference the others are: quotients of stored distances."""

from __future__ import annotations

import numpy as np

from icl_lab.report.reductions import largest, median, smallest
from icl_lab.report.subject import Condition, Subject


def nearest_index(subject: Subject) -> np.ndarray | None:
    """Index of every member's nearest reference, shape [member]: the verdict's, else the best in its worst regime."""
    distance = subject.values("distance", "member", "regime", "reference")
    if distance is None:
        return None
    floor = subject.thresholds.floor
    best = smallest(distance, axis=2)
    worst = largest(distance / np.maximum(best, floor)[:, :, None], axis=1)
    found = np.where(np.isfinite(worst), worst, np.inf).argmin(axis=1)
    for member, verdict in enumerate(subject.verdicts):
        if verdict.get("nearest") in subject.references:
            found[member] = subject.references.index(verdict["nearest"])
    return found


def ratios(subject: Subject) -> np.ndarray | None:
    """max(1, max over regimes of D_k / max(D_j, floor)), j the member's nearest reference. Shape [member, reference].

    Distances under the floor are equal to what this evidence can resolve, so quotients below one are shown as one.
    """
    distance, nearest = subject.values("distance", "member", "regime", "reference"), nearest_index(subject)
    if distance is None or nearest is None:
        return None
    own = np.take_along_axis(distance, nearest[:, None, None], axis=2)
    return np.maximum(largest(distance / np.maximum(own, subject.thresholds.floor), axis=1), 1.0)


def best_reference(subject: Subject, condition: Condition, group: str) -> int | None:
    """Index of the reference of `group` (a hypothesis, "rival", "decoy") nearest to the condition's members."""
    table = ratios(subject)
    candidates = [index for index, groups in enumerate(subject.groups) if group in groups]
    if table is None or not candidates:
        return None
    typical = median(table[np.ix_(list(condition.members), candidates)], axis=0)
    return candidates[int(np.nanargmin(typical))] if np.isfinite(typical).any() else None


def times_farther(subject: Subject, condition: Condition, group: str) -> float:
    """Median over members of the ratio of `group`'s nearest reference in its worst regime; NaN where unknown."""
    index, table = best_reference(subject, condition, group), ratios(subject)
    if index is None or table is None:
        return float("nan")
    return float(median(table[list(condition.members), index]))
