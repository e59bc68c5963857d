"""Hypothesis pairs × what separates them: how many prompts it takes, and which pairs are one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from icl_lab.report.layout import Drawing, LeftOut, canvas, fit, panel, put
from icl_lab.report.vocabulary import MUTED, listing, spoken

if TYPE_CHECKING:
    import xarray

READING = (
    "Rows: a hypothesis as the reference of its own that fits the task best, and a rival's nearest disguise after "
    "refitting. Columns: prompt sets of the judge, then behavioural probes. Numbers: prompts needed to tell the two "
    "with 95% confidence and 80% power. White: this does not tell them. Grey rows: the same function."
)
CELL, ROW, LEFT = 0.43, 0.25, 3.9  # inches
MAP, MOST = "viridis", 10_000


def draw(dataset: xarray.Dataset, title: str) -> Drawing | LeftOut:
    """A matrix of ordered pairs × columns."""
    pairs = [(i, j) for i, j in np.ndindex(*dataset["nats"].shape) if str(dataset["reference"].values[i, j])]
    if not pairs:
        return LeftOut("no two hypotheses have references here")
    columns = [str(name) for name in dataset["by"].values]
    takeaway = _takeaway(dataset, pairs, title)
    width = LEFT + CELL * len(columns) + 1.2
    figure, top = canvas(takeaway, 1.5 + ROW * len(pairs) + 0.2, width)
    axes = panel(figure, LEFT, top + 1.45, CELL * len(columns), ROW * len(pairs))
    _cells(axes, dataset, pairs, columns)
    names = [str(name) for name in dataset["hypothesis"].values]
    labels = []
    for i, j in pairs:
        reference, disguise = (spoken(str(dataset[key].values[i, j])) for key in ("reference", "disguise"))
        labels.append(fit(f"{names[i]} {reference}  |  {names[j]} {disguise}", LEFT - 0.2, 7.5))
    axes.set_yticks(np.arange(len(pairs)) + 0.5, labels, size=7.5)
    axes.set_xticks(np.arange(len(columns)) + 0.5, [spoken(name) for name in columns], size=7.5, rotation=55, ha="left")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    put(figure, 0.12, top + 1.3, "if it is …  |  could it be …?", size=8, color=MUTED, va="center")
    bar = panel(figure, LEFT + CELL * len(columns) + 0.25, top + 1.5, 0.14, min(ROW * len(pairs) - 0.1, 2.0))
    key = figure.colorbar(ScalarMappable(LogNorm(2, MOST), MAP), cax=bar)
    key.ax.tick_params(labelsize=7)
    key.set_label("prompts needed", size=7.5)
    return Drawing(figure, takeaway)


def _cells(axes: Axes, dataset: xarray.Dataset, pairs: list[tuple[int, int]], columns: list[str]) -> None:
    import matplotlib

    norm, colours = LogNorm(2, MOST, clip=True), matplotlib.colormaps[MAP]
    axes.set_xlim(0, len(columns))
    axes.set_ylim(len(pairs), 0)
    for row, (i, j) in enumerate(pairs):
        if dataset["proven"].values[i, j]:
            axes.add_patch(Rectangle((0, row + 0.06), len(columns), 0.88, facecolor="#D9D9D9", linewidth=0))
            text = fit(str(dataset["equal"].values[i, j]), CELL * len(columns) - 0.2, 7)
            axes.text(0.15, row + 0.5, text, size=7, va="center", color="#333333")
            continue
        for column in range(len(columns)):
            value = float(dataset["prompts"].values[i, j, column])
            if not np.isfinite(value):
                continue
            axes.add_patch(
                Rectangle((column + 0.03, row + 0.06), 0.94, 0.88, facecolor=colours(norm(value)), linewidth=0)
            )
            ink = "white" if norm(value) < 0.6 else "black"
            axes.text(column + 0.5, row + 0.5, _count(value), size=6.3, ha="center", va="center", color=ink)


def _count(value: float) -> str:
    value = np.ceil(value)
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.0f}k"


def _takeaway(dataset: xarray.Dataset, pairs: list[tuple[int, int]], title: str) -> str:
    names = [str(name) for name in dataset["hypothesis"].values]
    same = [f"{names[i]}≡{names[j]}" for i, j in pairs if dataset["proven"].values[i, j] and i < j]
    told = [
        (i, j)
        for i, j in pairs
        if np.isfinite(dataset["prompts"].values[i, j]).any() and not dataset["proven"].values[i, j]
    ]
    said = f"{title}: {len(told)} of {len(pairs)} ordered pairs can be told apart"
    return said + (f"; {listing(same)} are the same function here." if same else ".")
