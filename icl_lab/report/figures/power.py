"""Hypothesis pairs × what separates them: how many prompts it takes, and which pairs are one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from icl_lab.report.figures.layout import Drawing, LeftOut, canvas, fit, panel, put
from icl_lab.report.text.vocabulary import MUTED, ink_of, listing, spoken

if TYPE_CHECKING:
    import xarray

READING = (
    "Every row asks: if a model computes the first function, can it be mistaken for the second? The first is the "
    "reference of its hypothesis that fits the task best, the second the rival hypothesis's nearest disguise after "
    "refitting. Columns: the judge's prompt sets, then behavioural probes, those that tell most pairs first. Numbers: "
    "prompts needed to tell the two (paired test, 5% level corrected for all tests of the figure, 80% power). White: "
    "not told by as many prompts as were looked at. Grey: the same function."
)
CELL, ROW, GAP, LEFT, TOP = 0.46, 0.25, 0.16, 4.1, 1.2  # inches; GAP between hypotheses, and after the judge's columns
KEY = 2.25  # inches that the key of colours takes
MAP, MOST, SAME = "YlGnBu_r", 500, "#D4D4D4"


def draw(dataset: xarray.Dataset, title: str) -> Drawing | LeftOut:
    """A matrix of ordered pairs × columns."""
    pairs = [(i, j) for i, j in np.ndindex(*dataset["nats"].shape) if str(dataset["reference"].values[i, j])]
    if not pairs:
        return LeftOut("no two hypotheses have references here")
    columns = _columns(dataset)
    takeaway = _takeaway(dataset, pairs, title)
    names = [str(name) for name in dataset["hypothesis"].values]
    rows = {pair: ROW * row + GAP * names.index(names[pair[0]]) for row, pair in enumerate(pairs)}
    across, down = max(columns.values()) + CELL, max(rows.values()) + ROW
    figure, top = canvas(takeaway, TOP + max(down, KEY) + 0.15, LEFT + across + 1.0)
    axes = panel(figure, LEFT, top + TOP, across, down)
    bare(axes, across, down)
    for pair, y in rows.items():
        _row(axes, dataset, pair, y, columns)
    for name, x in columns.items():
        axes.text(x + CELL / 2, -0.06, spoken(name), size=7.5, rotation=50, ha="left", va="bottom")
    put(figure, 0.12, top + TOP - 0.12, "if the model computes …", size=8, color=MUTED, va="center")
    put(figure, LEFT / 2 + 0.1, top + TOP - 0.12, "… could it be taken for", size=8, color=MUTED, va="center")
    for (i, j), y in rows.items():
        middle = top + TOP + y + ROW / 2
        reference, disguise = (str(dataset[f"{key}_title"].values[i, j]) for key in ("reference", "disguise"))
        if (i, j) == min(pair for pair in pairs if pair[0] == i):
            text = fit(f"{names[i]} {reference}", LEFT / 2 - 0.1, 8.5, "bold")
            put(figure, 0.12, middle, text, size=8.5, weight="bold", va="center", color=ink_of(names[i]))
        text = fit(f"{names[j]} {disguise}", LEFT / 2 - 0.2, 8)
        put(figure, LEFT / 2 + 0.1, middle, text, size=8, va="center", color=ink_of(names[j]))
    key(figure, LEFT + across + 0.2, top + TOP, "prompts\nneeded")
    return Drawing(figure, takeaway)


def bare(axes: Axes, across: float, down: float) -> None:
    """Axes in inches, from the upper left, without anything drawn."""
    axes.set_xlim(0, across)
    axes.set_ylim(down, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set_visible(False)


def cell(axes: Axes, x: float, y: float, prompts: float) -> None:
    """A cell coloured by the number of prompts, which stands in it; an empty one where that is infinite."""
    norm, colours = LogNorm(2, MOST, clip=True), matplotlib.colormaps[MAP]
    told = np.isfinite(prompts)
    face = colours(norm(prompts)) if told else "white"
    place, size = (x + 0.02, y + 0.02), (CELL - 0.04, ROW - 0.04)
    axes.add_patch(Rectangle(place, *size, facecolor=face, edgecolor="none" if told else "#E4E4E4", linewidth=0.6))
    if told:
        ink = "white" if norm(prompts) < 0.55 else "black"
        axes.text(x + CELL / 2, y + ROW / 2, f"{prompts:.0f}", size=7, ha="center", va="center", color=ink)


def key(figure: Figure, left: float, top: float, title: str) -> None:
    """The colours: prompts needed, not told, the same function."""
    put(figure, left - 0.04, top - 0.08, title, size=7.5, va="bottom", linespacing=1.1)
    bar = panel(figure, left, top, 0.14, 1.3)
    drawn = figure.colorbar(ScalarMappable(LogNorm(2, MOST), MAP), cax=bar)
    bar.invert_yaxis()
    drawn.set_ticks([2, 10, 50, 200], labels=["2", "10", "50", "200"])
    drawn.ax.minorticks_off()
    drawn.ax.tick_params(labelsize=7)
    for row, (face, text) in enumerate((("white", "not told"), (SAME, "the same\nfunction"))):
        box = panel(figure, left, top + 1.5 + 0.36 * row, 0.14, 0.14, facecolor=face)
        box.spines[:].set_visible(True)
        box.set_xticks([])
        box.set_yticks([])
        put(figure, left + 0.2, top + 1.57 + 0.36 * row, text, size=7, va="center", linespacing=1.1)


def _columns(dataset: xarray.Dataset) -> dict[str, float]:
    """Column → inches from the left: the judge's prompt sets, then probes by the number of pairs they tell."""
    probes = {str(name) for name in dataset["probe"].values}
    names = [str(name) for name in dataset["by"].values]
    told = dict(zip(names, np.isfinite(dataset["prompts"].values).sum((0, 1)), strict=True))
    regimes = [name for name in names if name not in probes]
    ordered = regimes + sorted((name for name in names if name in probes), key=lambda name: -told[name])
    return {name: CELL * n + GAP * (n >= len(regimes)) for n, name in enumerate(ordered)}


def _row(axes: Axes, dataset: xarray.Dataset, pair: tuple[int, int], y: float, columns: dict[str, float]) -> None:
    if dataset["proven"].values[pair]:
        width = max(columns.values()) + CELL
        axes.add_patch(Rectangle((0.02, y + 0.02), width - 0.04, ROW - 0.04, facecolor=SAME, linewidth=0))
        text = fit(str(dataset["equal"].values[pair]), width - 0.3, 7.5)
        axes.text(0.12, y + ROW / 2, text, size=7.5, va="center", color="#222222")
        return
    values = dict(zip((str(name) for name in dataset["by"].values), dataset["prompts"].values[pair], strict=True))
    for name, x in columns.items():
        cell(axes, x, y, float(values[name]))


def _takeaway(dataset: xarray.Dataset, pairs: list[tuple[int, int]], title: str) -> str:
    names = [str(name) for name in dataset["hypothesis"].values]
    same = [f"{names[i]} from {names[j]}" for i, j in pairs if dataset["proven"].values[i, j]]
    told = [
        (i, j)
        for i, j in pairs
        if np.isfinite(dataset["prompts"].values[i, j]).any() and not dataset["proven"].values[i, j]
    ]
    said = f"{title}: {len(told)} of {len(pairs)} ordered pairs of hypotheses can be told apart"
    return said + (f"; nothing tells {listing(same)}, the same function here." if same else ".")
