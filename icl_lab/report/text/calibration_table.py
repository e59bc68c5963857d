"""A calibration for the terminal: a confusion matrix per family, and how often learners are identified or wronged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from icl_lab.report.data import load
from icl_lab.report.numbers.confusion import (
    OUTCOMES,
    STUDENTS,
    TITLES,
    Records,
    Row,
    Share,
    false_support,
    families_of,
    groups_of,
    identified_by_noise,
    identified_by_prompts,
    matrix,
    records_of,
)
from icl_lab.report.text.vocabulary import HYPOTHESES, spoken

CAPTION = (
    "Verdicts at no and 2% noise; one may name several hypotheses. [n]: true of at least half of the row's learners; "
    "n!: not of all that it is said of, false support. learners: each judged at one noise or two; of taught "
    "transformers those near enough to what they were taught to count, of all."
)


def calibration_tables(path: Path) -> list[Table]:
    """The tables of a finished calibration, at most 110 columns wide: a matrix per family, then the rates of all.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    families = families_of(records_of(load(path)))
    groups = groups_of(families)
    matrices = [_matrix(name, matrix(found, groups)) for name, found in families.items()]
    for last in matrices[-1:]:
        last.caption, last.caption_justify = Text(CAPTION, style="table.caption"), "left"
    return [*matrices, _rates(families)]


def _matrix(family: str, rows: list[Row]) -> Table:
    table = _table(f"{spoken(family)}: what the judge says of known learners")
    table.add_column("known learners", max_width=32, overflow="fold")
    for name in ("learners", "verdicts", *HYPOTHESES, "incon-\nclusive", "unex-\nplained"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        if not row.trained:
            continue
        learners = f"{row.learners} of {row.trained}" if row.group in STUDENTS else str(row.learners)
        cells = [_cell(row, column) for column in range(len(OUTCOMES))]
        table.add_row(Text(TITLES[row.group]), learners, str(row.verdicts), *cells)
    return table


def _cell(row: Row, column: int) -> Text:
    """A count, marked where naming the hypothesis is right of the row, and where it is wrong of some learner."""
    count = str(row.named[column]) if row.named[column] else "·"
    if column >= len(HYPOTHESES):
        return Text(count)
    mark = "!" if row.wrong[column] else ""
    if row.true[column]:
        return Text(f"[{count}{mark}]", style="bold red" if mark else "bold green")
    return Text(f"{count}{mark or ' '}", style="red" if mark else "")


def _rates(families: dict[str, Records]) -> Table:
    """Shares with 95% score intervals, a column per family."""
    table = _table("how often planted learners are identified (95% intervals)")
    table.add_column("", max_width=36, overflow="fold")
    columns = []
    for family, records in families.items():
        table.add_column(spoken(family), justify="right", no_wrap=True)
        columns.append(dict(_shares(records)))
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(_said(column[name]) if name in column else "" for column in columns))
    return table


def _shares(records: Records) -> Iterator[tuple[str, Share]]:
    for noise, share in identified_by_noise(records).items():
        yield f"identified, noise {noise}", share
    for count, share in identified_by_prompts(records).items():
        yield f"identified, noise low, {count} prompts", share
    yield "false support, unknown learners", false_support(records)


def _said(share: Share) -> str:
    if not share.total:
        return "none there"
    low, high = share.interval
    return f"{share.count} of {share.total} ({max(low, 0):.3f}–{min(high, 1):.3f})"


def _table(title: str) -> Table:
    heading = Text(title, style="table.title")
    return Table(title=heading, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
