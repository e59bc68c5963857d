"""Panels that recur in the figures of experiments: curves, dots and bars of every member, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Interval = tuple[np.ndarray, np.ndarray]  # low and high, of the shape of the values


def grid(columns: int = 1, rows: int = 1, width: float = 4.2, height: float = 3.4, **options: Any) -> tuple[Any, Any]:
    """Return a figure in constrained layout and its axes [row, column]. Width and height: of a panel, in inches."""
    import matplotlib.pyplot as plt

    size = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)


def curves(
    axis: Any,
    x: Sequence[float] | np.ndarray,
    values: np.ndarray,
    colour: str,
    label: str | None = None,
    interval: Interval | None = None,
    mean: bool = True,
    **look: Any,
) -> None:
    """Draw a thin line per member and a thick one through their means.

    Args:
        values: [member, x].
        interval: drawn as a vertical line at every point.
        mean: draw the mean of several members.
        look: of all lines, such as `ls` or `marker`.
    """
    values = np.asarray(values, float)
    thick = mean and len(values) > 1
    for member, row in enumerate(values):
        named = label if not thick and member == 0 else None
        axis.plot(x, row, color=colour, label=named, **{"lw": 0.8, "alpha": 0.7, **look})
        if interval is not None:
            axis.vlines(x, interval[0][member], interval[1][member], color=colour, lw=0.8, alpha=0.6)
    if thick:
        axis.plot(x, values.mean(0), color=colour, label=label, **{"lw": 2.0, **look})


def dots(
    axis: Any,
    x: Sequence[float] | np.ndarray,
    values: np.ndarray,
    colour: str,
    label: str | None = None,
    interval: Interval | None = None,
    spread: float = 0.06,
    **look: Any,
) -> None:
    """Draw a dot per member at every place, side by side, with its interval.

    Args:
        x: places; on a logarithmic axis members are spread by ratios.
        values: [member, x].
        spread: distance of neighbouring members, as a share of the place on a logarithmic axis, else in its unit.
    """
    values = np.asarray(values, float)
    shifts = np.arange(len(values)) - (len(values) - 1) / 2
    logarithmic = axis.get_xscale() == "log"
    for member, (row, shift) in enumerate(zip(values, shifts, strict=True)):
        places = np.asarray(x) * (1 + spread) ** shift if logarithmic else np.asarray(x) + spread * shift
        bars = None
        if interval is not None:
            bars = [np.maximum(row - interval[0][member], 0), np.maximum(interval[1][member] - row, 0)]
        style = {"fmt": "o", "ms": 4, "lw": 0.9, "alpha": 0.8, **look}
        axis.errorbar(places, row, bars, color=colour, label=None if member else label, **style)


def level(axis: Any, value: float, text: str = "", colour: str = "black", at: float = 0.99, **look: Any) -> None:
    """Draw a horizontal reference line, named at a place along the axis (0: left end, 1: right end)."""
    axis.axhline(value, color=colour, **{"lw": 1.0, "ls": "--", **look})
    if text:
        side = "right" if at > 0.5 else "left"
        where = axis.get_yaxis_transform()
        axis.annotate(text, (at, value), xycoords=where, xytext=(0, 2), textcoords="offset points", ha=side, size=8)


def bars(
    axis: Any, names: Sequence[str], rows: dict[str, np.ndarray], colours: dict[str, str], turned: bool = False
) -> None:
    """Draw a group of bars per name, one bar per row: the mean over members, and a dot per member.

    Args:
        rows: label → [member, name].
        turned: names are long and are written at an angle.
    """
    width = 0.8 / len(rows)
    for index, (label, values) in enumerate(rows.items()):
        places = np.arange(len(names)) - 0.4 + width * (index + 0.5)
        axis.bar(places, np.mean(values, 0), 0.9 * width, color=colours[label], alpha=0.45, label=label)
        for row in values:
            axis.plot(places, row, "o", ms=3, color=colours[label])
    axis.set_xticks(range(len(names)), names, **({"rotation": 25, "ha": "right"} if turned else {}))


def listed(axis: Any, names: Sequence[str], rows: dict[Any, np.ndarray], colours: dict[Any, Any]) -> None:
    """Draw a line per name, the first on top, with a dot per member at its value, and the rows one below the other.

    Args:
        rows: label → [member, name].
    """
    for index, (label, values) in enumerate(rows.items()):
        shift = 0.6 * (index + 0.5) / len(rows) - 0.3
        places = np.broadcast_to(np.arange(len(names)) + shift, np.shape(values))
        axis.plot(np.ravel(values), places.ravel(), "o", color=colours[label], ms=4.5, alpha=0.8, label=str(label))
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)


def shades(items: Sequence[Any]) -> dict[Any, Any]:
    """Return a colour for each item of an ordered sequence, from dark to light."""
    import matplotlib.pyplot as plt

    return dict(zip(items, plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(items))), strict=True))


def heat(
    axis: Any,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    unit: str,
    shown: str = "{:.2g}",
    **look: Any,
) -> Any:
    """Draw a matrix with a colour bar and its numbers; return the image."""
    image = axis.imshow(values, aspect="auto", **{"cmap": "cividis", **look})
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.grid(False)
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for (row, column), value in np.ndenumerate(values):
        ink = "black" if value > middle else "white"
        axis.text(column, row, shown.format(value), ha="center", va="center", color=ink, size=7)
    axis.figure.colorbar(image, ax=axis, label=unit)
    return image
