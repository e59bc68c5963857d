"""The loss figure of a model that answers at one position only: a dot per learner instead of a curve."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_lab.report.figures.curves import EXACT, ZERO, Curve, within
from icl_lab.report.figures.layout import WIDTH, canvas, fit, panel, put, scale_for
from icl_lab.report.numbers.reductions import mean
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text.vocabulary import COLOURS, INKS, MUTED, SUBJECT, spoken

LEFT, GAP, STEP = 2.55, 0.3, 0.23  # inches
INK_FOR = {COLOURS[group]: INKS[group] for group in COLOURS}


def dots(subject: Subject, curves: dict[Condition, list[Curve]], position: int, takeaway: str) -> Figure:
    """Rows: the model, the exact learner, named references, the rest. Columns: prompt sets."""
    label = 0.24 if any(condition.label for condition in curves) else 0.0
    regimes = subject.regimes
    width = (WIDTH - LEFT - 0.25 - GAP * (len(regimes) - 1)) / max(len(regimes), 1)
    titles = max(sum(bool(curve.title) for curve in others) for others in curves.values()) + 2
    height = STEP * (titles + 0.6)
    figure, top = canvas(takeaway, (height + label + 0.42) * len(curves) + 0.2)
    x = subject.coordinate("position")
    count = position if x is None else int(x[position])
    unit = f"{subject.text('unit_of_loss') or 'squared error'} after {count} examples"
    for order, (condition, others) in enumerate(curves.items()):
        y = top + 0.24 + label + order * (height + label + 0.42)
        put(figure, 0.12, y - 0.34, condition.label, size=9, weight="bold", va="center")
        rest = [curve.values for curve in others if not curve.title]
        rows = [curve for curve in others if curve.title]
        rows += [Curve("other references", MUTED, np.stack(rest, axis=-1))] if rest else []
        for column, regime in enumerate(regimes):
            axes = panel(figure, LEFT + column * (width + GAP), y, width, height)
            _draw(axes, subject, condition, rows, column, position)
            names = ["model (dots: members)", *(fit(row.title, LEFT - 0.2, 8) for row in rows)]
            axes.set_yticks(range(len(names)), names if column == 0 else [""] * len(names), size=8)
            axes.tick_params(axis="y", length=0)
            for text, colour in zip(axes.get_yticklabels()[1:], [row.colour for row in rows], strict=True):
                text.set_color(INK_FOR.get(colour, colour))
            axes.set_title(spoken(regime))
            axes.set_xlabel(unit if order == len(curves) - 1 else "")
    return figure


def _draw(axes: Axes, subject: Subject, condition: Condition, rows: list[Curve], regime: int, position: int) -> None:
    def of_members(name: str) -> np.ndarray | None:
        values = subject.values(name, "member", "regime", "position")
        return None if values is None else values[list(condition.members), regime, position]

    own, low, high = of_members("loss"), of_members("loss_low"), of_members("loss_high")
    shown = [np.atleast_1d(row.values[regime, position]) for row in rows]
    if own is None or not np.isfinite(own).any():
        return
    scale_for(axes, within(own, shown, 30.0), axis="x", pad=0.06, most=4)
    axes.scatter(own, np.zeros(len(own)), s=20, color=SUBJECT, zorder=4)
    if low is not None and high is not None:
        axes.plot([mean(low), mean(high)], [0, 0], color=SUBJECT, linewidth=1.2, zorder=3)
    axes.axvline(float(mean(own)), color=SUBJECT, linewidth=0.8, alpha=0.5)
    edge = axes.get_xlim()[1]
    for index, (row, place) in enumerate(zip(rows, shown, strict=True), start=1):
        marker = {EXACT: "D", ZERO: "x", "other references": "|"}.get(row.title, "o")
        inside, beyond = place[place <= edge], place[place > edge]
        axes.scatter(inside, np.full(len(inside), index), s=28, color=row.colour, marker=marker, zorder=4)
        if len(beyond):
            axes.scatter(edge, index, s=30, color=row.colour, marker=">", zorder=4, clip_on=False)
    axes.set_ylim(len(rows) + 0.5, -0.6)
