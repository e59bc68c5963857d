"""What a loss figure draws besides the model: exact learner, zero predictor, nearest references."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_lab.report.ratios import best_reference
from icl_lab.report.reductions import median
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.vocabulary import COLOURS, CONTEXT, HYPOTHESES, MUTED, SUBJECT

EXACT, ZERO = "exact learner", "uninformed"


@dataclass(frozen=True)
class Curve:
    """Squared errors [regime, position], median over members; references that are not named have no title."""

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
    named = {best_reference(subject, condition, group): group for group in HYPOTHESES}
    titles = [f"{named[i]} {subject.titles[name]}" if i in named else "" for i, name in enumerate(subject.references)]
    chosen = [i for i, title in enumerate(titles) if title]
    chosen.sort(key=lambda i: titles[i])
    found[1:1] = [Curve(titles[i], COLOURS[named[i]], table[:, i]) for i in chosen]
    return found + [Curve("", CONTEXT, table[:, i]) for i, title in enumerate(titles) if not title]


def within(own: np.ndarray, shown: list[np.ndarray], factor: float = 10.0) -> np.ndarray:
    """Values that may set the limits of an axis: `own`, and the others at most `factor` beyond its range."""
    every = np.concatenate([own.ravel(), *(values.ravel() for values in shown)])
    every = every[np.isfinite(every)]
    return every[(every <= factor * np.nanmax(own)) & (every >= np.nanmin(own) / factor)]
