"""The mechanism verdict: which hypotheses describe how a network works, from internal and causal evidence only.

Every hypothesis lists the signatures of the circuits that would make it true, with thresholds fixed in advance. They
are measured on the learner and on its random control, the same model with random weights of the same sizes. A signature
is *distinctive* if the learner has it and the control does not. A circuit is

1. refuted if a signature that applies is absent;
2. otherwise supported if at least one internal and one causal signature are distinctive;
3. otherwise not tested.

A hypothesis is supported if one of its circuits is, refuted if none is supported and one is refuted, and otherwise not
tested. "Refuted" means that these circuits are absent; the same algorithm, spread over a network in another way, has no
test here. Two hypotheses are supported together if their circuits are the same: one gradient step is an average with a
linear kernel. This verdict and the function verdict do not depend on each other.
"""

import dataclasses
import math
from typing import Any

import jax
from jaxtyping import Array

from icl_lab.hypotheses import HYPOTHESES
from icl_lab.hypotheses.base import Signature
from icl_lab.mechanisms.controls import random_control
from icl_lab.mechanisms.measurements import MEASUREMENTS, Network
from icl_lab.tasks import Task

Numbers = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One signature, measured.

    Attributes:
        hypothesis: its key.
        mechanism: name of the circuit.
        signature: its name.
        kind: "internal", "causal" or "condition".
        value: the statistic of the learner.
        threshold: the signature is there if the statistic is larger.
        control: the statistic of the random control; NaN, which is never distinctive, if it could not be measured.
    """

    hypothesis: str
    mechanism: str
    signature: str
    kind: str
    value: float
    threshold: float
    control: float

    @property
    def passed(self) -> bool:
        """Whether the learner has the signature."""
        return self.value > self.threshold

    @property
    def tells(self) -> bool:
        """Whether the signature is distinctive: the learner has it and the control does not."""
        return self.passed and self.control <= self.threshold


@dataclasses.dataclass(frozen=True)
class MechanismVerdict:
    """What the evidence says about how a learner works.

    Attributes:
        supported, refuted, not_tested: keys of hypotheses; each key is in exactly one of them.
        mechanisms: "KEY: circuit" → "supported", "refuted" or "not tested".
        evidence: all signatures that apply.
    """

    supported: tuple[str, ...]
    refuted: tuple[str, ...]
    not_tested: tuple[str, ...]
    mechanisms: dict[str, str]
    evidence: tuple[Evidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        rows = [dataclasses.asdict(row) | {"passed": row.passed, "tells": row.tells} for row in self.evidence]
        return dataclasses.asdict(self) | {"evidence": rows}


def measure_all(learner: Network, task: Task, key: Array, found: Numbers | None = None) -> Numbers:
    """Run every measurement that applies and return measurement → statistics.

    Args:
        learner: the network.
        task: what it was trained on.
        key: of the prompts.
        found: statistics of the learner whose control this is, so that both are measured at the same number of steps.
    """
    rows = {
        name: row for name, row in MEASUREMENTS.items() if isinstance(learner, row.of) and row.applies(learner, task)
    }
    return {name: row(learner, task, key, found[name] if found else None) for name, row in rows.items()}


def mechanism_verdict(learner: Any, task: Task, key: Array) -> MechanismVerdict:
    """Measure a learner and its random control, and apply the rule in the module's docstring.

    Args:
        learner: a `TransformerLearner` or a `RecurrentLearner`; for any other learner nothing is tested.
        task: what it was trained on, or made for; prompts are sampled from it.
        key: of the prompts, and of the random control.
    """
    if not isinstance(learner, Network):
        return conclude({}, {})
    control_key, prompt_key = jax.random.split(key)
    control = random_control(learner, control_key)
    found = measure_all(learner, task, prompt_key)
    return conclude(found, measure_all(control, task, prompt_key, found))


def conclude(learner: Numbers, control: Numbers) -> MechanismVerdict:
    """Return the verdict for measured statistics of a learner and of its control."""
    evidence, mechanisms, by_state = [], {}, {"supported": [], "refuted": [], "not tested": []}
    for hypothesis in HYPOTHESES:
        circuits: dict[str, list[Evidence]] = {signature.mechanism: [] for signature in hypothesis.mechanisms}
        for signature in hypothesis.mechanisms:
            circuits[signature.mechanism] += _evidence(hypothesis.key, signature, learner, control)
        states = {name: state_of(rows) for name, rows in circuits.items()}
        mechanisms |= {f"{hypothesis.key}: {name}": state for name, state in states.items()}
        evidence += [row for rows in circuits.values() for row in rows]
        found = [state for state in by_state if state in states.values()]
        by_state[found[0] if found else "not tested"].append(hypothesis.key)
    verdict = {state.replace(" ", "_"): tuple(keys) for state, keys in by_state.items()}
    return MechanismVerdict(**verdict, mechanisms=mechanisms, evidence=tuple(evidence))


def state_of(rows: list[Evidence]) -> str:
    """Return what the signatures of one circuit say: "supported", "refuted" or "not tested"."""
    if not all(row.passed for row in rows):
        return "refuted"
    distinctive = {row.kind for row in rows if row.tells}
    return "supported" if {"internal", "causal"} <= distinctive else "not tested"


def _evidence(key: str, signature: Signature, learner: Numbers, control: Numbers) -> list[Evidence]:
    """Return one row, or none if the statistic makes no sense for the learner."""
    value = learner.get(signature.measurement, {}).get(signature.statistic, math.nan)
    if math.isnan(value):
        return []
    other = control.get(signature.measurement, {}).get(signature.statistic, math.nan)
    return [Evidence(key, signature.mechanism, signature.name, signature.kind, value, signature.above, other)]
