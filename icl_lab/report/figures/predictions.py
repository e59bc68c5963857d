"""Seen against predicted: how far every probe's statistic is from what each hypothesis' best reference gives."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, fit, panel, put, text_width
from icl_lab.report.numbers.probes import Probed, seen_and_predicted
from icl_lab.report.numbers.reductions import median
from icl_lab.report.subject import Condition, Subject, evenly
from icl_lab.report.text.vocabulary import HYPOTHESES, INKS, MUTED, listing

READING = (
    "Rows are statistics of behavioural probes, columns the hypotheses. A cell is what was seen minus what the "
    "hypothesis' best reference answers to the same prompts, in units of how far the five predictions lie apart: 0 "
    "and white is as predicted, 1 and dark as far off as two hypotheses are from one another. Rows in which the "
    "predictions cannot be told apart are left out. Medians over members."
)
LEFT, COLUMN, ROW, SPACE, KEY, SHOWN = 3.1, 0.62, 0.2, 0.25, 1.3, 3  # inches; panels
BOUNDS = [0, 0.05, 0.15, 0.3, 0.6, 1.0, 2.0]
COLOURS = ["#FFFFFF", "#E5E3F0", "#C3BFDD", "#988FC3", "#6A51A3", "#3F007D"]  # one hue: lightness carries it


def draw(subject: Subject) -> Drawing | LeftOut:
    """Statistics × hypotheses, a panel per condition of trained members."""
    found = seen_and_predicted(subject)
    if found is None:
        return LeftOut("the battery of probes was not asked")
    shown = evenly(subject.trained, SHOWN)
    effects = {condition: found.effects(condition) for condition in shown}
    told = np.any([np.isfinite(values).any(0) for values in effects.values()], axis=0)
    kept = np.flatnonzero(told)
    if not len(kept):
        return LeftOut("no statistic tells the references apart")
    takeaway = _takeaway(subject, found, effects)
    figure, top = canvas(takeaway, 0.55 + max(ROW * len(kept), KEY) + 0.25)
    column = min(COLUMN, (WIDTH - LEFT - 1.2 - SPACE * len(shown)) / (5 * len(shown)))
    x, y = LEFT, top + 0.5
    for position, (condition, values) in enumerate(effects.items()):
        width = column * len(found.hypotheses)
        put(figure, x, y - 0.38, fit(condition.label, width, 8, "bold"), size=8, weight="bold", va="center")
        axes = panel(figure, x, y, width, ROW * len(kept))
        _draw_cells(axes, values[:, kept].T, column)
        axes.set_xticks(range(len(found.hypotheses)), found.hypotheses, size=8, weight="bold")
        for label, name in zip(axes.get_xticklabels(), found.hypotheses, strict=True):
            label.set_color(INKS.get(name, MUTED))
        names = [": ".join(found.title(found.statistics[index])) for index in kept]
        shortened = [fit(name, LEFT - 0.25, 8) for name in names]
        axes.set_yticks(range(len(kept)), shortened if position == 0 else [""] * len(kept), size=8)
        x += width + SPACE
    _key(figure, x + 0.1, y, KEY)
    return Drawing(figure, takeaway)


def _draw_cells(axes, cells: np.ndarray, column: float) -> None:
    """[statistic, hypothesis] with the number in every cell."""
    norm = BoundaryNorm(BOUNDS, len(COLOURS))
    sizes = np.clip(np.nan_to_num(np.abs(cells)), 0, BOUNDS[-1] - 1e-6)
    pixels = ListedColormap(COLOURS)(norm(sizes))
    pixels[~np.isfinite(cells)] = (0.93, 0.93, 0.93, 1.0)
    rows, columns = cells.shape
    # Not as an image: of two panels with the same numbers the SVG would hold one id twice.
    axes.pcolormesh(np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5, pixels)
    axes.set_ylim(rows - 0.5, -0.5)
    for (row, place), value in np.ndenumerate(cells):
        text = "" if not np.isfinite(value) else f"{value:+.2f}" if abs(value) < 9.95 else f"{value:+.0f}"
        text = text if text_width(text, 6.8) < column else text[:1] + "∞" if abs(value) > 999 else f"{value:+.0f}"
        ink = "white" if abs(value) >= 0.3 else "#333333"
        axes.text(place, row, text, size=6.8, ha="center", va="center", color=ink)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _key(figure: Figure, x: float, y: float, height: float) -> None:
    axes = panel(figure, x, y, 0.14, height)
    mappable = ScalarMappable(BoundaryNorm(BOUNDS, len(COLOURS)), ListedColormap(COLOURS))
    bar = figure.colorbar(mappable, cax=axes, spacing="uniform")
    bar.set_ticks(BOUNDS[:-1], labels=[f"{bound:g}" for bound in BOUNDS[:-1]], size=7.5)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    put(figure, x, y - 0.12, "effect size", size=7.5, color=MUTED, va="center")


def _takeaway(subject: Subject, found: Probed, effects: dict[Condition, np.ndarray]) -> str:
    """Which hypothesis' reference behaves most like the members, and which least."""
    parts = []
    for condition, values in effects.items():
        size = median(np.abs(values), axis=1)
        known = [index for index in np.argsort(np.nan_to_num(size, nan=np.inf)) if np.isfinite(size[index])]
        if len(known) < 2:
            continue
        best = [i for i in known if size[i] <= size[known[0]] + 0.02]
        names = listing([f"{found.hypotheses[i]} {HYPOTHESES[found.hypotheses[i]]}" for i in best])
        where = f" ({condition.label})" if condition.label else ""
        last = known[-1]
        away = f"typically {size[known[0]]:.2f} off, against {size[last]:.2f} for {found.hypotheses[last]}"
        parts.append(f"{names}{where}, {away}")
    if not parts:
        return f"{subject.title}: what probes saw against what references answer."
    return f"{subject.title}: probes come out nearest to {'; nearest to '.join(parts)}."
