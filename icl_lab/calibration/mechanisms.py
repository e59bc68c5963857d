"""The mechanism verdict on transformers whose mechanism is known: the hand-built ones, and random weights.

A verdict is right if it supports exactly the hypotheses that are true of the construction, of the same weights drawn at
random none. Where two hypotheses are the same circuit, both are true.
"""

import dataclasses

import jax
from jaxtyping import Array

from icl_lab.calibration.truth import KEYS
from icl_lab.hypotheses.mechanism import MechanismVerdict, mechanism_verdict
from icl_lab.learners.constructions import CONSTRUCTIONS, random_control

SUPPORTED, REFUTED, NOT_TESTED = 1, -1, 0  # entries of the confusion matrix


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


@dataclasses.dataclass(frozen=True)
class Judged:
    """One construction, judged.

    Attributes:
        name: of the construction.
        verdict: on it.
        control: on the same model with random weights, which has a random control of its own.
    """

    name: str
    verdict: MechanismVerdict
    control: MechanismVerdict

    @property
    def right(self) -> bool:
        """Whether exactly what is known is supported, and nothing of the random weights."""
        return self.verdict.supported == KNOWN[self.name].hypotheses and self.control.supported == ()


def judge_construction(name: str, key: Array) -> Judged:
    """Judge one construction on its task, and the same model with random weights.

    Args:
        name: a row of `CONSTRUCTIONS`.
        key: of prompts and random weights.
    """
    row = CONSTRUCTIONS[name]
    learner = row.build(row.task)
    built_key, control_key, random_key = jax.random.split(key, 3)
    return Judged(
        name,
        mechanism_verdict(learner, row.task, built_key),
        mechanism_verdict(random_control(learner, random_key), row.task, control_key),
    )


@dataclasses.dataclass(frozen=True)
class MechanismRecord:
    """What the mechanism verdict said of one construction, or of its random control.

    Attributes:
        name: the construction's.
        draw: number of the draw of prompts and random weights.
        random: whether the weights are random.
        known, untested: as of `Known`; empty of random weights.
        supported, refuted, not_tested: the verdict.
    """

    name: str
    draw: int
    random: bool
    known: tuple[str, ...]
    untested: tuple[str, ...]
    supported: tuple[str, ...]
    refuted: tuple[str, ...]
    not_tested: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether exactly what is known is supported; of random weights nothing."""
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
    """Two records: of a construction, and of the same model with random weights."""
    judged, known = judge_construction(name, key), KNOWN[name]
    pairs = ((judged.verdict, False, known), (judged.control, True, Known(())))
    return [
        MechanismRecord(
            name, draw, random, true.hypotheses, true.untested, verdict.supported, verdict.refuted, verdict.not_tested
        )
        for verdict, random, true in pairs
    ]
