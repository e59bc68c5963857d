"""Alignment of the model's sensitivity with each reference's, and the influence of every example on the answer."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, fit, panel
from icl_lab.report.numbers.reductions import largest, mean, median
from icl_lab.report.subject import Condition, Subject, evenly
from icl_lab.report.text.vocabulary import SUBJECT, colour_of, ink_of, number

READING = (
    "Upper panels: cosine between the derivative of the model's answer with respect to the query and that of each "
    "reference; one dot per member, a bar at the median, sorted, 1 is perfect alignment. Lower panels: influence "
    "of every example's label on the answer (the size of the derivative, mean over prompts), members thin, mean thick: "
    "flat is order-blind, a slope is recency."
)
COLUMNS_SHOWN, ROW = 4, 0.185


def draw(subject: Subject) -> Drawing | LeftOut:
    """Panels by condition (columns): cosines above, influence below."""
    cosine = subject.values("sensitivity_cosine", "member", "reference")
    influence = subject.values("influence", "member", "position_of_example")
    if cosine is None and influence is None:
        return LeftOut("no sensitivities are stored")
    conditions = evenly(subject.trained or subject.conditions, COLUMNS_SHOWN)
    members = [member for condition in conditions for member in condition.members]
    order: list[int] = []
    if cosine is not None:
        typical = largest(np.stack([median(cosine[list(condition.members)]) for condition in conditions]))
        order = [int(index) for index in np.argsort(-typical) if np.isfinite(typical[index])]
    takeaway = _takeaway(subject, conditions, cosine)
    left, gap = 2.75, 0.3
    width = (WIDTH - left - 0.25 - gap * (len(conditions) - 1)) / len(conditions)
    upper = ROW * len(order) + 0.1 if order else 0.0
    lower = 1.25 if influence is not None else 0.0
    figure, top = canvas(takeaway, 0.3 + (upper + 0.6 if order else 0) + (lower + 0.7 if lower else 0))
    for column, condition in enumerate(conditions):
        x, y = left + column * (width + gap), top + 0.25
        title = condition.label or f"{len(condition.members)} members"
        if order and cosine is not None:
            axes = panel(figure, x, y, width, upper)
            _draw_cosines(axes, subject, cosine[list(condition.members)], order, left if column == 0 else 0.0)
            _cosine_axis(axes, cosine[members][:, order])
            axes.set_title(title)
            axes.set_xlabel("cosine with the model's sensitivity" if width > 2.5 else "cosine")
            y += upper + 0.75
        if influence is not None:
            axes = panel(figure, x, y, width, lower)
            _draw_influence(axes, influence[list(condition.members)], influence[members], column == 0)
            axes.set_xlabel("example (1 = first in the prompt)" if width > 2.5 else "example")
            if not order:
                axes.set_title(title)
    return Drawing(figure, takeaway)


def _draw_cosines(axes, subject: Subject, cosine: np.ndarray, order: list[int], room: float) -> None:
    names = []
    for row, index in enumerate(order):
        group = subject.groups[index]
        colour = colour_of(group[0])
        axes.scatter(cosine[:, index], np.full(len(cosine), row), s=14, color=colour, alpha=0.8, linewidth=0, zorder=3)
        axes.plot([median(cosine[:, index])] * 2, [row - 0.36, row + 0.36], color=colour, linewidth=1.6, zorder=4)
        label = fit(subject.titles[subject.references[index]], max(room, 1.0) - 0.75, 8)
        names.append(f"{label}  {group[0]}")
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_yticks(range(len(order)), names if room else [""] * len(order), size=8)
    axes.tick_params(axis="y", length=0)
    for label, index in zip(axes.get_yticklabels(), order, strict=True):
        label.set_color(ink_of(subject.groups[index][0]))


def _cosine_axis(axes, cosine: np.ndarray) -> None:
    """The same limits for every condition: up to 1, down to the smallest cosine, or to 0 where that is not far."""
    low = float(np.nanmin(cosine))
    low = min(0.0, low) if low < 0.4 else low
    axes.set_xlim(low - 0.04 * (1 - low) - 1e-3, 1 + 0.02 * (1 - low) + 1e-3)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_influence(axes, influence: np.ndarray, every: np.ndarray, named: bool) -> None:
    x = np.arange(1, influence.shape[1] + 1)
    axes.plot(x, influence.T, color=SUBJECT, linewidth=0.6, alpha=0.5)
    axes.plot(x, mean(influence), color=SUBJECT, linewidth=2.2, marker="o", markersize=3)
    finite = every[np.isfinite(every)]
    top, bottom = (float(finite.max()), float(finite.min())) if finite.size else (1.0, 0.0)
    axes.set_ylim(min(0.0, 1.15 * bottom), max(1.15 * top, 1e-9))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if named:
        axes.set_ylabel("influence of its label\n|∂answer/∂label|")
    else:
        axes.tick_params(axis="y", labelleft=False)


def _takeaway(subject: Subject, conditions: list[Condition], cosine: np.ndarray | None) -> str:
    if cosine is None:
        return f"{subject.title}: influence of every example on the answer."
    parts = []
    for condition in conditions:
        members = list(condition.members)
        typical = median(cosine[members])
        if not np.isfinite(typical).any():
            continue
        best = int(np.nanargmax(typical))
        where = f" ({condition.label})" if condition.label else ""
        parts.append(f"{subject.titles[subject.references[best]]}, cosine {typical[best]:.3f}{where}")
    departure = subject.values("linearity", "member")
    members = [member for condition in conditions for member in condition.members]
    tail = ""
    if departure is not None and np.isfinite(departure[members]).any():
        tail = f"; departure from answers affine in the labels: {number(float(median(departure[members])))}"
    return f"{subject.title}: sensitivity best aligned with {' and '.join(parts[:3])}{tail}."
