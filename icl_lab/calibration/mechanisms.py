"""Mechanism verdicts on networks whose mechanism is known, by construction or from their parameters, and on controls.

A verdict is right if it supports exactly the hypotheses that are true of the construction, and none for two controls:
the same model with random weights, and with the output of its last heads times −3, which keeps all patterns but gives a
wrong answer. If two hypotheses are the same circuit, both are true. Trained delta-rule networks are judged in the same
way (`calibration.inner_loops`); there the read-out is reversed.
"""

import dataclasses

import jax
from jaxtyping import Array

from icl_lab.calibration.truth import KEYS
from icl_lab.judging.mechanism import MechanismVerdict, mechanism_verdict
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.mechanisms.controls import Trained, random_control, reversed_control
from icl_lab.tasks import Task

SUPPORTED, REFUTED, NOT_TESTED = 1, -1, 0  # entries of the confusion matrix
BUILT, RANDOM, REVERSED = "built", "random", "reversed"


@dataclasses.dataclass(frozen=True)
class Known:
    """The truth about a construction.

    Attributes:
        hypotheses: keys, including the one it was built for.
        why: the reason if there are several, or if one has no test.
        untested: keys of further true hypotheses without a test that applies.
    """

    hypotheses: tuple[str, ...]
    why: str = ""
    untested: tuple[str, ...] = ()


KNOWN: dict[str, Known] = {
    "one_step_gd": Known(("H2", "H5"), "one gradient step from zero is an unnormalised linear-kernel smoother"),
    "two_step_gd": Known(("H5",)),
    "gd_plus_plus": Known(("H5",)),
    "causal_gd": Known(("H5",)),
    "learned_descent": Known(("H3",)),
    "softmax_kernel": Known(("H2",)),
    "nearest_example": Known(("H2", "H4"), "copying is a kernel smoother in the limit of a sharp kernel"),
    "most_recent_match": Known(("H4",)),
    "bigram_counts": Known(
        ("H1", "H2"),
        "counts are the posterior mean of Dirichlet rows, a match kernel with pseudo-counts, and online steps of size "
        "1/(n + kα + 1); steps inside are tested for real outcomes only",
        ("H3",),
    ),
    "pool_posterior": Known(("H1",)),
    "pool_retrieval": Known(("H4",)),
}


def judge_construction(name: str, key: Array) -> dict[str, MechanismVerdict]:
    """Return BUILT, RANDOM, REVERSED → the verdict on one construction with these weights, on its task.

    Args:
        name: a row of `CONSTRUCTIONS`.
        key: of prompts and random weights.
    """
    row = CONSTRUCTIONS[name]
    learner = row.build(row.task)
    return judge_with_ruins(learner, reversed_control(learner), row.task, key)


def judge_with_ruins(learner: Trained, turned: Trained, task: Task, key: Array) -> dict[str, MechanismVerdict]:
    """Return BUILT, RANDOM, REVERSED → the verdicts on a network, on random weights, and on the reversed network."""
    *keys, random_key = jax.random.split(key, 4)
    learners = {BUILT: learner, RANDOM: random_control(learner, random_key), REVERSED: turned}
    return {
        weights: mechanism_verdict(each, task, own) for (weights, each), own in zip(learners.items(), keys, strict=True)
    }


@dataclasses.dataclass(frozen=True)
class MechanismRecord:
    """The mechanism verdict on one network, or on a control of it.

    Attributes:
        name: of the construction, or of the kind of delta-rule network.
        draw: number of the draw of prompts and random weights, or of the trained network.
        weights: BUILT, RANDOM or REVERSED.
        known, untested: see `Known`; empty for controls.
        supported, refuted, not_tested: the verdict.
    """

    name: str
    draw: int
    weights: str
    known: tuple[str, ...]
    untested: tuple[str, ...]
    supported: tuple[str, ...]
    refuted: tuple[str, ...]
    not_tested: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether exactly the known hypotheses are supported; none for controls."""
        return self.supported == self.known

    @property
    def false(self) -> bool:
        """Whether a hypothesis is supported that is not true."""
        return bool({*self.supported} - {*self.known, *self.untested})

    @property
    def states(self) -> dict[str, int]:
        """Hypothesis → SUPPORTED, REFUTED or NOT_TESTED."""
        groups = ((self.supported, SUPPORTED), (self.refuted, REFUTED), (self.not_tested, NOT_TESTED))
        found = {key: state for keys, state in groups for key in keys}
        return {key: found[key] for key in KEYS}


def mechanism_records(name: str, draw: int, key: Array) -> list[MechanismRecord]:
    """Return three records: of a construction, of random weights, and of reversed ones."""
    return records_with_ruins(name, draw, KNOWN[name], judge_construction(name, key))


def records_with_ruins(name: str, draw: int, known: Known, said: dict[str, MechanismVerdict]) -> list[MechanismRecord]:
    """Return the records of `judge_with_ruins`; nothing is true of the controls."""
    found = []
    for weights, verdict in said.items():
        true = known if weights == BUILT else Known(())
        states = (verdict.supported, verdict.refuted, verdict.not_tested)
        found.append(MechanismRecord(name, draw, weights, true.hypotheses, true.untested, *states))
    return found
