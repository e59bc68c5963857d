"""Reading a finished run: results.nc (one group per subject) and claims.json. Nothing is recomputed here."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from icl_lab.core.thresholds import Thresholds
from icl_lab.report.subject import PLANTED, Subject, mapping


@dataclass(frozen=True)
class Run:
    """A finished run as the report sees it; planted learners are a group per family of tasks."""

    name: str
    subjects: list[Subject]
    planted: list[Subject]
    attributes: dict[str, Any]
    claims: list[dict[str, Any]] | None
    claims_note: str = ""


def load(path: Path) -> Run:
    """Read a run directory, or its results.nc.

    Raises FileNotFoundError or ValueError, with one line that says what is wrong.
    """
    import netCDF4
    import xarray

    path = Path(path)
    file = path / "results.nc" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no results there; run the configuration first")
    try:
        with netCDF4.Dataset(str(file)) as handle:
            names = list(handle.groups)
            attributes = {key: handle.getncattr(key) for key in handle.ncattrs()}
        datasets = {}
        for name in names:
            with xarray.open_dataset(file, group=name, engine="netcdf4") as opened:
                datasets[name] = opened.load()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read as results ({str(error).splitlines()[0]})") from error
    thresholds = _thresholds(attributes)
    subjects = {name: Subject(name, data, thresholds) for name, data in datasets.items()}
    planted = [subjects.pop(name) for name in datasets if name == PLANTED or name.startswith(f"{PLANTED}_")]
    claims, note = _claims(file.parent / "claims.json")
    name = str(attributes.get("name") or file.resolve().parent.name)
    return Run(name, list(subjects.values()), planted, attributes, claims, note)


def _claims(file: Path) -> tuple[list[dict[str, Any]] | None, str]:
    if not file.is_file():
        return None, "This run made no claims (no claims.json)."
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, f"claims.json cannot be read: {error}"
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        return None, "claims.json cannot be read: a list of claims was expected"
    return found, ""


def _thresholds(attributes: dict[str, Any]) -> Thresholds:
    stored = mapping(str(attributes.get("judge", "")))
    kept = {field.name: stored.get(field.name) for field in fields(Thresholds)}
    return Thresholds(**{name: float(value) for name, value in kept.items() if isinstance(value, int | float)})
