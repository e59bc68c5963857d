"""How far the judge is to be trusted: what was planted against what it said, and rates with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from icl_lab.report.layout import Drawing, LeftOut, canvas, panel, put
from icl_lab.report.vocabulary import COLOURS, HYPOTHESES, INKS, MUTED, SUBJECT, spoken
from icl_lab.statistics import wilson_interval

Records = Mapping[str, np.ndarray]  # columns of one family's verdicts

READING = (
    "Rows: learners whose function is known. Columns: what the judge said; a verdict may name several hypotheses, so a "
    "row can add up to more than 100%. Boxes: the equivalence class, hypotheses that are true of at least half of the "
    "row's learners, so darkness inside them is right and anything coloured outside is false support. Noise: none and "
    "low (2% of the answers). Right: the number of learners; of taught transformers those near enough to count of all. "
    "A distorted or nearly Bayesian learner within .006 nats of a reference counts as it, and to name that is right."
)
OTHERS = ("listed", "mixture", "near miss", "distorted", "untrained")
STUDENTS = tuple(f"{key} {kind}" for kind in ("student", "retrained") for key in HYPOTHESES)
TITLES = {
    **{key: f"{key} {name}" for key, name in HYPOTHESES.items()},
    "listed": "decoys and rivals it knows",
    "mixture": "half of each of two",
    "near miss": "nearly Bayesian",
    "distorted": "distorted, unknown to it",
    "untrained": "untrained transformers",
    **{f"{key} student": f"transformers taught by {key}" for key in HYPOTHESES},
    **{f"{key} retrained": f"hand-built, retrained by {key}" for key in HYPOTHESES},
}
COLUMNS = (*HYPOTHESES, "inconclusive", "unexplained")
CELL, HEIGHT, LEFT = 0.46, 0.27, 2.35  # inches


def draw(families: Mapping[str, Records]) -> Drawing | LeftOut:
    """A matrix per family, side by side, above identification by noise and false support by kind."""
    if not families:
        return LeftOut("no family was calibrated")
    takeaway = _takeaway(families)
    taught = [group for group in STUDENTS if any(group in records["group"] for records in families.values())]
    rows = (*HYPOTHESES, *taught, *OTHERS)
    width = LEFT + len(families) * (CELL * len(COLUMNS) + 0.45)
    below = 2.35
    figure, top = canvas(takeaway, 0.95 + HEIGHT * len(rows) + below, max(width, 8.0))
    x = LEFT
    for number, (family, records) in enumerate(families.items()):
        axes = panel(figure, x, top + 0.85, CELL * len(COLUMNS), HEIGHT * len(rows))
        _matrix(axes, records, rows, labelled=number == 0)
        put(figure, x, top + 0.12, spoken(family), size=9.5, weight="bold", va="center")
        _rates(figure, records, x, top + 1.15 + HEIGHT * len(rows), first=number == 0)
        x += CELL * len(COLUMNS) + 0.45
    return Drawing(figure, takeaway)


def chosen(records: Records, **equal: object) -> np.ndarray:
    """Rows with these values, judged on all prompts; of trained networks those that count."""
    mask = np.asarray(records["prompts"]) == np.max(records["prompts"])
    mask &= np.asarray(records["counted"]).astype(bool)
    for name, value in equal.items():
        column = np.asarray(records[name])
        mask &= np.isin(column, value) if isinstance(value, tuple) else column == value
    return np.flatnonzero(mask)


def share(records: Records, rows: np.ndarray, column: str, key: str) -> float:
    """Share of rows whose "+"-joined column names a hypothesis."""
    values = np.asarray(records[column])[rows]
    return float(np.mean([key in str(value).split("+") for value in values])) if len(rows) else float("nan")


def _matrix(axes: Axes, records: Records, groups: Sequence[str], labelled: bool) -> None:
    axes.set_xlim(0, len(COLUMNS))
    axes.set_ylim(len(groups), 0)
    for row, group in enumerate(groups):
        rows = chosen(records, group=group, noise=("none", "low"))
        trained = int(np.sum(np.asarray(records["group"]) == group))
        known = len(set(np.asarray(records["name"])[rows].tolist()))  # learners, each judged at one noise or two
        count = f"{known}" if group not in STUDENTS else f"{known}/{trained}" if trained else ""
        axes.text(len(COLUMNS) + 0.08, row + 0.5, count, size=7, color=MUTED, va="center")
        for column, outcome in enumerate(COLUMNS):
            said = outcome in HYPOTHESES
            value = (
                share(records, rows, "named", outcome)
                if said
                else float(np.mean(np.asarray(records["status"])[rows] == outcome))
                if len(rows)
                else float("nan")
            )
            cell(axes, column, row, value, COLOURS.get(outcome, "#7A7A7A"))
            if said and share(records, rows, "truth", outcome) >= 0.5:
                axes.add_patch(
                    Rectangle((column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor=SUBJECT, linewidth=1.5)
                )
    for line in {len(HYPOTHESES), len(groups) - len(OTHERS)}:
        axes.axhline(line, color=SUBJECT, linewidth=0.8)
    axes.axvline(len(HYPOTHESES), color=SUBJECT, linewidth=0.8)
    names = [TITLES[group] if labelled else "" for group in groups]
    axes.set_yticks(np.arange(len(groups)) + 0.5, names, size=8)
    axes.set_xticks(np.arange(len(COLUMNS)) + 0.5, [*HYPOTHESES, "incon-\nclusive", "unex-\nplained"], size=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    for label, key in zip(axes.get_yticklabels(), groups, strict=True):
        label.set_color(INKS.get(key.split(" ")[0], "#333333"))


def cell(axes: Axes, column: int, row: int, value: float, colour: str) -> None:
    """One share of a matrix: a colour as dark as it is large, and its percentage."""
    if not np.isfinite(value):
        return
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.06 + 0.84 * value, linewidth=0))
    if value >= 0.005:
        ink = "white" if value > 0.6 else "#222222"
        axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}", size=7.5, ha="center", va="center", color=ink)


def _rates(figure: Figure, records: Records, x: float, y: float, first: bool) -> None:
    """Identification by noise (left) and by number of prompts at low noise (right)."""
    half = CELL * len(COLUMNS) / 2 - 0.12
    noises = list(dict.fromkeys(np.asarray(records["noise"])[chosen(records, kind="planted")].tolist()))
    levels = [np.asarray(records["identified"])[chosen(records, kind="planted", noise=noise)] for noise in noises]
    left = panel(figure, x, y, half, 1.3)
    _intervals(left, list(range(len(noises))), levels)
    left.set_xticks(range(len(noises)), noises, size=7)
    left.set_xlabel("noise", size=8)
    if first:
        left.set_ylabel("identified", size=8)
    counts = sorted({int(value) for value in np.asarray(records["prompts"])})
    low = (np.asarray(records["kind"]) == "planted") & (np.asarray(records["noise"]) == "low")
    by_count = [np.asarray(records["identified"])[low & (np.asarray(records["prompts"]) == n)] for n in counts]
    right = panel(figure, x + half + 0.24, y, half, 1.3, sharey=left)
    _intervals(right, list(range(len(counts))), by_count)
    right.set_xticks(range(len(counts)), [str(n) for n in counts], size=7)
    right.set_xlabel("prompts per set", size=8)
    right.tick_params(labelleft=False)


def _intervals(axes: Axes, places: Sequence[int], groups: Sequence[np.ndarray]) -> None:
    for place, values in zip(places, groups, strict=True):
        low, high = wilson_interval(int(np.sum(values)), len(values))
        axes.plot([place, place], [low, high], color=SUBJECT, linewidth=1.2)
        axes.plot(place, np.mean(values) if len(values) else np.nan, "o", color=SUBJECT, markersize=4)
    axes.set_ylim(0, 1.03)
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.tick_params(labelsize=7)


def _takeaway(families: Mapping[str, Records]) -> str:
    parts, false, clean = [], 0, 0
    for family, records in families.items():
        rows = chosen(records, kind="planted", noise=("none", "low"))
        parts.append(f"{np.mean(np.asarray(records['identified'])[rows]):.1%} ({spoken(family)})")
        unknown = chosen(records, kind=("distorted", "untrained"), truth="")
        false += int(np.sum(np.asarray(records["false"])[unknown]))
        clean += len(unknown)
    return (
        f"Of planted learners with at most 2% noise the judge identifies {', '.join(parts)}; it supports something in "
        f"{false} of {clean} learners unknown to it that are like no reference."
    )
