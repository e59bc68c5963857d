"""claims.json: a run's claims with their numbers, and the expectation, result and verdict derived from them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from icl_lab.core.claims import OWN, REPORT, RULES, Claim, Gate
from icl_lab.core.errors import InputError
from icl_lab.core.files import write_atomically
from icl_lab.store.directory import writing

DERIVED = ("expected", "measured", "holds", "met")


def write_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims.json. JSON has no infinite numbers and no NaN: these are written as text."""
    rows = [_plain(asdict(claim) | {name: getattr(claim, name) for name in DERIVED}) for claim in claims]
    with writing(path):
        write_atomically(path, (json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def update_claims(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims.json and keep the claims it holds under other ids.

    An experiment and `icl-lab run` work on a preset in the same directory: neither drops the other's claims.
    """
    own = {claim.id for claim in claims}
    write_claims(path, [*claims, *(claim for claim in read_claims(path) if claim.id not in own)])


def read_claims(path: Path) -> list[Claim]:
    """Return the claims of a file; none where there is no file.

    Raises:
        InputError: the file is damaged, or of a version before 0.2.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        if any("rule" not in row and "measured" in row for row in rows):
            raise InputError(f"{path}: written by a version before 0.2, without numbers; run the configuration again")
        for name, known in (("gate", get_args(Gate)), ("rule", (*RULES, OWN, REPORT))):
            if unknown := {row[name] for row in rows} - {*known}:
                raise ValueError(f"{name} {unknown.pop()!r} is none of {', '.join(known)}")
        return [Claim(**{field.name: _value(row[field.name]) for field in fields(Claim)}) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}: {error}); nothing was deleted") from None


def _plain(value: Any) -> Any:
    """The value with every number that is not finite as text."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _value(value: Any) -> Any:
    """A field as `Claim` holds it: tuples for lists, numbers for the texts of `_plain`."""
    if isinstance(value, list):
        return tuple(_value(part) for part in value)
    return float(value) if value in ("nan", "inf", "-inf") else value
