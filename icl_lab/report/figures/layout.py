"""Drawing by inches: canvases, panels, wrapped text, labels that make room for one another. No global state."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from icl_lab.report.text.vocabulary import COLOURS, INKS, MUTED

Number = float | int

WIDTH = 10.5  # inches, of every figure
STYLE = Path(__file__).with_name("style.mplstyle")
HEADLINE = 11.0  # points
_INK_FOR = {COLOURS[group]: INKS[group] for group in COLOURS}


@dataclass(frozen=True)
class Drawing:
    """A finished figure and the sentence one should take from it (also drawn at its top)."""

    figure: Figure
    takeaway: str


@dataclass(frozen=True)
class LeftOut:
    """A figure that cannot be drawn, and why, in one line."""

    reason: str


@contextmanager
def styled():
    """matplotlib with our style file and nothing of the user's own; needed while drawing and while saving."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.style.use(STYLE)
        yield


def canvas(takeaway: str, body: Number, width: Number = WIDTH) -> tuple[Figure, float]:
    """A figure with `body` inches under its headline; returns it and the inches from its top where the body begins."""
    lines = wrap(takeaway, width - 0.3, HEADLINE, "bold")
    top = 0.14 + 0.205 * len(lines) + 0.1
    figure = Figure(figsize=(width, top + body))
    FigureCanvasAgg(figure)
    put(figure, 0.12, 0.12, "\n".join(lines), size=HEADLINE, weight="bold", va="top", linespacing=1.2)
    return figure, top


def panel(figure: Figure, left: Number, top: Number, width: Number, height: Number, **options: Any) -> Axes:
    """Axes at inches from the left and the top edge."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down), **options)


def put(figure: Figure, x: Number, y: Number, text: str, **options: Any):
    """Text at inches from the left and the top edge."""
    across, down = figure.get_size_inches()
    return figure.text(x / across, 1 - y / down, text, **options)


@lru_cache(maxsize=4096)
def text_width(text: str, size: Number, weight: str = "normal") -> float:
    """Width of one line of text in inches, without a figure."""
    if not text.strip():
        return 0.0
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def wrap(text: str, width: Number, size: Number, weight: str = "normal") -> list[str]:
    """Lines of at most `width` inches, broken at spaces."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size, weight) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines or [""]


def fit(text: str, width: Number, size: Number, weight: str = "normal") -> str:
    """The text, cut with an ellipsis where it is wider than `width` inches."""
    if text_width(text, size, weight) <= width:
        return text
    while text and text_width(text + "…", size, weight) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def spread(wanted: list[float], gap: Number, low: Number, high: Number) -> list[float]:
    """Positions near `wanted`, in its order, at least `gap` apart and, where there is room, inside [low, high]."""
    order = np.argsort(wanted, kind="stable")
    placed = np.array(wanted, dtype=float)[order]
    for _ in range(60):
        placed = np.clip(placed, low, high)
        for index in range(1, len(placed)):
            short = gap - (placed[index] - placed[index - 1])
            if short > 0:
                placed[index - 1] -= short / 2
                placed[index] += short / 2
    for index in range(1, len(placed)):  # whatever is left over is pushed upwards: labels never overlap
        placed[index] = max(placed[index], placed[index - 1] + gap)
    result = np.empty(len(placed))
    result[order] = placed
    return [float(value) for value in result]


def end_labels(
    axes: Axes, labels: list[tuple[float, str, str]], room: Number, size: Number = 8.0, bold: str = ""
) -> None:
    """Write (y in data, text, colour) right of the axes, with leader lines from the curves' ends, none on another."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    across, down = figure.get_size_inches()
    box = axes.get_position()
    low, high = axes.get_ylim()
    height = box.height * down
    heights = [float(axes.transData.transform((axes.get_xlim()[1], np.clip(y, low, high)))[1]) for y, _, _ in labels]
    base = float(axes.transData.transform((0 if axes.get_xscale() == "linear" else 1, low))[1])
    wanted = [(value - base) / figure.dpi for value in heights]
    placed = spread(wanted, 1.32 * size / 72, 0.04, height)
    edge = box.x1 * across
    for (value, text, colour), start, end in zip(labels, wanted, placed, strict=True):
        beyond = " ↑" if value > high else " ↓" if value < low else ""
        y0, y1 = (box.y0 * down + start) / down, (box.y0 * down + end) / down
        line = Line2D(
            [(edge + 0.02) / across, (edge + 0.16) / across],
            [y0, y1],
            color=colour,
            linewidth=0.8,
            transform=figure.transFigure,
        )
        figure.add_artist(line)
        weight = "bold" if bold and text.startswith(bold) else "normal"
        shown = fit(text, room - 0.3 - text_width(beyond, size), size, weight) + beyond
        figure.text(
            (edge + 0.2) / across, y1, shown, color=_INK_FOR.get(colour, colour), size=size, va="center", weight=weight
        )


def plain_log(axis: Axis, low: Number, high: Number, most: int = 6) -> None:
    """Ticks of a log axis as plain numbers (0.02, 0.05, 0.1): few enough to read, never none."""
    choices = []
    for steps in ((1, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        choices.append([step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high])
    ticks = next((choice for choice in choices if len(choice) <= most), choices[-1])
    ticks = ticks[:: int(np.ceil(len(ticks) / most))] if len(ticks) > most else ticks
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _: f"{value:g}" if 1e-4 <= value < 1e5 else f"{value:.0e}")
    )
    axis.set_minor_locator(ticker.NullLocator())


def scale_for(axes: Axes, values: np.ndarray, axis: str = "y", pad: Number = 0.08, most: int = 6) -> None:
    """Limits around positive `values`: logarithmic where they span more than a factor of four, else linear."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return
    low, high = float(values.min()), float(values.max())
    target, limits, scale = (
        (axes.yaxis, axes.set_ylim, axes.set_yscale) if axis == "y" else (axes.xaxis, axes.set_xlim, axes.set_xscale)
    )
    if high / low > 4:
        stretch = (high / low) ** pad
        scale("log")
        limits(low / stretch, high * stretch)
        plain_log(target, low / stretch, high * stretch, most)
    else:
        margin = pad * (high - low) or 0.1 * high
        limits(max(0.0, low - margin), high + margin)
        target.set_major_locator(ticker.MaxNLocator(most - 1))


def corner_note(figure: Figure, text: str, y: Number, width: Number = WIDTH) -> None:
    """A muted line of explanation under a figure, cut to its width."""
    put(figure, 0.12, y, fit(text, width - 0.24, 7.5), size=7.5, color=MUTED, va="top")
