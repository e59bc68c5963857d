"""What a subject's page says of each hypothesis: its claim, what it predicts, what was measured, both verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from icl_lab.report.numbers.probes import probe_rows, seen_and_predicted
from icl_lab.report.numbers.tally import Block, block
from icl_lab.report.pages.tables import Table
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text import glossary
from icl_lab.report.text.sentences import said
from icl_lab.report.text.vocabulary import COLOURS, HYPOTHESES, INKS, number

CERTAIN = 0.05  # of p-values, corrected for their number; the template names it, too


@dataclass(frozen=True)
class Section:
    """The folded section of one hypothesis."""

    name: str
    title: str
    ink: str
    colour: str
    claim: str
    verdicts: list[str]
    distances: Table
    duels: str
    signatures: Table
    probes: list[Table]


def hypothesis_sections(subject: Subject) -> list[Section]:
    """Return a section per hypothesis; none where the subject was not judged."""
    entries = [block(subject, condition) for condition in subject.trained]
    if not any(any(entry.tallies.values()) for entry in entries):
        return []
    return [
        Section(
            name=name,
            title=title,
            ink=INKS[name],
            colour=COLOURS[name],
            claim=glossary.CLAIMS[name][0],
            verdicts=[_verdict(entry, name) for entry in entries],
            distances=_distances(subject, entries, name),
            duels="; ".join(_duels(subject, name)),
            signatures=_signatures(subject, name),
            probes=list(_probes(subject, name)),
        )
        for name, title in HYPOTHESES.items()
    ]


def _where(condition: Condition) -> str:
    return f"{condition.label}: " if condition.label else ""


def _verdict(entry: Block, name: str) -> str:
    """Return both verdicts of one condition."""
    function, inside = entry.tallies[name], entry.inside[name]
    mechanism = f", mechanism {said(inside)}" if inside is not None else ""
    return f"{_where(entry.condition)}function {said(function)}{mechanism}"


def _distances(subject: Subject, entries: list[Block], name: str) -> Table:
    """Return what would be near, and what was measured, on every prompt set."""
    heads = ["members", "its best reference", "prompt set", "near if", "measured, nats", "near"]
    rows = []
    for entry in entries:
        title = best_titles(subject, entry.condition, name) or "–"
        for row in entry.rows:
            cell = row.cells.get(name)
            known = [other.median for other in row.cells.values() if other is not None]
            if cell is None or not known:
                continue
            # Decoys and rivals may be nearer still; the verdict counts them, this table is about the five.
            limit = subject.thresholds.near * max(min(known), row.floor)
            span = f"{number(cell.median)} [{number(cell.low)}, {number(cell.high)}]"
            near = "✔" if cell.near else "✘"
            rows.append([entry.condition.label, title, row.regime, f"at most {number(limit)}", span, near])
    labelled = int(not any(row[0] for row in rows))
    return Table(heads[labelled:], [row[labelled:] for row in rows], numeric=(3 - labelled, 4 - labelled))


def _duels(subject: Subject, name: str) -> Iterator[str]:
    """Say whom the members follow where the nearest reference and this hypothesis's best one differ most."""
    arrays = [subject.values(f"duel_{what}", "member", "hypothesis") for what in ("share", "low", "high", "p", "nats")]
    keys = subject.coordinate("hypothesis")
    if keys is None or any(values is None for values in arrays):
        return
    share, low, high, p, nats = (values[:, list(keys).index(name)] for values in arrays if values is not None)
    for condition in subject.trained:
        fought = [member for member in condition.members if np.isfinite(share[member])]
        if not fought:
            continue
        lost = sum(p[member] < CERTAIN and share[member] < 0.5 for member in fought)
        won = sum(p[member] < CERTAIN and share[member] > 0.5 for member in fought)
        span = f"{np.median(share[fought]):.0%} [{low[fought].min():.0%}, {high[fought].max():.0%}]"
        yield (
            f"{_where(condition)}the answer is nearer to its best reference on {span} of them, which differ by "
            f"{number(float(np.median(nats[fought])))} nats; lost in {lost} and won in {won} of {len(fought)} members"
        )


def best_titles(subject: Subject, condition: Condition, name: str) -> str:
    """Return the titles of a hypothesis' best references; members may differ in it."""
    found = dict.fromkeys(subject.best_references(condition, name))
    return ", ".join(subject.titles[reference] for reference in found if reference)


def _signatures(subject: Subject, name: str) -> Table:
    """Return every signature of its circuits with its threshold, in members, untrained and with random weights."""
    told = [item for item in subject.json("signatures", []) if item.get("hypothesis") == name]
    shown = [*subject.trained, *(condition for condition in subject.nulls if condition.kind == "untrained")]
    heads = ["circuit", "signature", "predicted", *(c.label or c.kind for c in shown), "random weights"]
    rows = []
    for item in told if any(subject.mechanisms) else ():
        found = [_evidence(subject, condition, name, item) for condition in shown]
        row = [str(item.get("mechanism", "")), str(item.get("statement", ""))]
        first = next((rows_ for rows_ in found if rows_), None)
        if first is None:
            rows.append([*row, "does not apply", *[""] * (len(found) + 1)])
            continue
        row.append(f"{first[0].get('kind', '')}: more than {first[0].get('threshold', float('nan')):g}")
        row += [_values(each, len(condition.members)) for each, condition in zip(found, shown, strict=True)]
        controls = [item.get("control") for each in found for item in each]
        known = [value for value in controls if isinstance(value, int | float) and value == value]
        rows.append([*row, number(float(np.median(known))) if known else "–"])
    return Table(heads, rows)


def _evidence(subject: Subject, condition: Condition, name: str, item: dict) -> list[dict]:
    """Return the rows of that signature, of all members of a condition to which it applies."""
    return [
        row
        for member in condition.members
        for row in subject.mechanisms[member].get("evidence", [])
        if row.get("hypothesis") == name and row.get("signature") == item.get("signature")
    ]


def _values(rows: list[dict], members: int) -> str:
    if not rows:
        return "–"
    there = sum(bool(row.get("passed")) for row in rows)
    return f"{number(float(np.median([row['value'] for row in rows])))} ({there} of {members})"


def _probes(subject: Subject, name: str) -> Iterator[Table]:
    """Return the statistics of the probes, those that differ most first: a table per condition."""
    found = seen_and_predicted(subject)
    heads = ["probe", "statistic", "predicted", "measured", "difference", "effect", "members that differ"]
    if found is None:
        return
    for condition in subject.trained:
        rows = []
        for row in probe_rows(found, condition, name):
            interval = f"{number(row.difference)} [{number(row.low)}, {number(row.high)}]"
            effect = "does not distinguish" if np.isnan(row.effect) else f"{row.effect:+.2f}"
            differ = f"{int((row.p < CERTAIN).sum())} of {len(row.p)}"
            rows.append([row.title, row.statistic, number(row.predicted), number(row.seen), interval, effect, differ])
        predicted = f"predicted: the answers of {best_titles(subject, condition, name)} to the same prompts."
        note = _where(condition) + (predicted if rows else "none of its references applies.")
        yield Table(heads, rows, numeric=(2, 3, 4, 5, 6), note=note)
