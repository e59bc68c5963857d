"""How much farther than the nearest reference the others are: quotients of stored distances."""

from __future__ import annotations

import numpy as np

from icl_lab.report.numbers.reductions import largest, median, smallest
from icl_lab.report.subject import Condition, Subject


def nearest_index(subject: Subject) -> np.ndarray | None:
    """Index of every member's nearest reference, shape [member]: the verdict's, else the best in its worst regime."""
    distance = subject.values("distance", "member", "regime", "reference")
    if distance is None:
        return None
    best = smallest(distance, axis=2)
    worst = largest(distance / np.maximum(best, subject.floors)[:, :, None], axis=1)
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
    return np.maximum(largest(distance / np.maximum(own, subject.floors[:, :, None]), axis=1), 1.0)


def times_farther(subject: Subject, condition: Condition, hypothesis: str) -> float:
    """Median over members of the ratio of a hypothesis' best reference; NaN where unknown."""
    table = ratios(subject)
    names = subject.best_references(condition, hypothesis)
    if table is None or not any(names):
        return float("nan")
    pairs = zip(condition.members, names, strict=True)
    return float(median(np.array([table[member, subject.references.index(name)] for member, name in pairs if name])))
