"""Probes × pairs of references: which pairs each tells, beside what theory says it must and must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from icl_lab.report.figures.layout import Drawing, LeftOut, canvas, fit, panel, put
from icl_lab.report.figures.power import CELL, GAP, KEY, ROW, bare, cell, key
from icl_lab.report.text.vocabulary import MUTED, spoken

if TYPE_CHECKING:
    import xarray

READING = (
    "Every row is a pair of references, the first fitted to the task, the second fitted to the first. Numbers: prompts "
    "the probe needs to tell them apart; white: not told by as many as were looked at. Frames are what theory says, "
    "written down before measuring: solid, the probe must tell the pair; dotted, it must not. A frame is red where the "
    "measurement disagrees. Grey rows are the same function, and no probe may tell them."
)
LEFT, TOP = 3.6, 1.2
MUST, MUST_NOT, WRONG = "#222222", "#777777", "#C62828"


def draw(dataset: xarray.Dataset, title: str) -> Drawing | LeftOut:
    """A matrix of pairs × probes."""
    if "couple_prompts" not in dataset or not dataset.sizes["couple"]:
        return LeftOut("no pair of references that theory speaks of applies here")
    needed, expected = dataset["couple_prompts"].values, dataset["couple_expected"].values
    equal = np.array([bool(str(text)) for text in dataset["couple_equal"].values])
    takeaway = _takeaway(needed, expected, equal, title)
    probes = [str(name) for name in dataset["probe"].values]
    rows = [ROW * row + GAP * bool(same) for row, same in enumerate(equal)]
    across, down = CELL * len(probes), rows[-1] + ROW
    figure, top = canvas(takeaway, TOP + max(down, KEY) + 0.15, LEFT + across + 1.0)
    axes = panel(figure, LEFT, top + TOP, across, down)
    bare(axes, across, down)
    for column, name in enumerate(probes):
        axes.text(CELL * (column + 0.5), -0.06, spoken(name), size=7.5, rotation=50, ha="left", va="bottom")
    put(figure, 0.12, top + TOP - 0.12, "a pair of references", size=8, color=MUTED, va="center")
    for row, y in enumerate(rows):
        if equal[row]:
            axes.add_patch(Rectangle((0, y), across, ROW, facecolor="#D4D4D4", linewidth=0))
        for column in range(len(probes)):
            if not equal[row] or np.isfinite(needed[row, column]):
                cell(axes, CELL * column, y, float(needed[row, column]))
            _frame(axes, CELL * column, y, int(expected[row, column]), bool(np.isfinite(needed[row, column])))
        first, second = (str(dataset[f"couple_{which}_title"].values[row]) for which in ("first", "second"))
        sign = "≡" if equal[row] else "|"
        put(
            figure, 0.12, top + TOP + y + ROW / 2, fit(f"{first}  {sign}  {second}", LEFT - 0.2, 8), size=8, va="center"
        )
    key(figure, LEFT + across + 0.2, top + TOP, "prompts\nneeded")
    _frames_key(figure, 0.14, top + 0.12)
    return Drawing(figure, takeaway)


def _frames_key(figure: Figure, left: float, top: float) -> None:
    """What the frames mean."""
    rows = (
        (MUST, "-", "theory: must be told"),
        (MUST_NOT, ":", "theory: must not be told"),
        (WRONG, "-", "measured otherwise"),
    )
    axes = panel(figure, left, top, 0.3, 0.22 * len(rows))
    bare(axes, 0.3, 0.22 * len(rows))
    for row, (colour, style, text) in enumerate(rows):
        box = Rectangle((0.02, 0.22 * row + 0.03), 0.26, 0.16, fill=False, edgecolor=colour, linestyle=style)
        axes.add_patch(box)
        put(figure, left + 0.38, top + 0.22 * row + 0.11, text, size=7.5, va="center", color=MUTED)


def _frame(axes: Axes, x: float, y: float, expected: int, told: bool) -> None:
    if not expected:
        return
    wrong = told != (expected > 0)
    colour = WRONG if wrong else MUST if expected > 0 else MUST_NOT
    style = "-" if expected > 0 else ":"
    place, size = (x + 0.02, y + 0.02), (CELL - 0.04, ROW - 0.04)
    axes.add_patch(
        Rectangle(place, *size, fill=False, edgecolor=colour, linestyle=style, linewidth=1.6 if wrong else 1.2)
    )


def _takeaway(needed: np.ndarray, expected: np.ndarray, equal: np.ndarray, title: str) -> str:
    told = np.isfinite(needed)
    must, must_not = expected > 0, (expected < 0) & ~equal[:, None]
    said = f"{title}: probes tell {int((told & must).sum())} of {int(must.sum())} pairs that theory says they must"
    if must_not.any():
        said += f", {int((told & must_not).sum())} of {int(must_not.sum())} that they must not"
    if equal.any():
        said += (
            f", and {int(told[equal].sum())} of {int(equal.sum() * told.shape[1])} times functions that are the same"
        )
    return said + "."
