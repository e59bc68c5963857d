"""The function verdict: which hypotheses describe the answers of a learner.

The parameters of every reference are fitted to the subject on calibration prompts and frozen (fitting.py). D_k(r) is
the mean distance from the subject to reference k in regime r, D_0(r) its distance to the zero predictor, which ignores
the prompt. Differences below the floor f(r) = max(.002 nats, 1e-5·D_0(r)) do not count. The constants are in
`Thresholds`. The steps, in order:

1. *Nearest* is the reference j with the smallest mean over regimes of D_k(r) / max(D_0(r), .002).
2. A reference k is *near* if D_k(r) ≤ 3·max(D_j(r), f(r)) in every regime. It is *rejected* if it is not near and
   D_k(r) ≥ 4·max(D_j(r), f(r)) in some regime. Otherwise it lies *between* the thresholds.
3. The subject is *unexplained* if
   - D_0(r) ≤ .002 in every regime: it answers nothing, and then no reference is rejected; or
   - D_j(r) > 2% of max(D_0(r), .002) in some regime, over all prompts or over the 90% of them with the smaller D_0.
4. Otherwise the evidence is *inconclusive* if
   - a decoy is near; or
   - a decoy or a rival lies between the thresholds; or
   - no reference is rejected; or
   - only rivals are near.
   A decoy that varies a near reference (a tempered posterior varies pool Bayes) is ignored here unless it is more than
   1.5 times nearer than that reference in some regime.
5. Otherwise the hypotheses with near references are *supported* together.

A hypothesis is *refuted* if all its references are rejected, whatever the status of the verdict. In a supported verdict
it *coincides* if each of its near references has a simpler near counterpart of another hypothesis that suffices.
In all other cases it is *undecided*. The mechanism stays "not tested", because behaviour cannot show it.

`icl-lab calibrate` measures how often the rule errs; docs/judge-history.md says how it came about.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from icl_lab.core.prompts import Predictions
from icl_lab.core.thresholds import THRESHOLDS, Thresholds
from icl_lab.hypotheses import HYPOTHESES, REFERENCES, Hypothesis
from icl_lab.judging.bank import Bank
from icl_lab.judging.comparison import Comparison, compare

SUPPORTED, INCONCLUSIVE, UNEXPLAINED = "supported", "inconclusive", "unexplained"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the evidence says about one subject.

    Attributes:
        status: "supported", "inconclusive" or "unexplained".
        nearest: name of the nearest reference; empty if the answers are not finite.
        near: names of the near references, nearest first.
        supported, refuted, undecided, coincides: keys of hypotheses.
        rejected: names of rejected references.
        remainder: largest D_j(r)/D_0(r) over regimes, the unexplained share.
        equivalent: references that mimic the nearest one when fitted to it.
        reasons: why the status is not "supported", in sentences.
        mechanism: "not tested".
    """

    status: str
    nearest: str
    near: tuple[str, ...]
    supported: tuple[str, ...]
    refuted: tuple[str, ...]
    undecided: tuple[str, ...]
    coincides: tuple[str, ...]
    rejected: tuple[str, ...]
    remainder: float
    equivalent: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    mechanism: str = "not tested"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return dataclasses.asdict(self)


class Row(NamedTuple):
    """What the rule knows of one reference.

    Attributes:
        name: of the reference.
        owner: the hypothesis it speaks for, "rival" or "decoy".
        distance: max(D_k(r), f(r)) in nats.
        near, rejected: step 2.
    """

    name: str
    owner: str
    distance: Float[np.ndarray, " regime"]
    near: bool
    rejected: bool


def judge(comparison: Comparison, thresholds: Thresholds = THRESHOLDS) -> Verdict:
    """Apply the rule in the module's docstring to measured distances."""
    if not np.isfinite(comparison.zero).all():
        keys = tuple(hypothesis.key for hypothesis in HYPOTHESES)
        reasons = ("the answers are not finite",)
        return Verdict(UNEXPLAINED, "", (), (), (), keys, (), (), 1.0, reasons=reasons)
    nearest = nearest_to(comparison, thresholds)
    rows = table(comparison, nearest, thresholds)
    failures, doubts = failures_of(comparison, nearest, thresholds), doubts_about(rows, thresholds)
    status = UNEXPLAINED if failures else INCONCLUSIVE if doubts else SUPPORTED
    states = {hypothesis.key: state_of(hypothesis, rows, status) for hypothesis in HYPOTHESES}

    def keys_in(state: str) -> tuple[str, ...]:
        return tuple(key for key, found in states.items() if found == state)

    rejected = {row.name for row in rows if row.rejected}
    return Verdict(
        status=status,
        nearest=comparison.references[nearest],
        near=tuple(row.name for row in rows if row.near),
        supported=keys_in(SUPPORTED),
        refuted=keys_in("refuted"),
        undecided=keys_in("undecided"),
        coincides=keys_in("coincides"),
        rejected=tuple(name for name in comparison.references if name in rejected),
        remainder=float(comparison.remainder(nearest, thresholds.floor).max()),
        reasons=(*failures, *doubts),
    )


def nearest_to(comparison: Comparison, thresholds: Thresholds) -> int:
    """Return the index of the nearest reference (step 1)."""
    zero = np.maximum(comparison.zero, thresholds.floor)
    return int(np.argmin((finite(comparison.distance) / zero[:, None]).mean(0)))


