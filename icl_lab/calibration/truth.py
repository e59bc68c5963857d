"""The truth about a subject whose function is known, and the agreement of a verdict with it."""

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
        references: those that mimic it when fitted to it without noise: at most three floors (.006 nats) away in every
            regime, or at most δ if the subject is known only to within δ. Directional: a wide kernel mimics the mean
            label, but not vice versa.
        hypotheses: keys of the hypotheses of these and of the planted reference; empty if there are none.
    """

    references: tuple[str, ...]
    hypotheses: tuple[str, ...]


def truth_of(
    bank: Bank, answers: Predictions, planted: str | None = None, known_within: np.ndarray | None = None
) -> Truth:
    """Return the truth about answers without noise on the bank's prompts.

    A network known to within δ of a function may equally be any reference within δ of that function, so naming either
    is not false.

    Args:
        bank: of the task.
        answers: of the known function.
        planted: name of the reference it is, if any.
        known_within: δ in nats, [regime]; None if the function is known exactly.
    """
    comparison = compare(bank, answers)
    same = THRESHOLDS.near * THRESHOLDS.floor
    limit = np.full(len(comparison.regimes), same) if known_within is None else np.maximum(known_within, same)
    close = np.all(comparison.distance <= limit[:, None], axis=0)
    names = [name for name, mimics in zip(comparison.references, close, strict=True) if mimics or name == planted]
    owners = {owner_of(name) for name in names}
    return Truth(tuple(names), tuple(key for key in KEYS if key in owners))


def without(comparison: Comparison, names: tuple[str, ...]) -> Comparison:
    """Return the comparison without these references."""
    kept = [index for index, name in enumerate(comparison.references) if name not in names]
    return dataclasses.replace(
        comparison,
        references=tuple(comparison.references[index] for index in kept),
        distance=comparison.distance[:, kept],
        per_prompt=comparison.per_prompt[:, kept],
    )


def named(verdict: Verdict) -> tuple[str, ...]:
    """Return the hypotheses that a verdict names: supported ones, and those that coincide with them."""
    return tuple(key for key in KEYS if key in (*verdict.supported, *verdict.coincides))


def scored(verdict: Verdict, truth: Truth) -> Mapping[str, bool]:
    """Score one verdict by five questions.

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
    """Judge without all references that are true of the subject: any support is then false."""
    return judge(without(comparison, truth.references))
