"""Claims: what a run or an experiment says came out, beside what should have. A failed claim stays in the file."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from rich.table import Table
from rich.text import Text

from icl_lab.core.errors import InputError
from icl_lab.core.files import write_atomically
from icl_lab.store.directory import writing

Gate = Literal["exact", "order", "report"]
Value = float | np.floating | np.integer | str | None


@dataclass(frozen=True)
class Claim:
    """One statement with its evidence.

    Attributes:
        id: short and unique in its file, such as "A1.loss".
        statement: one sentence.
        source: paper, or "algebra".
        expected: the number (or words) that should come out.
        tolerance: how far off still holds, in the words of the statement, such as "1%" or "> 0.99".
        measured: what came out.
        holds: whether it does; None with gate "report" where nothing was to be decided.
        gate: "exact": a number must be met; "order": a sign or order must be; "report": shown, decides nothing.
    """

    id: str
    statement: str
    source: str
    expected: Value
    tolerance: Value
    measured: Value
    holds: bool | np.bool_ | None
    gate: Gate


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims.json. Numbers that are not finite become text, which JSON needs."""
    rows = [{name: _plain(value) for name, value in asdict(claim).items()} for claim in claims]
    with writing(path):
        write_atomically(path, (json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def update_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims.json, keeping what it holds under other names.

    A preset is run by its experiment and by `icl-lab run` in the same directory: neither drops the other's claims.
    """
    own = {claim.id for claim in claims}
    write_claims(path, [*claims, *(claim for claim in read_claims(path) if claim.id not in own)])


def read_claims(path: Path) -> list[Claim]:
    """The claims in a file; none where there is no file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if unknown := {row["gate"] for row in rows} - set(get_args(Gate)):
            raise ValueError(f"gate {unknown.pop()!r} is none of {', '.join(get_args(Gate))}")
        return [Claim(**{field.name: row[field.name] for field in fields(Claim)}) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); nothing was deleted") from None


def claims_table(claims: Sequence[Claim]) -> Table:
    """The claims for a terminal."""
    table = Table(title="claims", title_justify="left")
    for column in ("id", "statement", "expected", "tolerance", "measured"):
        table.add_column(column, justify="left" if column in ("id", "statement") else "right", overflow="fold")
    table.add_column("holds")
    for claim in claims:
        verdict = "-" if claim.holds is None else "yes" if claim.holds else "NO"
        style = "bold red" if verdict == "NO" else ""
        numbers = (_shown(value) for value in (claim.expected, claim.tolerance, claim.measured))
        cells = [claim.id, claim.statement, *numbers]  # as text: what stands in brackets is no markup
        holds = Text(verdict, style) + Text(" (report)" if claim.gate == "report" else "")
        table.add_row(*map(Text, cells), holds)
    return table


def line(claim: Claim) -> str:
    """One line: pass or fail, what was measured, what should have been."""
    verdict = "-   " if claim.holds is None else "pass" if claim.holds else "FAIL"
    tolerance = f" ± {_shown(claim.tolerance)}" if claim.tolerance is not None else ""
    return f"{verdict}  {claim.statement}: {_shown(claim.measured)} (expected {_shown(claim.expected)}{tolerance})"


def failed(claims: Sequence[Claim]) -> list[Claim]:
    """Claims that had to hold and do not."""
    return [claim for claim in claims if claim.gate != "report" and not claim.holds]


def _plain(value: Any) -> Any:
    """Numpy's scalars as Python's; a number that is not finite as text."""
    value = value.item() if hasattr(value, "item") else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Value) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, int | float | np.number) else value
