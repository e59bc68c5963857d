"""A section per hypothesis of a subject: what it says, what it predicts, what was seen, and both verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from icl_lab.report.numbers.probes import probe_rows, seen_and_predicted
from icl_lab.report.numbers.tally import Block, block
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text import glossary
from icl_lab.report.text.sentences import said
from icl_lab.report.text.vocabulary import COLOURS, HYPOTHESES, INKS, number

CERTAIN = 0.05  # of p-values, corrected for their number


def hypothesis_sections(subject: Subject) -> Iterator[str]:
    """One folded section per hypothesis; nothing where the subject was not judged."""
    entries = [block(subject, condition) for condition in subject.trained]
    if not any(any(entry.tallies.values()) for entry in entries):
        return
    yield "<h3>The five hypotheses: predicted and seen</h3>"
    yield '<p class="muted">Open one for its predictions and what was measured of them.</p>'
    for name in HYPOTHESES:
        verdicts = " ".join(_verdict(entry, name) for entry in entries)
        head = f'<span class="badge" style="background:{INKS[name]}">{name}</span> {escape(HYPOTHESES[name])}'
        yield f'<details class="hypothesis" style="border-color:{COLOURS[name]}"><summary>{head} {verdicts}</summary>'
        yield f"<p>It says: {escape(glossary.CLAIMS[name][0])}</p>"
        yield f"<h4>Answers: how far from its best reference?</h4>{_distances(subject, entries, name)}"
        yield _duels(subject, name)
        yield f"<h4>Inside: are its circuits there?</h4>{_signatures(subject, name)}"
        yield f"<h4>Probes: does it behave as its reference does?</h4>{_probes(subject, name)}"
        yield "</details>"


def _verdict(entry: Block, name: str) -> str:
    """Both verdicts of one condition."""
    where = f"{entry.condition.label}: " if entry.condition.label else ""
    function, inside = entry.tallies[name], entry.inside[name]
    text = f"{where}function {said(function)}" + (f", mechanism {said(inside)}" if inside is not None else "")
    return f'<span class="verdict">{escape(text)}</span>'


def _distances(subject: Subject, entries: list[Block], name: str) -> str:
    """What would have been near, and what was measured, on every prompt set."""
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
            rows.append(
                [entry.condition.label, title, row.regime, f"at most {number(limit)}", span, "✔" if cell.near else "✘"]
            )
    if not rows:
        return '<p class="missing">None of its references applies to this task.</p>'
    heads = ["members", "its best reference", "prompts", "predicted, nats", "seen, nats", "near"]
    if not any(row[0] for row in rows):
        return table(heads[1:], [row[1:] for row in rows], numeric=(2, 3))
    return table(heads, rows, numeric=(3, 4))


def _duels(subject: Subject, name: str) -> str:
    """Whom the members follow where the nearest reference and this hypothesis's best one differ most."""
    arrays = [subject.values(f"duel_{what}", "member", "hypothesis") for what in ("share", "low", "high", "p", "nats")]
    keys = subject.coordinate("hypothesis")
    if keys is None or any(values is None for values in arrays):
        return ""
    share, low, high, p, nats = (values[:, list(keys).index(name)] for values in arrays if values is not None)
    parts = []
    for condition in subject.trained:
        fought = [member for member in condition.members if np.isfinite(share[member])]
        if not fought:
            continue
        lost = sum(p[member] < CERTAIN and share[member] < 0.5 for member in fought)
        won = sum(p[member] < CERTAIN and share[member] > 0.5 for member in fought)
        span = f"{np.median(share[fought]):.0%} [{low[fought].min():.0%}, {high[fought].max():.0%}]"
        where = f"{condition.label}: " if condition.label else ""
        parts.append(
            f"{where}on the tenth of the prompts where it and the reference that is nearest of all differ most "
            f"(by {number(float(np.median(nats[fought])))} nats) the answer is nearer to this one on {span} (median "
            f"[from the lowest to the highest end of the members' 95% intervals]); lost in {lost} and won in {won} of "
            f"{len(fought)} members"
        )
    if not parts:
        return ""
    return f'<p class="muted">Duel: {escape("; ".join(parts))} (exact test, p &lt; {CERTAIN:g}, Holm).</p>'


