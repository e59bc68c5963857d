"""The scoreboard as a table for the terminal, with the same content as the figure."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from icl_lab.report.data import load
from icl_lab.report.numbers.tally import Block, Tally, begins_family, blocks
from icl_lab.report.text.vocabulary import (
    COINCIDES,
    HYPOTHESES,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    UNEXPLAINED,
    UNTESTED,
    WORDS,
    number,
    percent,
)

WIDTH = 110  # columns at most
SHORT = {
    "H1": "Bayesian\ninference",
    "H2": "kernel\nregression",
    "H3": "meta-\nlearning",
    "H4": "\nretrieval",
    "H5": "implicit\nGD",
}
STYLES = {SUPPORTED: "bold green", COINCIDES: "green", REFUTED: "red", UNDECIDED: "yellow"}


def scoreboard_table(path: Path) -> Table:
    """The scoreboard of a run directory (or its results.nc): subjects and prompt sets as rows, hypotheses as columns.

    Cells are distances in nats, medians over members; the line of verdicts counts the members that agree ("yes 3/3").
    At most 110 columns wide. Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    run = load(path)
    table = Table(
        title=Text(f"{run.name}: distance to each hypothesis, in nats", style="table.title"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("subject, prompts", max_width=20, overflow="fold")
    for name in HYPOTHESES:
        table.add_column(f"{name}\n{SHORT[name]}", justify="right", no_wrap=True, max_width=10)
    table.add_column("nearest\nreference", max_width=17, overflow="fold")
    table.add_column("left", justify="right", no_wrap=True, max_width=6)
    found = blocks(run)
    for index, entry in enumerate(found):
        if begins_family(found, index):
            table.add_row(Text(entry.subject.family.upper(), style="bold dim"))
        _add(table, entry)
    table.caption = (
        "k of n members say yes: supported, same: coincides with a simpler one, no: refuted, open: undecided;\n"
        "split k/n: k support it, the others disagree. left: remainder that the nearest reference leaves unexplained\n"
        "inside: the same of the mechanism, from within the networks; - not tested"
    )
    table.caption_justify = "left"
    return table


def _add(table: Table, entry: Block) -> None:
    nearest = f"{entry.nearest} ({entry.nearest_count}/{len(entry.condition.members)})" if entry.nearest else ""
    verdicts = [_said(entry.tallies[name]) for name in HYPOTHESES]
    table.add_row(Text(entry.heading, style="bold"), *verdicts, Text(nearest), percent(entry.remainder))
    if any(entry.inside.values()):
        inside = [_said(entry.inside[name]) for name in HYPOTHESES]
        table.add_row(Text("  inside"), *inside, "", "")
    for row in entry.rows:
        cells = [row.cells.get(name) for name in HYPOTHESES]
        shown = [
            Text("-")
            if cell is None
            else Text(number(cell.median), "bold" if cell.near and entry.status != UNEXPLAINED else "")
            for cell in cells
        ]
        table.add_row(Text(f"  {row.regime}"), *shown, Text(row.nearest, style="dim"), percent(row.remainder))
    table.add_section()


def _said(tally: Tally | None) -> Text:
    if tally is None:
        return Text("-")
    if tally.status == UNTESTED and tally.unanimous:
        return Text("-")
    if tally.status in (UNDECIDED, UNTESTED) and not tally.unanimous:
        return Text(f"split {tally.split.get(SUPPORTED, 0)}/{tally.members}", style=STYLES[UNDECIDED])
    return Text(f"{WORDS[tally.status]} {tally.count}/{tally.members}", style=STYLES[tally.status])
