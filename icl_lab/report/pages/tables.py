"""Values of the page's tables: claims, references with their fitted parameters, faults, provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl_lab.report.data import Run
from icl_lab.report.numbers.reductions import median
from icl_lab.report.subject import Condition, Subject, parsed
from icl_lab.report.text.vocabulary import number, percent, spoken


@dataclass(frozen=True)
class Table:
    """Plain texts in rows.

    Attributes:
        numeric: columns that are aligned to the right.
        kinds: CSS class of every row, if there is any.
        kind: CSS class of the table.
        title, note: above and below it.
    """

    heads: list[str]
    rows: list[list[str]]
    numeric: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    kind: str = ""
    title: str = ""
    note: str = ""


def claims_table(run: Run) -> Table:
    """Every claim of the run, failing ones included; without rows, `note` says why."""
    if not run.claims:
        return Table([], [], note=run.claims_note if run.claims is None else "This run made no claims.")
    decided = [claim for claim in run.claims if isinstance(claim.get("holds"), bool)]
    failed = [claim for claim in decided if not claim["holds"]]
    summary = f"{len(decided) - len(failed)} of {len(decided)} claims hold"
    summary += f"; failing: {', '.join(str(claim.get('id', '?')) for claim in failed)}." if failed else "."
    keys = ["id", "statement", "source", "expected", "tolerance", "measured", "gate"]
    heads = ["", "id", "claim", *keys[2:]]
    kinds = ["reported" if claim not in decided else "passes" if claim["holds"] else "fails" for claim in run.claims]
    words = {"reported": "reported", "passes": "✔ holds", "fails": "✘ fails"}
    rows = [
        [words[kind], *(_value(claim.get(key)) for key in keys)] for kind, claim in zip(kinds, run.claims, strict=True)
    ]
    return Table(heads, rows, (4, 5, 6), tuple(kinds), "claims", note=summary)


def references_table(subject: Subject, condition: Condition) -> Table | None:
    """Distances and fitted parameters of every reference, medians over members; None without distances."""
    distance = subject.values("distance", "member", "regime", "reference")
    if distance is None:
        return None
    members = list(condition.members)
    typical = median(distance[members])
    by_task = subject.values("distance_task", "member", "regime", "reference")
    fitted = {
        head: median(values[members])
        for head, name in (("parameters fitted to the model", "fitted"), ("fitted to the task", "task_fitted"))
        if (values := subject.values(name, "member", "reference", "parameter")) is not None
    }
    names = subject.json("parameter_names", {})
    heads = ["", "reference", *map(spoken, subject.regimes)]
    heads += ["largest distance when fitted to the task"] if by_task is not None else []
    rows = []
    for index in np.argsort(np.nan_to_num(typical, nan=np.inf).max(axis=0), kind="stable"):
        name = subject.references[index]
        row = [" ".join(subject.groups[index]), subject.titles[name], *(number(float(v)) for v in typical[:, index])]
        if by_task is not None:
            worst = float(np.nan_to_num(median(by_task[members])[:, index], nan=-1).max())
            row.append(number(worst) if worst >= 0 else "–")
        rows.append(row + [_parameters(values[index], names.get(name, [])) for values in fitted.values()])
    where = f" · {condition.label}" if condition.label else ""
    title = f"All references{where}: distances (nats) and fitted parameters"
    return Table([*heads, *fitted], rows, tuple(range(2, len(heads))), title=title)


def faults_table(subject: Subject) -> Table | None:
    """Rows: faults; per condition the strength of every member with its interval and the share it explains."""
    told = subject.json("faults", {})
    names = [str(name) for name in subject.data["fault"].values] if "fault" in subject.data else []
    found = {key: subject.values(f"fault_{key}", "member", "fault") for key in ("strength", "low", "high", "left")}
    if not names or any(values is None for values in found.values()):
        return None

    def cells(condition: Condition, place: int) -> Iterator[str]:
        for member in condition.members:
            strength, low, high, left = (float(np.asarray(values)[member, place]) for values in found.values())
            known = f"{number(strength)} [{number(low)}, {number(high)}], {percent(1 - left) or '0%'}"
            yield known if np.isfinite(strength) else "–"

    heads = ["fault", "strength is", *(f"{c.label or c.kind}: strength, explains" for c in subject.trained)]
    rows = [
        [
            *(str(told.get(name, {}).get(key, other)) for key, other in (("title", name), ("unit", ""))),
            *("\n".join(cells(condition, place)) for condition in subject.trained),
        ]
        for place, name in enumerate(names)
    ]
    return Table(heads, rows, kind="lines")


def provenance(run: Run) -> dict[str, Any]:
    """Device, date, duration, versions and the resolved configuration, as far as they are stored."""
    stored = {key: run.attributes[key] for key in ("device", "date", "commit", "command") if run.attributes.get(key)}
    entries = {"Run": run.name} | {key.capitalize(): str(value) for key, value in stored.items()}
    seconds = run.attributes.get("wall_seconds")
    if seconds is not None and np.size(seconds) == 1:
        entries["Duration of the last session"] = _duration(float(np.ravel(seconds)[0]))
    versions = parsed(str(run.attributes.get("versions", "")), None)
    if isinstance(versions, dict):
        entries["Versions"] = ", ".join(f"{name} {value}" for name, value in sorted(versions.items()))
    return {"entries": entries, "config": str(run.attributes.get("config", "") or "")}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _parameters(values: np.ndarray, names: list[str]) -> str:
    found = [(names[i] if i < len(names) else f"p{i}", value) for i, value in enumerate(values) if np.isfinite(value)]
    found = found[: len(names)] if names else found
    return ", ".join(f"{name} {value:.3g}" for name, value in found)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool | str):
        return str(value)
    return f"{value:.5g}" if isinstance(value, int | float) else json.dumps(value)
