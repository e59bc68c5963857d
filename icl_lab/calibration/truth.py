"""What is true of a subject whose function is known, and whether a verdict agrees with it."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from icl_lab.core.prompts import Predictions
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.hypotheses import HYPOTHESES
from icl_lab.judging.bank import Bank
from icl_lab.judging.comparison import Comparison, compare
from icl_lab.judging.judge import Verdict, judge, owner_of

KEYS = tuple(hypothesis.key for hypothesis in HYPOTHESES)


@dataclasses.dataclass(frozen=True)
class Truth:
    """The equivalence class of a known function.

    Attributes:
        references: those that mimic it once fitted to it, undisturbed: at most three floors (.006 nats) away in every
            regime, or at most δ where a subject is known only to within δ of the function. Directional: a wide kernel
            mimics the mean label, not the other way round.
        hypotheses: keys of the hypotheses these and the planted reference itself speak for; empty: it fits none.
    """

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]


def truth_of(
    bank: Bank, answers: Predictions, planted: str | None = None, known_within: np.ndarray | None = None
) -> Truth:
    """The truth about undisturbed answers on the bank's prompts.

    A network that was shown to lie within δ of a function may as well be any reference that lies within δ of that
    function: nothing that is known of it tells the two apart, so to name either is not false.

    Args:
        bank: of the task.
        answers: the known function's.
        planted: name of the reference it is, if it is one.
        known_within: δ in nats, [regime], of a subject that is known as far as that; None: it is the function.
    """
    comparison = compare(bank, answers)
    same = THRESHOLDS.near * THRESHOLDS.floor
    limit = np.full(len(comparison.regimes), same) if known_within is None else np.maximum(known_within, same)
    close = np.all(comparison.distance <= limit[:, None], axis=0)
    names = [name for name, mimics in zip(comparison.references, close, strict=True) if mimics or name == planted]
    owners = {owner_of(name) for name in names}
    return Truth(tuple(names), tuple(key for key in KEYS if key in owners))


def without(comparison: Comparison, names: tuple[str, ...]) -> Comparison:
    """The comparison as if these references did not exist."""
    kept = [index for index, name in enumerate(comparison.references) if name not in names]
    return dataclasses.replace(
        comparison,
        references=tuple(comparison.references[index] for index in kept),
        distance=comparison.distance[:, kept],
        per_prompt=comparison.per_prompt[:, kept],
    )


def named(verdict: Verdict) -> tuple[str, ...]:
    """Hypotheses that a verdict names: supported ones, and those that coincide with them."""
    return tuple(key for key in KEYS if key in (*verdict.supported, *verdict.coincides))


def scored(verdict: Verdict, truth: Truth) -> Mapping[str, bool]:
    """Five answers about one verdict.

    identified: it names a non-empty part of the truth and nothing else; an inconclusive verdict is a miss.
    false: it names a hypothesis that is not in the truth.
    split: it rejects a reference that mimics the subject.
    wronged: it refutes a hypothesis that is true, whatever else it says.
    explained: it supports something.
    """
    found = set(named(verdict))
    return {
        "identified": bool(found) and found <= set(truth.hypotheses),
        "false": bool(found - set(truth.hypotheses)),
        "split": bool({*verdict.rejected} & {*truth.references}),
        "wronged": bool({*verdict.refuted} & {*truth.hypotheses}),
        "explained": verdict.status == "supported",
    }


def judged_without(comparison: Comparison, truth: Truth) -> Verdict:
    """The verdict with everything removed that is true of the subject: whatever it supports then is false."""
    return judge(without(comparison, truth.references))
