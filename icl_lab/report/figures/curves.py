"""What a loss figure draws besides the model: exact learner, zero predictor, nearest references."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from icl_lab.report.numbers.reductions import median
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text.vocabulary import COLOURS, CONTEXT, HYPOTHESES, MUTED, SUBJECT

EXACT, ZERO = "exact learner", "uninformed"


@dataclass(frozen=True)
class Curve:
    """Losses [regime, position], median over members; references that are not named have no title."""

    title: str
    colour: str
    values: np.ndarray


def curves_of(subject: Subject, condition: Condition) -> list[Curve]:
    """The exact learner first, then a named reference per hypothesis, the zero predictor, all other references."""
    members = list(condition.members)
    found = []
    for variable, title, colour in (("exact_loss", EXACT, SUBJECT), ("zero_loss", ZERO, MUTED)):
        values = subject.values(variable, "member", "regime", "position")
        if values is not None:
            found.append(Curve(title, colour, median(values[members])))
    table = subject.values("reference_loss", "member", "regime", "reference", "position")
    if table is None:
        return found
    table = median(table[members])
    named = {}
    for group in HYPOTHESES:
        # The best of most members; one that is the best of two hypotheses is drawn once.
        names = Counter(name for name in subject.best_references(condition, group) if name)
        named |= {subject.references.index(name): group for name, _ in names.most_common(1)}
    chosen = sorted(named, key=lambda index: named[index])
    titles = {index: f"{named[index]} {subject.titles[subject.references[index]]}" for index in chosen}
    found[1:1] = [Curve(titles[index], COLOURS[named[index]], table[:, index]) for index in chosen]
    return found + [Curve("", CONTEXT, table[:, index]) for index in range(table.shape[1]) if index not in named]


def within(own: np.ndarray, shown: list[np.ndarray], factor: float = 10.0) -> np.ndarray:
    """Values that may set the limits of an axis: `own`, and the others at most `factor` beyond its range."""
    every = np.concatenate([own.ravel(), *(values.ravel() for values in shown)])
    every = every[np.isfinite(every)]
    return every[(every <= factor * np.nanmax(own)) & (every >= np.nanmin(own) / factor)]
