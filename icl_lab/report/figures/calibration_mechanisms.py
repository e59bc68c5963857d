"""What the mechanism verdict says of networks whose mechanism is known, and of ruins of the same."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from icl_lab.core.statistics import wilson_interval
from icl_lab.report.figures.calibration import cell
from icl_lab.report.figures.layout import Drawing, LeftOut, canvas, panel, put
from icl_lab.report.numbers.confusion import Records
from icl_lab.report.text.vocabulary import COLOURS, HYPOTHESES, INKS, MUTED, SUBJECT

READING = (
    "Rows: transformers whose weights were set by hand to compute one algorithm, and trained delta-rule networks, "
    "whose parameters say what they compute. Columns: the mechanism that the verdict supports, from internal and "
    "causal evidence; percentages of the draws of prompts, or of the networks. Boxes: mechanisms that are there "
    "(dashed: there, but no test applies). ✘ refuted, · not tested. Middle and right: the same models with random "
    "weights, and with last heads, or a read-out, of −3 times what they were; nothing should be found there."
)
CELL, HEIGHT, LEFT = 0.46, 0.27, 2.65  # inches
SUPPORTED, REFUTED = 1, -1
TITLES = {"built": "built or trained", "random": "random weights", "reversed": "last weights × −3"}


def draw(records: Records) -> Drawing | LeftOut:
    """Network × hypothesis, itself on the left, its ruins beside it."""
    names = list(dict.fromkeys(str(name) for name in records["name"]))
    if not names:
        return LeftOut("no network of a known mechanism was judged")
    takeaway = _takeaway(records)
    width = CELL * len(HYPOTHESES)
    figure, top = canvas(takeaway, 0.85 + HEIGHT * len(names), LEFT + 3 * width + 1.8)
    for number, (weights, title) in enumerate(TITLES.items()):
        left = LEFT + number * (width + 0.6)
        axes = panel(figure, left, top + 0.6, width, HEIGHT * len(names))
        _matrix(axes, records, names, weights)
        put(figure, left, top + 0.12, title, size=9.5, weight="bold")
    return Drawing(figure, takeaway)


def _matrix(axes: Axes, records: Records, names: list[str], weights: str) -> None:
    axes.set_xlim(0, len(HYPOTHESES))
    axes.set_ylim(len(names), 0)
    titles = []
    for row, name in enumerate(names):
        rows = np.flatnonzero((records["name"] == name) & (records["weights"] == weights))
        titles.append(str(records["title"][rows[0]]))
        states = records["state"][rows]
        true, untested = (str(records[key][rows[0]]).split("+") for key in ("known", "untested"))
        axes.text(len(HYPOTHESES) + 0.1, row + 0.5, f"{len(rows)}", size=7, color=MUTED, va="center")
        for column, key in enumerate(HYPOTHESES):
            share = float(np.mean(states[:, column] == SUPPORTED))
            cell(axes, column, row, share, COLOURS[key])
            if not share:
                mark = "✘" if np.mean(states[:, column] == REFUTED) > 0.5 else "·"
                axes.text(column + 0.5, row + 0.5, mark, size=7.5, color=MUTED, ha="center", va="center")
            if key in (*true, *untested):
                style = "-" if key in true else (0, (2, 2))
                axes.add_patch(
                    Rectangle(
                        (column + 0.04, row + 0.06), 0.92, 0.88, fill=False, edgecolor=SUBJECT, lw=1.4, linestyle=style
                    )
                )
    axes.set_yticks(np.arange(len(names)) + 0.5, titles if weights == "built" else [""] * len(names), size=8)
    axes.set_xticks(np.arange(len(HYPOTHESES)) + 0.5, list(HYPOTHESES), size=8)
    for label, key in zip(axes.get_xticklabels(), HYPOTHESES, strict=True):
        label.set_color(INKS[key])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)


def _takeaway(records: Records) -> str:
    right, false = np.asarray(records["right"]), np.asarray(records["false"])
    built, random, turned = (np.asarray(records["weights"]) == weights for weights in TITLES)
    ruins = random | turned
    highest = wilson_interval(int(false[ruins].sum()), int(ruins.sum()))[1]
    return (
        f"Of networks whose mechanism is known the mechanism verdict names exactly that in {right[built].sum()} "
        f"of {built.sum()} looks and something else in {false[built].sum()}; in random weights it finds "
        f"something in {false[random].sum()} of {random.sum()}, where the last weights are reversed in "
        f"{false[turned].sum()} of {turned.sum()} (95%: at most {highest:.0%})."
    )
