"""Planted learners: the judge applied to learners whose mechanism is known. The lab's own controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.patches import Rectangle

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, corner_note, fit, put
from icl_lab.report.subject import Subject
from icl_lab.report.text.vocabulary import (
    COINCIDES,
    FAIL,
    HYPOTHESES,
    INKS,
    MARKS,
    MUTED,
    PASS,
    SUPPORTED,
    groups_of,
    listing,
)

READING = (
    "Every row is a learner whose mechanism is known, judged as if it were a model. 'Right' means that its own "
    "hypothesis is among the supported or coinciding (≡) ones (others may be there too, where they are the same "
    "function), or that nothing is supported where the planted learner belongs to no hypothesis."
)
ROW, CHIP, SUPPORT, NEAREST, OUTCOME = 0.25, 0.4, 4.3, 6.75, 9.55


@dataclass(frozen=True)
class Control:
    """One planted learner: what it is, what was said of it, whether that is right (None: nothing to compare with)."""

    name: str
    expected: tuple[str, ...]
    supported: tuple[str, ...]
    coincides: tuple[str, ...]
    status: str
    nearest: str
    right: bool | None


def controls(subject: Subject) -> list[Control]:
    """Planted learners with their verdicts, in the order of the file."""
    stored = subject.strings("expected", "member")
    judged = subject.values("right", "member")
    found = []
    for index, verdict in enumerate(subject.verdicts):
        name = subject.labels[index]
        expected = _expected(subject, name) if stored is None else _hypotheses(stored[index])
        supported = tuple(subject.hypotheses_named(verdict.get(SUPPORTED)))
        coincides = tuple(subject.hypotheses_named(verdict.get(COINCIDES)))
        right = None
        if expected is not None and verdict:
            right = set(expected) <= {*supported, *coincides} if expected else not supported
        if judged is not None and np.isfinite(judged[index]):
            right = bool(judged[index])
        nearest, status = str(verdict.get("nearest", "")), str(verdict.get("status", ""))
        nearest = subject.titles.get(nearest, nearest)
        found.append(Control(name, expected or (), supported, coincides, status, nearest, right))
    return found


def draw(subject: Subject | None) -> Drawing | LeftOut:
    """A table: planted learner, what it is, what the judge says, nearest reference, right or wrong."""
    found = controls(subject) if subject is not None else []
    if not found or not any(control.status or control.supported for control in found):
        return LeftOut("no planted learners were judged")
    judged = [control for control in found if control.right is not None]
    right = sum(bool(control.right) for control in judged)
    wrong = [control.name for control in judged if not control.right]
    takeaway = f"The judge is right on {right} of {len(judged)} planted learners"
    wrong = wrong if len(wrong) <= 3 else [*wrong[:2], f"{len(wrong) - 2} more"]
    takeaway += f"; wrong on {listing(wrong)}." if wrong else "."
    figure, top = canvas(takeaway, ROW * len(found) + 0.75)
    for x, text in (
        (0.12, "planted learner"),
        (SUPPORT - 1.35, "is"),
        (SUPPORT, "judged"),
        (NEAREST, "nearest reference"),
    ):
        put(figure, x, top + 0.14, text, size=8, color=MUTED, va="center")
    put(figure, OUTCOME, top + 0.14, "outcome", size=8, color=MUTED, va="center")
    across, down = figure.get_size_inches()
    for row, control in enumerate(found):
        y = top + 0.3 + ROW * (row + 0.5)
        if row % 2 == 0:
            corner = (0.08 / across, 1 - (y + ROW / 2) / down)
            size = (1 - 0.16 / across, ROW / down)
            figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, facecolor="#F3F3F3", zorder=-1))
        put(figure, 0.12, y, fit(control.name, SUPPORT - 1.6, 8.5), size=8.5, va="center")
        _chips(figure, control.expected, SUPPORT - 1.35, y, "no hypothesis")
        names = (*control.supported, *(MARKS[COINCIDES] + name for name in control.coincides))
        _chips(figure, names, SUPPORT, y, control.status if control.status != SUPPORTED else "nothing supported")
        put(figure, NEAREST, y, fit(control.nearest, OUTCOME - NEAREST - 0.15, 8), size=8, color=MUTED, va="center")
        text, colour = {True: ("✔ right", PASS), False: ("✘ wrong", FAIL), None: ("–", MUTED)}[control.right]
        put(figure, OUTCOME, y, text, size=8.5, color=colour, va="center", weight="bold")
    names = "   ".join(f"{name} {title}" for name, title in HYPOTHESES.items())
    corner_note(figure, names, top + 0.3 + ROW * len(found) + 0.15, WIDTH)
    return Drawing(figure, takeaway)


def _chips(figure, names: tuple[str, ...], x: float, y: float, otherwise: str) -> None:
    if not names:
        put(figure, x, y, otherwise, size=8, color=MUTED, va="center")
    for name in names:
        put(figure, x, y, name, size=8.5, color=INKS.get(name[-2:], MUTED), va="center", weight="bold")
        x += CHIP


def _hypotheses(text: str) -> tuple[str, ...]:
    return tuple(name for name in groups_of(text) if name in HYPOTHESES)


def _expected(subject: Subject, label: str) -> tuple[str, ...] | None:
    """Where no expectation is stored: the hypothesis of the reference with this name or title."""
    for name, groups in zip(subject.references, subject.groups, strict=True):
        if label in (name, subject.titles[name]):
            return tuple(group for group in groups if group in HYPOTHESES)
    return None
