"""Near-set matrix: how much farther than the nearest reference each reference is, member by member."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, corner_note, fit, panel, put, text_width
from icl_lab.report.numbers.ratios import nearest_index, ratios
from icl_lab.report.numbers.reductions import median, smallest
from icl_lab.report.numbers.tally import block
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text.vocabulary import MUTED, SUBJECT, UNEXPLAINED, ink_of, number, percent

READING = (
    "Each cell: distance to the reference divided by the distance to that member's nearest one (or the floor, "
    "where that is larger), on the prompt set where this quotient is largest. Blue: within the near ratio on "
    "every prompt set, so this evidence cannot tell it from the nearest; yellow: between the two thresholds; grey "
    "to white: farther, rejected. The boxed cell is the nearest reference. References that share a blue block are "
    "one class of behaviour."
)
CELL, ROW, LEFT, SPACE = 0.46, 0.185, 2.9, 0.12  # inches
COLOURS = ["#08519C", "#6BAED6", "#FEE08B", "#CFCFCF", "#DEDEDE", "#ECECEC", "#F7F7F7"]


def draw(subject: Subject) -> Drawing | LeftOut:
    """References (rows, the class of the nearest on top) × members (columns, grouped by condition)."""
    table, nearest = ratios(subject), nearest_index(subject)
    if table is None or nearest is None:
        return LeftOut("no distances to references are stored")
    groups = [c for c in [*subject.trained, *subject.nulls] if np.isfinite(table[list(c.members)]).any()]
    shown = subject.trained or subject.conditions
    typical = smallest(np.stack([median(table[list(condition.members)]) for condition in shown]))
    order = [int(i) for i in np.argsort(np.nan_to_num(typical, nan=np.inf)) if np.isfinite(table[:, i]).any()]
    takeaway = _takeaway(subject, table, groups)
    cell = min(CELL, (WIDTH - LEFT - 1.6 - SPACE * len(groups)) / sum(len(c.members) for c in groups))
    height = ROW * len(order)
    crowded = any(text_width(_heading(subject, c), 8, "bold") > cell * len(c.members) for c in groups)
    above = 0.48 if crowded else 0.28
    figure, top = canvas(takeaway, above + height + 0.6)
    x, y = LEFT, top + above
    for position, condition in enumerate(groups):
        width = cell * len(condition.members)
        heading = fit(_heading(subject, condition), 2 * width, 8, "bold")
        put(figure, x, y - (0.32 if crowded and position % 2 else 0.12), heading, size=8, weight="bold", va="center")
        axes = panel(figure, x, y, width, height)
        _draw_block(axes, subject, table, nearest, condition, order, cell)
        names = [f"{fit(subject.titles[subject.references[i]], LEFT - 0.85, 8)}  {subject.groups[i][0]}" for i in order]
        axes.set_yticks(range(len(order)), names if position == 0 else [""] * len(order), size=8)
        for label, index in zip(axes.get_yticklabels(), order, strict=True):
            label.set_color(ink_of(subject.groups[index][0]))
        x += width + SPACE
    _key(figure, subject, x + 0.15, y + 0.2, min(height - 0.2, 2.0))
    if any(_unexplained(subject, member) for condition in groups for member in condition.members):
        note = "pale columns: even the nearest reference leaves too much unexplained, so near means only less far"
        corner_note(figure, note, figure.get_size_inches()[1] - 0.18)
    return Drawing(figure, takeaway)


def _bounds(subject: Subject) -> list[float]:
    near, far = subject.thresholds.near, subject.thresholds.reject
    return [1.0, min(1.5, near**0.5), near, far, far * 2.5, far * 8, far * 25, far * 80]


def _heading(subject: Subject, condition: Condition) -> str:
    return condition.kind if condition not in subject.trained else condition.label or condition.kind


def _draw_block(
    axes: Axes,
    subject: Subject,
    table: np.ndarray,
    nearest: np.ndarray,
    condition: Condition,
    order: list[int],
    cell: float,
) -> None:
    bounds, kept = _bounds(subject), list(condition.members)
    cells = table[np.ix_(kept, order)].T
    norm = BoundaryNorm(bounds, len(COLOURS))
    faint = np.array([_unexplained(subject, member) for member in kept])
    pixels = ListedColormap(COLOURS)(norm(np.clip(cells, bounds[0], bounds[-1] * 0.999)))
    pixels[:, faint] = 0.35 * pixels[:, faint] + 0.65
    axes.imshow(pixels, aspect="auto")
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value) and cell >= 0.3:
            ink = "white" if value < bounds[1] and not faint[column] else "#333333"
            axes.text(column, row, _times(value), size=6.3, ha="center", va="center", color=ink)
    for column, member in enumerate(kept):
        if int(nearest[member]) in order:
            corner = (column - 0.46, order.index(int(nearest[member])) - 0.46)
            axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=SUBJECT, linewidth=1.4))
    seeds = subject.coordinate("seed")
    known = seeds is not None and len(seeds) == subject.members and np.isfinite(seeds.astype(float)).all()
    names = [f"seed {int(seeds[m])}" if seeds is not None and known else str(m) for m in kept]
    axes.set_xticks(range(len(kept)), names, size=7, rotation=0 if cell >= 0.42 else 90)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _unexplained(subject: Subject, member: int) -> bool:
    """Whether even the nearest reference is far, so that nearness is only relative."""
    return subject.verdicts[member].get("status") == UNEXPLAINED


def _times(value: float) -> str:
    if value < 9.95:
        return f"{value:.1f}"
    return f"{value:.0f}" if value < 1000 else f"{value / 1000:.0f}k" if value < 1e6 else number(value)


def _key(figure: Figure, subject: Subject, x: float, top: float, height: float) -> None:
    """Colour key with the two thresholds drawn across it."""
    bounds = _bounds(subject)
    axes = panel(figure, x, top + 0.1, 0.16, height - 0.1)
    mappable = ScalarMappable(BoundaryNorm(bounds, len(COLOURS)), ListedColormap(COLOURS))
    bar = figure.colorbar(mappable, cax=axes, spacing="uniform")
    bar.set_ticks(bounds[:-1], labels=[f"{bound:.3g}×" for bound in bounds[:-1]], size=7.5)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    for bound, text, shift in ((bounds[2], "↑ near", -0.11), (bounds[3], "↓ rejected", 0.11)):
        y = top + 0.1 + (height - 0.1) * bounds.index(bound) / (len(bounds) - 1)
        axes.axhline(bound, color=SUBJECT, linewidth=1.6)
        put(figure, x + 0.55, y + shift, text, size=7.5, color=MUTED, va="center")
    put(figure, x, top - 0.1, "times the nearest", size=7.5, color=MUTED, va="center")


def _takeaway(subject: Subject, table: np.ndarray, groups: list[Condition]) -> str:
    parts = []
    for condition in [c for c in groups if c in subject.trained]:
        own = table[list(condition.members)]
        near = [i for i in range(own.shape[1]) if (own[:, i] <= subject.thresholds.near).mean() > 0.5]
        near.sort(key=lambda i: (float(median(own[:, i])), i))
        names = [subject.titles[subject.references[i]] for i in near]
        where = f" ({condition.label})" if condition.label else ""
        entry = block(subject, condition)
        if entry.status == UNEXPLAINED:
            parts.append(
                f"nothing explains it, {entry.nearest} is nearest and leaves {percent(entry.remainder)}{where}"
            )
        elif len(names) > 1:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            parts.append(f"{' ≡ '.join(names[:4])}{more} cannot be told apart{where}")
        elif names:
            parts.append(f"{names[0]} alone is near{where}")
        else:
            parts.append(f"no reference is near most members{where}")
    return f"{subject.title}: {'; '.join(parts[:3])}." if parts else f"{subject.title}: distances to the references."
