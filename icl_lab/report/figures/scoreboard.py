"""The scoreboard: hypotheses as columns, subject and prompt set as rows, distance in nats, verdict as a mark."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.patches import Rectangle

from icl_lab.report.data import Run
from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, corner_note, fit, put, wrap
from icl_lab.report.numbers.tally import Block, Cell, Tally, begins_family, blocks
from icl_lab.report.text.sentences import headline, said
from icl_lab.report.text.vocabulary import (
    COINCIDES,
    COLOURS,
    FAIL,
    HYPOTHESES,
    INKS,
    MUTED,
    PASS,
    REFUTED,
    SUPPORTED,
    UNEXPLAINED,
    number,
    percent,
)

READING = (
    "Each number is the distance in nats between the model's answers and the best reference of that hypothesis, the "
    "same one on all sets of prompts, on one of them: the median over members, with the range over members and their "
    "95% intervals over prompts in brackets. Small is near; tinted cells are within the near ratio of the nearest "
    "hypothesis on those prompts. The mark and 'k of n' above them is the verdict, which needs nearness on all sets "
    "of prompts at once; a second line of marks, where networks were looked into, is the verdict on the mechanism, "
    "from evidence inside them alone. The remainder is the distance left to the nearest reference, in percent of the "
    "distance of the answer that knows nothing: zero, or equal shares."
)
LEFT, COLUMN, HEADER, INSIDE, ROW, FAMILY = 1.42, 1.2, 0.42, 0.2, 0.34, 0.34  # inches
NEAREST = LEFT + 5 * COLUMN + 0.08
REMAINDER = WIDTH - 0.15


def draw(run: Run) -> Drawing | LeftOut:
    """The scoreboard of all subjects of a run."""
    found = [entry for entry in blocks(run) if entry.rows or any(entry.tallies.values())]
    if not found:
        return LeftOut("no subject has hypothesis distances or verdicts")
    begins = [begins_family(found, index) for index in range(len(found))]
    body = 0.62 + FAMILY * sum(begins) + sum(_height(entry) for entry in found) + 0.3
    takeaway = headline(found)
    figure, top = canvas(takeaway, body)
    for index, (name, title) in enumerate(HYPOTHESES.items()):
        middle = LEFT + (index + 0.5) * COLUMN
        put(figure, middle, top + 0.1, name, size=10, weight="bold", color=INKS[name], ha="center", va="center")
        lines = "\n".join(wrap(title, COLUMN - 0.05, 8))
        put(figure, middle, top + 0.2, lines, size=8, color=INKS[name], ha="center", va="top", linespacing=1.1)
    put(figure, 0.12, top + 0.3, "prompts", size=8, color=MUTED, va="center")
    put(figure, NEAREST, top + 0.3, "nearest reference", size=8, color=MUTED, va="center")
    put(figure, REMAINDER, top + 0.3, "remainder", size=8, color=MUTED, va="center", ha="right")
    y = top + 0.6
    for entry, begin in zip(found, begins, strict=True):
        if begin:
            put(figure, 0.12, y + 0.18, entry.subject.family, size=11, weight="bold", color=MUTED, va="center")
            y += FAMILY
        _draw_block(figure, entry, y)
        y += _height(entry)
    note = "nats, median [range over members, 95% intervals]; tinted: near (where explained at all); "
    note += "✔ supported  ≡ coincides with a simpler one  ✘ refuted  ? undecided"
    inside = any(any(entry.inside.values()) for entry in found)
    corner_note(figure, note if inside else note + "; mechanism: not tested", y + 0.1)
    return Drawing(figure, takeaway)


def _height(entry: Block) -> float:
    return _header(entry) + ROW * len(entry.rows) + 0.08


def _header(entry: Block) -> float:
    return HEADER + (INSIDE if any(entry.inside.values()) else 0)


def _draw_block(figure, entry: Block, y: float) -> None:
    null = entry.condition not in entry.subject.trained
    across, down = figure.get_size_inches()

    def box(x: float, top: float, width: float, height: float, colour: str, alpha: float) -> None:
        corner = (x / across, 1 - (top + height) / down)
        patch = Rectangle(corner, width / across, height / down, transform=figure.transFigure, zorder=-1)
        patch.set(facecolor=colour, alpha=alpha, edgecolor="none")
        figure.add_artist(patch)

    box(0.08, y, across - 0.16, _header(entry), "#000000", 0.03 if null else 0.075)
    wide = across - NEAREST - 0.2
    put(figure, 0.12, y + 0.115, fit(entry.heading, across - 0.3, 8.8, "bold"), size=8.8, weight="bold", va="center")
    inside = any(entry.inside.values())
    _draw_marks(figure, "function" if inside else "verdict", entry.tallies, y + 0.305)
    if inside:
        _draw_marks(figure, "mechanism", entry.inside, y + 0.305 + INSIDE)
    members = len(entry.condition.members)
    somewhere = entry.nearest and not entry.remainder >= 1  # else the answer that knows nothing is as near
    nearest = f"{entry.nearest} ({entry.nearest_count} of {members})" if somewhere else "none"
    put(figure, NEAREST, y + 0.305, fit(nearest, wide - 0.6, 7.6), size=7.6, va="center")
    remainder = percent(entry.remainder) if somewhere else "all"
    put(figure, REMAINDER, y + 0.305, remainder, size=7.6, va="center", ha="right")
    for order, row in enumerate(entry.rows):
        top = y + _header(entry) + ROW * order
        put(figure, 0.12, top + ROW / 2, row.regime, size=8, va="center")
        for index, name in enumerate(HYPOTHESES):
            cell = row.cells.get(name)
            if cell is not None and cell.near and not null and entry.status != UNEXPLAINED:
                box(LEFT + index * COLUMN + 0.03, top + 0.02, COLUMN - 0.06, ROW - 0.04, COLOURS[name], 0.28)
            _draw_cell(figure, cell, LEFT + (index + 0.5) * COLUMN, top)
        put(figure, NEAREST, top + ROW / 2, fit(row.nearest, wide - 0.6, 7.6), size=7.6, color=MUTED, va="center")
        put(figure, REMAINDER, top + ROW / 2, percent(row.remainder), size=7.6, color=MUTED, va="center", ha="right")


def _draw_marks(figure, heading: str, tallies: Mapping[str, Tally | None], y: float) -> None:
    put(figure, 0.12, y, heading, size=8, color=MUTED, va="center")
    for index, name in enumerate(HYPOTHESES):
        tally = tallies[name]
        colour = MUTED if tally is None else {SUPPORTED: PASS, COINCIDES: PASS, REFUTED: FAIL}.get(tally.status, MUTED)
        weight = "bold" if tally is not None and tally.status == SUPPORTED else "normal"
        x = LEFT + (index + 0.5) * COLUMN
        put(figure, x, y, said(tally), size=8.8, color=colour, weight=weight, ha="center", va="center")


def _draw_cell(figure, cell: Cell | None, x: float, top: float) -> None:
    if cell is None:
        put(figure, x, top + ROW / 2, "–", size=8, color=MUTED, ha="center", va="center")
        return
    weight = "bold" if cell.nearest else "normal"
    put(figure, x, top + 0.105, number(cell.median), size=8.8, ha="center", va="center", weight=weight)
    interval = f"[{number(cell.low)}, {number(cell.high)}]"
    put(figure, x, top + 0.248, interval, size=6.6, color=MUTED, ha="center", va="center")
