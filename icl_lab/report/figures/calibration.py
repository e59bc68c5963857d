"""How far the judge is to be trusted: what was planted against what it said, and rates with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from icl_lab.report.figures.layout import Drawing, LeftOut, canvas, panel, put
from icl_lab.report.numbers.confusion import (
    LITTLE,
    OTHERS,
    OUTCOMES,
    PERCENT,
    STUDENTS,
    TITLES,
    Records,
    Row,
    Share,
    chosen,
    false_support,
    groups_of,
    identified_by_noise,
    identified_by_prompts,
    matrix,
)
from icl_lab.report.text.vocabulary import COLOURS, HYPOTHESES, INKS, MUTED, SUBJECT, spoken

READING = (
    "Rows: learners whose function is known. Columns: what the judge said; a verdict may name several hypotheses, so "
    "a row can add up to more than 100%. Boxes: the equivalence class, hypotheses that are true of at least half of "
    "the row's learners, so darkness inside them is right; outside it may be right of fewer of them, since whoever is "
    "within .006 nats of a reference counts as it. !: wrong of some, false support. Noise: none and 2% of the "
    "answers. Right: the number of learners; of taught transformers those near enough to count of all."
)
CELL, HEIGHT, LEFT = 0.46, 0.27, 2.35  # inches


def draw(families: Mapping[str, Records]) -> Drawing | LeftOut:
    """A matrix per family, side by side, above identification by noise and false support by kind."""
    if not families:
        return LeftOut("no family was calibrated")
    takeaway = _takeaway(families)
    rows = groups_of(families)
    width = LEFT + len(families) * (CELL * len(OUTCOMES) + 0.45)
    below = 2.35
    figure, top = canvas(takeaway, 0.95 + HEIGHT * len(rows) + below, max(width, 8.0))
    x = LEFT
    for number, (family, records) in enumerate(families.items()):
        axes = panel(figure, x, top + 0.85, CELL * len(OUTCOMES), HEIGHT * len(rows))
        _matrix(axes, matrix(records, rows), labelled=number == 0)
        put(figure, x, top + 0.12, spoken(family), size=9.5, weight="bold", va="center")
        _rates(figure, records, x, top + 1.15 + HEIGHT * len(rows), first=number == 0)
        x += CELL * len(OUTCOMES) + 0.45
    return Drawing(figure, takeaway)


def _matrix(axes: Axes, found: Sequence[Row], labelled: bool) -> None:
    axes.set_xlim(0, len(OUTCOMES))
    axes.set_ylim(len(found), 0)
    for place, row in enumerate(found):
        count = f"{row.learners}" if row.group not in STUDENTS else f"{row.learners}/{row.trained}" * bool(row.trained)
        axes.text(len(OUTCOMES) + 0.08, place + 0.5, count, size=7, color=MUTED, va="center")
        for column, outcome in enumerate(OUTCOMES):
            value = row.named[column] / row.verdicts if row.verdicts else float("nan")
            wrong = outcome in HYPOTHESES and row.wrong[column] > 0
            cell(axes, column, place, value, COLOURS.get(outcome, "#7A7A7A"), "!" if wrong else "")
            if outcome in HYPOTHESES and row.true[column]:
                axes.add_patch(
                    Rectangle((column + 0.04, place + 0.06), 0.92, 0.88, fill=False, edgecolor=SUBJECT, linewidth=1.5)
                )
        if row.trained and not row.verdicts:
            words = "none near enough to its teacher"
            axes.text(len(HYPOTHESES) / 2, place + 0.5, words, size=7, color=MUTED, ha="center", va="center")
    for line in {len(HYPOTHESES), len(found) - len(OTHERS)}:
        axes.axhline(line, color=SUBJECT, linewidth=0.8)
    axes.axvline(len(HYPOTHESES), color=SUBJECT, linewidth=0.8)
    names = [TITLES[row.group] if labelled else "" for row in found]
    axes.set_yticks(np.arange(len(found)) + 0.5, names, size=8)
    axes.set_xticks(np.arange(len(OUTCOMES)) + 0.5, [*HYPOTHESES, "incon-\nclusive", "unex-\nplained"], size=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for label, row in zip(axes.get_yticklabels(), found, strict=True):
        label.set_color(INKS.get(row.group.split(" ")[0], "#333333"))


def cell(axes: Axes, column: int, row: int, value: float, colour: str, mark: str = "") -> None:
    """One share of a matrix: a colour as dark as it is large, and its percentage with a mark."""
    if not np.isfinite(value):
        return
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.06 + 0.84 * value, linewidth=0))
    if value >= 0.005 or mark:
        ink = "white" if value > 0.6 else "#222222"
        axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}{mark}", size=7.5, ha="center", va="center", color=ink)


def _rates(figure: Figure, records: Records, x: float, y: float, first: bool) -> None:
    """Identification by noise (left) and by number of prompts at low noise (right)."""
    half = CELL * len(OUTCOMES) / 2 - 0.12
    by_noise, by_count = identified_by_noise(records), identified_by_prompts(records)
    left = panel(figure, x, y, half, 1.3)
    _intervals(left, list(by_noise.values()))
    left.set_xticks(range(len(by_noise)), [PERCENT[noise] for noise in by_noise], size=7)
    left.set_xlabel("noise (% of the answers)", size=8)
    if first:
        left.set_ylabel("identified", size=8)
    right = panel(figure, x + half + 0.24, y, half, 1.3, sharey=left)
    _intervals(right, list(by_count.values()))
    right.set_xticks(range(len(by_count)), [str(n) for n in by_count], size=7)
    right.set_xlabel("prompts per set", size=8)
    right.tick_params(labelleft=False)


def _intervals(axes: Axes, shares: Sequence[Share]) -> None:
    for place, share in enumerate(shares):
        axes.plot([place, place], share.interval, color=SUBJECT, linewidth=1.2)
        axes.plot(place, share.value, "o", color=SUBJECT, markersize=4)
    axes.set_ylim(0, 1.03)
    axes.set_xlim(-0.5, len(shares) - 0.5)
    axes.tick_params(labelsize=7)


def _takeaway(families: Mapping[str, Records]) -> str:
    parts, unknown = [], []
    for family, records in families.items():
        rows = chosen(records, kind="planted", noise=LITTLE)
        parts.append(f"{np.mean(np.asarray(records['identified'])[rows]):.1%} ({spoken(family)})")
        unknown.append(false_support(records))
    return (
        f"Of planted learners with at most 2% noise the judge identifies {', '.join(parts)}; it supports something in "
        f"{sum(each.count for each in unknown)} of {sum(each.total for each in unknown)} learners of kinds new to it "
        "that are like no reference."
    )
