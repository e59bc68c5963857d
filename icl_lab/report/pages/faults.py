"""Which fault, and how strong, describes a subject best: a table under its stress profile."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text.vocabulary import number, percent

READING = (
    "Faults are families of learners that are exact but for one thing; each is fitted to the network on unchanged "
    "prompts. Strength 0 is the exact learner of the training prior. A fault that explains little of the distance from "
    "it does not describe the network, whatever its strength."
)


def faults_table(subject: Subject) -> Iterator[str]:
    """Rows: faults; per condition the strength of every member with its interval and the share it explains."""
    told = subject.json("faults", {})
    names = [str(name) for name in subject.data["fault"].values] if "fault" in subject.data else []
    found = {key: subject.values(f"fault_{key}", "member", "fault") for key in ("strength", "low", "high", "left")}
    if not names or any(values is None for values in found.values()):
        return
    yield f"<h4>Faults</h4><p>{escape(READING)}</p><table><tr><th>fault</th><th>strength is</th>"
    yield "".join(f"<th>{escape(c.label or c.kind)}: strength, explains</th>" for c in subject.trained) + "</tr>"
    for place, name in enumerate(names):
        own = told.get(name, {})
        yield f"<tr><td>{escape(str(own.get('title', name)))}</td><td>{escape(str(own.get('unit', '')))}</td>"
        for condition in subject.trained:
            yield f"<td>{'<br>'.join(_cells(found, condition, place))}</td>"
        yield "</tr>"
    yield "</table>"


def _cells(found: dict[str, np.ndarray | None], condition: Condition, place: int) -> Iterator[str]:
    for member in condition.members:
        strength, low, high, left = (float(np.asarray(found[key])[member, place]) for key in found)
        if not np.isfinite(strength):
            yield "–"
            continue
        yield f"{number(strength)} [{number(low)}, {number(high)}], {percent(1 - left) or '0%'}"
