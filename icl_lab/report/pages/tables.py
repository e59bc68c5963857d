"""The page's HTML tables: claims, references with their fitted parameters, provenance."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np

from icl_lab.report.data import Run
from icl_lab.report.numbers.reductions import median
from icl_lab.report.subject import Condition, Subject, parsed
from icl_lab.report.text.vocabulary import ink_of, number, spoken


def claims_table(run: Run) -> str:
    """Every claim of the run, those that fail included and visible."""
    if run.claims is None:
        return f'<p class="missing">{escape(run.claims_note)}</p>'
    if not run.claims:
        return '<p class="missing">This run made no claims.</p>'
    decided = [claim for claim in run.claims if isinstance(claim.get("holds"), bool)]
    failed = [claim for claim in decided if not claim["holds"]]
    summary = f"{len(decided) - len(failed)} of {len(decided)} claims hold"
    summary += f"; failing: {', '.join(str(claim.get('id', '?')) for claim in failed)}." if failed else "."
    rows = []
    for claim in run.claims:
        holds = claim.get("holds")
        kind, word = ("reported", "reported")
        if isinstance(holds, bool):
            kind, word = ("passes", "✔ holds") if holds else ("fails", "✘ fails")
        texts = "".join(f"<td>{escape(_value(claim.get(key)))}</td>" for key in ("id", "statement", "source"))
        numbers = "".join(
            f'<td class="number">{escape(_value(claim.get(key)))}</td>' for key in ("expected", "tolerance", "measured")
        )
        gate = f"<td>{escape(_value(claim.get('gate')))}</td>"
        rows.append(f'<tr class="{kind}"><td class="holds">{word}</td>{texts}{numbers}{gate}</tr>')
    heads = ["", "id", "claim", "source", "expected", "tolerance", "measured", "gate"]
    head = "".join(f"<th{_NUMBER if name in _NUMERIC else ''}>{name}</th>" for name in heads)
    table = f'<table class="claims"><tr>{head}</tr>{"".join(rows)}</table>'
    return f'<p>{escape(summary)}</p><div class="scroll">{table}</div>'


def references_table(subject: Subject, condition: Condition) -> str:
    """Distances and fitted parameters of every reference, medians over members; "" without distances."""
    distance = subject.values("distance", "member", "regime", "reference")
    if distance is None:
        return ""
    members = list(condition.members)
    typical = median(distance[members])
    by_task = subject.values("distance_task", "member", "regime", "reference")
    fitted, task_fitted = (
        subject.values(name, "member", "reference", "parameter") for name in ("fitted", "task_fitted")
    )
    names = subject.json("parameter_names", {})
    rows = []
    for index in np.argsort(np.nan_to_num(typical, nan=np.inf).max(axis=0), kind="stable"):
        name, group = subject.references[index], subject.groups[index]
        cells = [f'<td><span class="chip" style="color:{ink_of(group[0])}">{escape(" ".join(group))}</span></td>']
        cells.append(f"<td>{escape(subject.titles[name])}</td>")
        cells += [f'<td class="number">{number(float(value))}</td>' for value in typical[:, index]]
        if by_task is not None:
            worst = float(np.nan_to_num(median(by_task[members])[:, index], nan=-1).max())
            cells.append(f'<td class="number">{number(worst) if worst >= 0 else "–"}</td>')
        for values in (fitted, task_fitted):
            if values is not None:
                cells.append(f"<td>{escape(_parameters(median(values[members])[index], names.get(name, [])))}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    heads = [("", False), ("reference", False), *((spoken(regime), True) for regime in subject.regimes)]
    heads += [("fitted to the task, farthest", True)] if by_task is not None else []
    heads += [("parameters fitted to the model", False)] if fitted is not None else []
    heads += [("fitted to the task", False)] if task_fitted is not None else []
    head = "".join(f"<th{_NUMBER if numeric else ''}>{escape(name)}</th>" for name, numeric in heads)
    where = f" · {condition.label}" if condition.label else ""
    return (
        f"<details><summary>All references{escape(where)}: distances (nats) and fitted parameters</summary>"
        f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div></details>'
    )


def provenance(run: Run) -> str:
    """Device, date, duration, versions and the resolved configuration, as far as they are stored."""
    entries: list[tuple[str, str]] = [("Run", run.name)]
    stored = {key: run.attributes[key] for key in ("device", "date", "commit", "command") if run.attributes.get(key)}
    entries += [(key.capitalize(), str(value)) for key, value in stored.items()]
    seconds = run.attributes.get("wall_seconds")
    if seconds is not None and np.size(seconds) == 1:
        entries.append(("Duration of the last session", _duration(float(np.ravel(seconds)[0]))))
    versions = parsed(str(run.attributes.get("versions", "")), None)
    if isinstance(versions, dict):
        entries.append(("Versions", ", ".join(f"{name} {value}" for name, value in sorted(versions.items()))))
    listed = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in entries)
    config = str(run.attributes.get("config", "") or "")
    details = f"<details><summary>Configuration</summary><pre>{escape(config)}</pre></details>" if config else ""
    return f"<dl>{listed}</dl>{details}"


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


_NUMBER = ' class="number"'
_NUMERIC = ("expected", "tolerance", "measured")
