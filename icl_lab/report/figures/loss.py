"""Loss against the number of examples in context, with every reference: a few named, the rest pale."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from icl_lab.report.figures.curves import EXACT, ZERO, Curve, curves_of, within
from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, end_labels, panel, put, scale_for
from icl_lab.report.figures.loss_dots import dots
from icl_lab.report.numbers.reductions import last, mean
from icl_lab.report.subject import Condition, Subject, evenly
from icl_lab.report.text.vocabulary import SUBJECT, number, spoken

READING = (
    "Black: the model, every member thin, their mean thick, with a 95% band over prompts; dashed: the exact "
    "learner for the training prior, which nothing can beat on prompts from that prior; dotted: the "
    "uninformed answer, zero or every class alike. Coloured: the reference of each hypothesis nearest to the model, "
    "with parameters fitted to it; pale: all other references. Models that answer at the last position only "
    "are shown as dots there; a triangle points to what lies beyond."
)
ROWS_SHOWN = 6
LEFT, RIGHT, GAP, HEIGHT = 0.72, 2.15, 0.48, 1.85  # inches


def draw(subject: Subject) -> Drawing | LeftOut:
    """Panels by condition (rows) and prompt set (columns)."""
    loss = subject.values("loss", "member", "regime", "position")
    if loss is None:
        return LeftOut("no losses of this subject are stored")
    kept = [c for c in subject.trained or subject.conditions if np.isfinite(loss[list(c.members)]).any()]
    if not kept:
        return LeftOut("no losses of trained members are stored")
    curves = {condition: curves_of(subject, condition) for condition in evenly(kept, ROWS_SHOWN)}
    takeaway = _takeaway(subject, loss, curves)
    read = np.flatnonzero(np.isfinite(loss).any(axis=(0, 1)))
    if len(read) == 1:
        return Drawing(dots(subject, curves, int(read[0]), takeaway), takeaway)
    return Drawing(_lines(subject, loss, curves, takeaway), takeaway)


def _lines(subject: Subject, loss: np.ndarray, curves: dict[Condition, list[Curve]], takeaway: str) -> Figure:
    label = 0.24 if any(condition.label for condition in curves) else 0.0
    row = HEIGHT + 0.42 + label
    regimes = subject.regimes
    width = (WIDTH - LEFT - RIGHT - GAP * (len(regimes) - 1)) / max(len(regimes), 1)
    figure, top = canvas(takeaway, row * len(curves) + 0.2)
    for order, (condition, others) in enumerate(curves.items()):
        y = top + 0.24 + label + order * row
        put(figure, 0.12, y - 0.34, condition.label, size=9, weight="bold", va="center")
        for column, regime in enumerate(regimes):
            axes = panel(figure, LEFT + column * (width + GAP), y, width, HEIGHT)
            _draw(axes, subject, condition, others, column)
            axes.set_title(spoken(regime))
            axes.set_xlabel("examples in context" if order == len(curves) - 1 else "")
            axes.set_ylabel((subject.text("unit_of_loss") or "squared error") if column == 0 else "")
            if column == len(regimes) - 1:
                own = last(mean(loss[list(condition.members), column]))
                ends = [(last(curve.values[column]), curve.title, curve.colour) for curve in others if curve.title]
                ends.append((own, "model (mean of members)", SUBJECT))
                end_labels(axes, [end for end in ends if np.isfinite(end[0])], RIGHT, bold="model")
    return figure


def _draw(axes: Axes, subject: Subject, condition: Condition, others: list[Curve], regime: int) -> None:
    def of_members(name: str) -> np.ndarray | None:
        values = subject.values(name, "member", "regime", "position")
        return None if values is None else values[list(condition.members), regime]

    own, low, high = of_members("loss"), of_members("loss_low"), of_members("loss_high")
    if own is None or not np.isfinite(own).any():
        return
    x = subject.coordinate("position")
    x = np.arange(own.shape[1], dtype=float) if x is None else x.astype(float)
    for curve in others:
        dashes, order = {EXACT: ("--", 6), ZERO: (":", 3)}.get(curve.title, ("-", 3 if curve.title else 1))
        width = 1.7 if curve.title else 0.7
        axes.plot(x, curve.values[regime], color=curve.colour, linestyle=dashes, linewidth=width, zorder=order)
    axes.plot(x, own.T, color=SUBJECT, linewidth=0.5, alpha=0.6, zorder=4)
    axes.plot(x, mean(own), color=SUBJECT, linewidth=2.3, zorder=5)
    if low is not None and high is not None:
        axes.fill_between(x, mean(low), mean(high), color=SUBJECT, alpha=0.13, linewidth=0, zorder=2)
    scale_for(axes, within(own, [curve.values[regime] for curve in others if curve.title]))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlim(float(x.min()), float(x.max()))


def _takeaway(subject: Subject, loss: np.ndarray, curves: dict[Condition, list[Curve]]) -> str:
    parts = []
    for condition, others in curves.items():
        values = mean(loss[list(condition.members), 0])
        exact = next((curve.values[0] for curve in others if curve.title == EXACT), np.full_like(values, np.nan))
        own, best = last(values), last(np.where(np.isfinite(values), exact, np.nan))
        if own > 0 and best > 0:
            where = f" ({condition.label})" if condition.label else ""
            parts.append(f"{_compared(own / best - 1)}{where}, {own:.3g} against {best:.3g}")
    if not parts:
        return f"{subject.title}: loss as examples accumulate."
    regime = spoken(subject.regimes[0])
    return f"{subject.title}, last position, {regime}: the loss {'; '.join(parts[:3])}."


def _compared(excess: float) -> str:
    """Own loss over the exact learner's, minus one, in words."""
    if abs(excess) < 0.02:
        return "matches the exact learner's"
    if excess > 1:
        return f"is {number(1 + excess)} times the exact learner's"
    return f"is {abs(excess):.0%} {'above' if excess > 0 else 'below'} the exact learner's"
