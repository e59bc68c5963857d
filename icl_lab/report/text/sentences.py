"""What the scoreboard says, in sentences generated from the numbers."""

from __future__ import annotations

import numpy as np

from icl_lab.report.numbers.ratios import times_farther
from icl_lab.report.numbers.tally import Block, Tally
from icl_lab.report.text.vocabulary import (
    COINCIDES,
    HYPOTHESES,
    MARKS,
    REFUTED,
    SUPPORTED,
    UNDECIDED,
    UNEXPLAINED,
    UNTESTED,
    listing,
    number,
    percent,
)

UNSETTLED = "no hypothesis singled out"


def verdict_sentence(entry: Block) -> str:
    """Such as "linear attention: 3 of 3 members nearest to one GD step; H1 and H4 refuted, at least 40× farther"."""
    subject, condition = entry.subject, entry.condition
    members = len(condition.members)
    if not any(entry.tallies.values()):
        return f"{entry.heading}: no verdict was stored."
    parts = [f"{entry.nearest_count} of {members} members nearest to {entry.nearest or 'nothing'}"]
    supported, refuted = entry.with_status(SUPPORTED), entry.with_status(REFUTED)
    if supported:
        parts.append(f"{listing([f'{name} {HYPOTHESES[name]}' for name in supported])} supported")
    else:
        left = f", {percent(entry.remainder)} remain" if entry.remainder == entry.remainder else ""
        parts.append(f"nothing in the bank explains it{left}" if entry.status == UNEXPLAINED else UNSETTLED)
    same = entry.with_status(COINCIDES)
    if same:
        parts.append(f"{listing(same)} {'coincides' if len(same) == 1 else 'coincide'} with it")
    if refuted:
        factors = [times_farther(subject, condition, name) for name in refuted]
        factors = [factor for factor in factors if np.isfinite(factor)]
        # A refuted hypothesis can sit close where the nearest reference is itself far: then no factor is worth naming.
        quantity = f", {'at least ' if len(refuted) > 1 else ''}{number(min(factors))}× farther" if factors else ""
        named = listing([f"{name} {HYPOTHESES[name]}" if len(refuted) == 1 else name for name in refuted])
        parts.append(f"{named} refuted{quantity if factors and min(factors) >= 2 else ''}")
    return f"{entry.heading}: {'; '.join(parts)}."


def headline(entries: list[Block]) -> str:
    """The scoreboard's takeaway: which subject is explained by what."""
    told: dict[str, list[Block]] = {}
    for entry in entries:
        if entry.condition in entry.subject.trained and any(entry.tallies.values()):
            told.setdefault("+".join(entry.with_status(SUPPORTED)), []).append(entry)
    if not told:
        return "No verdict was stored for any subject."
    parts = []
    for names, found in told.items():
        which = "all" if len(told) == 1 else "the other" if found is list(told.values())[-1] else ""
        shown = listing([entry.heading for entry in found]) if len(found) <= 3 else f"{which} {len(found)} subjects"
        nothing = "no hypothesis explains them" if all(e.status == UNEXPLAINED for e in found) else UNSETTLED
        reading = " + ".join(f"{name} {HYPOTHESES[name]}" for name in names.split("+")) if names else nothing
        parts.append(f"{shown.strip()} → {reading}")
    return "; ".join(parts) + "."


def said(tally: Tally | None) -> str:
    """ "✔ 3 of 3" where most members agree; "✔1 ✘1 ?1" where they do not."""
    if tally is None:
        return "–"
    if tally.status == UNTESTED and tally.unanimous:
        return UNTESTED
    if tally.status in (UNDECIDED, UNTESTED) and not tally.unanimous:
        return "  ".join(f"{MARKS[status]}{count}" for status, count in tally.split.items())
    return f"{MARKS[tally.status]} {tally.count} of {tally.members}"
