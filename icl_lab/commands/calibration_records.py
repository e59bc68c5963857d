"""Records of a calibration on disk, a line per subject, and as labelled arrays."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from icl_lab.calibration.inner_loops import INNER_LOOPS
from icl_lab.calibration.measure import Record
from icl_lab.calibration.mechanisms import MechanismRecord
from icl_lab.calibration.truth import KEYS
from icl_lab.core.errors import InputError
from icl_lab.learners.constructions import CONSTRUCTIONS

if TYPE_CHECKING:
    import xarray

Kind = TypeVar("Kind", Record, MechanismRecord)


def append(path: Path, records: Sequence[Record] | Sequence[MechanismRecord]) -> None:
    """One line with all records of a subject: it is there as a whole or not at all."""
    line = json.dumps([dataclasses.asdict(record) for record in records], allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path, kind: type[Kind] = Record) -> list[Kind]:
    """The records in a file. A last line that was cut off is removed, and its subject judged again.

    Raises:
        InputError: another line is damaged.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    found = []
    for number, line in enumerate(whole.decode("utf-8", "replace").splitlines(), 1):
        try:
            for row in json.loads(line):
                fields: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
                found.append(kind(**fields))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: line {number} is damaged ({error}); delete it to have it judged again") from None
    return found


def dataset_of(records: Sequence[Record], regimes: Sequence[str] = ()) -> "xarray.Dataset":
    """The records as labelled arrays along `verdict`; several hypotheses are joined by "+".

    Args:
        records: of one family.
        regimes: names of the prompt sets that distances of networks are from, if there are any.
    """
    import xarray

    data: dict[str, Any] = {name: ("verdict", v) for name, v in _columns(records, ("distance", "limit")).items()}
    for name in ("distance", "limit") if regimes else ():
        rows = [getattr(record, name) or (np.nan,) * len(regimes) for record in records]
        data[name] = (("verdict", "regime"), np.array(rows, float))
    data["excess"] = ("verdict", np.array([record.excess for record in records]))
    data["counted"] = ("verdict", np.array([record.counted for record in records], np.int8))
    return xarray.Dataset(data, {"regime": list(regimes)} if regimes else {})


def mechanism_dataset(records: Sequence[MechanismRecord]) -> "xarray.Dataset":
    """The mechanism verdicts along `verdict`; `state` [verdict, hypothesis]: 1 supported, −1 refuted, 0 not tested."""
    import xarray

    data: dict[str, Any] = {name: ("verdict", values) for name, values in _columns(records).items()}
    states = np.array([[record.states[key] for key in KEYS] for record in records], np.int8)
    titles = {name: row.title for name, row in CONSTRUCTIONS.items()}
    titles |= {loop.name: f"delta rule, {loop.title}" for loop in INNER_LOOPS}
    data["title"] = ("verdict", np.array([titles[record.name] for record in records], object))
    right = np.array([(record.right, record.false) for record in records], np.int8)
    data |= {"right": ("verdict", right[:, 0]), "false": ("verdict", right[:, 1])}
    return xarray.Dataset(data | {"state": (("verdict", "hypothesis"), states)}, {"hypothesis": list(KEYS)})


def _columns(records: Sequence[Any], without: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Every field as an array: words, whole numbers, or 0 and 1."""
    columns = {}
    for field in dataclasses.fields(records[0]):
        if field.name in without:
            continue
        values = [getattr(record, field.name) for record in records]
        if any(isinstance(value, tuple | str) or value is None for value in values):
            columns[field.name] = np.array(["+".join(v) if isinstance(v, tuple) else v or "" for v in values], object)
        else:
            columns[field.name] = np.array(values, np.int8 if isinstance(values[0], bool) else None)
    return columns