def table(comparison: Comparison, nearest: int, thresholds: Thresholds) -> list[Row]:
    """Return one row for each reference, ordered by the largest ratio to the nearest (step 2)."""
    distance, floors = finite(comparison.distance), comparison.floors(thresholds)
    ratio = distance / np.maximum(distance[:, nearest], floors)[:, None]
    near = np.all(ratio <= thresholds.near, axis=0)
    rejected = np.any(ratio >= thresholds.reject, axis=0) & ~near & (not silent(comparison, thresholds))
    counted = np.maximum(distance, floors[:, None])
    names = comparison.references
    return [
        Row(names[i], owner_of(names[i]), counted[:, i], bool(near[i]), bool(rejected[i]))
        for i in np.argsort(ratio.max(0))
    ]


def finite(distance: Float[np.ndarray, "regime reference"]) -> Float[np.ndarray, "regime reference"]:
    """Replace NaN by ∞: a reference without finite answers is far."""
    return np.where(np.isfinite(distance), distance, np.inf)


def silent(comparison: Comparison, thresholds: Thresholds) -> bool:
    """Return whether the subject answers like the zero predictor, so that no reference can be rejected."""
    return bool((comparison.zero <= thresholds.floor).all())


def failures_of(comparison: Comparison, nearest: int, thresholds: Thresholds) -> list[str]:
    """Return why no reference explains the subject, in sentences (step 3)."""
    found = []
    if silent(comparison, thresholds):
        found.append("the answers do not differ from the zero predictor's")
    remainders = comparison.remainder(nearest, thresholds.floor)
    if remainders.max() > thresholds.remainder:
        worst = comparison.regimes[int(remainders.argmax())]
        found.append(
            f"the nearest reference, {comparison.references[nearest]}, leaves {remainders.max():.1%} of the answers "
            f"unexplained on {worst} (at most {thresholds.remainder:.0%})"
        )
    return found


def doubts_about(rows: list[Row], thresholds: Thresholds) -> list[str]:
    """Return why the evidence is inconclusive, in sentences (step 4)."""
    found = []
    obstacles = [row for row in rows if row.owner in ("decoy", "rival") and not yields(row, rows, thresholds)]
    near_decoys = [row for row in obstacles if row.near and row.owner == "decoy"]
    between = [row for row in obstacles if not row.near and not row.rejected]
    if near_decoys:
        found.append(f"decoys are as near as the nearest reference: {names_of(near_decoys)}")
    if between:
        found.append(f"neither near nor {thresholds.reject:g}× farther: {names_of(between)}")
    if not any(row.rejected for row in rows):
        found.append("no reference is rejected")
    near = [row for row in rows if row.near]
    if near and all(row.owner == "rival" for row in near):
        found.append(f"only rivals outside the five hypotheses are near: {names_of(near)}")
    return found


def yields(row: Row, rows: list[Row], thresholds: Thresholds) -> bool:
    """Return whether a decoy varies a near reference and is nowhere clearly nearer than it (the end of step 4)."""
    varied = [other for other in rows if other.near and other.name in REFERENCES[row.name][1].yields_to]
    close = (bool(np.all(other.distance <= thresholds.nearer * row.distance)) for other in varied)
    return row.owner == "decoy" and any(close)


def state_of(hypothesis: Hypothesis, rows: list[Row], status: str) -> str:
    """Return the state of one hypothesis: "supported", "refuted", "coincides" or "undecided"."""
    names = {reference.name for reference in hypothesis.references}
    own = [row for row in rows if row.name in names]
    near = {row.name for row in rows if row.near}
    close = [row.name for row in own if row.near]
    if own and all(row.rejected for row in own):
        return "refuted"
    if status != SUPPORTED or not close:
        return "undecided"
    return SUPPORTED if any(hypothesis.suffices.get(name) not in near for name in close) else "coincides"


def names_of(rows: Iterable[Row]) -> str:
    """Return the names of some rows as one string."""
    return ", ".join(row.name for row in rows)


def owner_of(reference: str) -> str:
    """Return the key of the hypothesis that a reference speaks for, or "rival" or "decoy"."""
    return REFERENCES[reference][0]


def equivalents(bank: Bank, comparison: Comparison, name: str, thresholds: Thresholds = THRESHOLDS) -> tuple[str, ...]:
    """Return the references that mimic `name` at its fitted parameters.

    Fitted to it they have D ≤ near·floor in every regime. The relation has a direction: a wide kernel mimics the mean
    label, but the mean label mimics no kernel.
    """
    mimicry = compare(bank, comparison.fits[name].predictions)
    close = np.all(mimicry.distance <= thresholds.near * mimicry.floors(thresholds)[:, None], axis=0)
    return tuple(other for other, mimics in zip(mimicry.references, close, strict=True) if mimics and other != name)


def judge_learner(bank: Bank, subject: Predictions, thresholds: Thresholds = THRESHOLDS) -> tuple[Verdict, Comparison]:
    """Compare a subject with the bank's references, judge it and name the equivalents of the nearest reference."""
    comparison = compare(bank, subject)
    verdict = judge(comparison, thresholds)
    equivalent = equivalents(bank, comparison, verdict.nearest, thresholds) if verdict.nearest else ()
    return dataclasses.replace(verdict, equivalent=equivalent), comparison