def best_titles(subject: Subject, condition: Condition, name: str) -> str:
    """Titles of a hypothesis' best references; members may differ in it."""
    found = dict.fromkeys(subject.best_references(condition, name))
    return ", ".join(subject.titles[reference] for reference in found if reference)


def _signatures(subject: Subject, name: str) -> str:
    """Every signature of its circuits with the threshold, in members, in the untrained network, in random weights."""
    told = [item for item in subject.json("signatures", []) if item.get("hypothesis") == name]
    if not told or not any(subject.mechanisms):
        return '<p class="missing">Nobody looked inside.</p>'
    untrained = [c for c in subject.nulls if c.kind == "untrained"]
    rows = []
    for item in told:
        cells = [f"{item.get('mechanism', '')}", str(item.get("statement", ""))]
        found = [_evidence(subject, condition, name, item) for condition in [*subject.trained, *untrained]]
        first = next((rows_ for rows_ in found if rows_), None)
        if first is None:
            rows.append([*cells, "makes no sense here", *[""] * (len(found) + 1)])
            continue
        cells.append(f"{first[0].get('kind', '')}: more than {first[0].get('threshold', float('nan')):g}")
        cells += [_values(each, len(c.members)) for each, c in zip(found, [*subject.trained, *untrained], strict=True)]
        controls = [row.get("control") for each in found for row in each]
        known = [value for value in controls if isinstance(value, int | float) and value == value]
        cells.append(number(float(np.median(known))) if known else "–")
        rows.append(cells)
    heads = ["circuit", "signature", "predicted", *(f"{c.label or 'trained'}" for c in subject.trained)]
    heads += ["untrained" for _ in untrained] + ["random weights"]
    return table(heads, rows) + (
        '<p class="muted">Medians over members; "k of n" have it. A circuit counts as found where an internal and a '
        "causal signature are there that random weights of the same size lack; one that is absent refutes it.</p>"
    )


def _evidence(subject: Subject, condition: Condition, name: str, item: dict) -> list[dict]:
    """The rows of that signature, of all members of a condition in which it makes sense."""
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


def _probes(subject: Subject, name: str) -> str:
    """Statistics of the battery, those that depart most first."""
    found = seen_and_predicted(subject)
    if found is None:
        return '<p class="missing">The battery was not asked.</p>'
    parts = []
    for condition in subject.trained:
        rows = []
        for row in probe_rows(found, condition, name):
            interval = f"{number(row.difference)} [{number(row.low)}, {number(row.high)}]"
            effect = "does not tell" if np.isnan(row.effect) else f"{row.effect:+.2f}"
            differ = f"{int((row.p < CERTAIN).sum())} of {len(row.p)}"
            rows.append([row.title, row.statistic, number(row.predicted), number(row.seen), interval, effect, differ])
        reference = best_titles(subject, condition, name)
        where = f"{condition.label}: " if condition.label else ""
        if not rows:
            parts.append(f'<p class="missing">{escape(where)}none of its references applies.</p>')
            continue
        heads = ["probe", "statistic", "predicted", "seen", "difference", "effect", "members that differ"]
        parts.append(
            f'<p class="muted">{escape(where)}predicted is what {escape(reference)} answers to the same prompts.</p>'
            + f'<div class="tall">{table(heads, rows, numeric=(2, 3, 4, 5, 6))}</div>'
        )
    return "".join(parts) + (
        '<p class="muted">Medians over members, the interval over members and their prompts. Effect: the difference in '
        "units of how far the five predictions lie apart, so 0 is as predicted and ±1 as wrong as can be among them. "
        f"Differs: p &lt; {CERTAIN:g}, paired t test, Holm's correction.</p>"
    )


def table(heads: list[str], rows: list[list[str]], numeric: tuple[int, ...] = ()) -> str:
    """An HTML table of plain texts."""

    def cells(tag: str, texts: list[str]) -> str:
        marks = [' class="number"' if index in numeric else "" for index in range(len(texts))]
        return "".join(f"<{tag}{mark}>{escape(text)}</{tag}>" for mark, text in zip(marks, texts, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{cells("th", heads)}</tr>{body}</table></div>'
