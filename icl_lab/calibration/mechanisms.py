"""The mechanism verdict on transformers whose mechanism is known: the hand-built ones, and two kinds of ruins of them.

A verdict is right if it supports exactly the hypotheses that are true of the construction, and none of the same model
with random weights, or with last heads that write −3 times what they did (all patterns there, the answer wrong). Where
two hypotheses are the same circuit, both are true.
"""

import dataclasses

import jax
from jaxtyping import Array

from icl_lab.calibration.truth import KEYS
from icl_lab.hypotheses.mechanism import MechanismVerdict, mechanism_verdict
from icl_lab.learners.constructions import CONSTRUCTIONS, random_control, reversed_control

SUPPORTED, REFUTED, NOT_TESTED = 1, -1, 0  # entries of the confusion matrix
BUILT, RANDOM, REVERSED = "built", "random", "reversed"


@dataclasses.dataclass(frozen=True)
class Known:
    """What is true of a construction.

    Attributes:
        hypotheses: keys, the one it was built for among them.
        why: where there are several, or one has no test, the reason.
        untested: keys of hypotheses that are true of it as well, but of which no test applies.
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
    """BUILT, RANDOM, REVERSED → the verdict on one construction with such weights, on its task.

    Args:
        name: a row of `CONSTRUCTIONS`.
        key: of prompts and random weights.
    """
    row = CONSTRUCTIONS[name]
    learner = row.build(row.task)
    *keys, random_key = jax.random.split(key, 4)
    learners = {BUILT: learner, RANDOM: random_control(learner, random_key), REVERSED: reversed_control(learner)}
    return {
        weights: mechanism_verdict(each, row.task, own)
        for (weights, each), own in zip(learners.items(), keys, strict=True)
    }


@dataclasses.dataclass(frozen=True)
class MechanismRecord:
    """What the mechanism verdict said of one construction, or of a ruin of it.

    Attributes:
        name: the construction's.
        draw: number of the draw of prompts and random weights.
        weights: BUILT, RANDOM or REVERSED.
        known, untested: as of `Known`; empty of ruins.
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
        """Whether exactly what is known is supported; of ruins nothing."""
        return self.supported == self.known

    @property
    def false(self) -> bool:
        """Whether something is supported that is not true of it."""
        return bool({*self.supported} - {*self.known, *self.untested})

    @property
    def states(self) -> dict[str, int]:
        """Hypothesis → SUPPORTED, REFUTED or NOT_TESTED."""
        groups = ((self.supported, SUPPORTED), (self.refuted, REFUTED), (self.not_tested, NOT_TESTED))
        found = {key: state for keys, state in groups for key in keys}
        return {key: found[key] for key in KEYS}


def mechanism_records(name: str, draw: int, key: Array) -> list[MechanismRecord]:
    """Three records: of a construction, of random weights, and of reversed ones."""
    found = []
    for weights, verdict in judge_construction(name, key).items():
        true = KNOWN[name] if weights == BUILT else Known(())
        said = (verdict.supported, verdict.refuted, verdict.not_tested)
        found.append(MechanismRecord(name, draw, weights, true.hypotheses, true.untested, *said))
    return found
