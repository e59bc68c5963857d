"""The rule of the mechanism verdict, on made-up numbers."""

import math

import jax
import pytest

from icl_lab.hypotheses import HYPOTHESES
from icl_lab.judging.mechanism import conclude, mechanism_verdict
from icl_lab.learners.constructions import CONSTRUCTIONS, REGRESSION
from icl_lab.mechanisms.measurements import MEASUREMENTS

KEYS = tuple(hypothesis.key for hypothesis in HYPOTHESES)
KEY = jax.random.key(5)
THERE = {"heads": {"kernel": 0.999, "averaged": 0.999, "copied mass": 0.1, "copied label": 0.1}}
ABSENT = {"heads": {"kernel": 0.1, "averaged": 0.1, "copied mass": 0.1, "copied label": 0.1}}


def changed(**values: float) -> dict:
    return {"heads": THERE["heads"] | {name.replace("_", " "): value for name, value in values.items()}}


def test_a_circuit_needs_internal_and_causal_evidence_that_its_control_lacks():
    found = conclude(THERE, ABSENT)
    assert (found.supported, found.refuted, found.not_tested) == (("H2",), ("H4",), ("H1", "H3", "H5"))
    assert found.mechanisms["H2: kernel head"] == "supported"
    assert found.mechanisms["H4: from the weights"] == "not tested"
    for missing in (changed(kernel=0.9), changed(averaged=0.9)):
        assert "H2" in conclude(missing, ABSENT).refuted
    # The control has it as well, or could not be looked at: of no weight.
    assert "H2" in conclude(THERE, changed(averaged=0.1)).not_tested
    assert "H2" in conclude(THERE, changed(kernel=0.1)).not_tested
    assert "H2" in conclude(THERE, changed(kernel=math.nan, averaged=math.nan)).not_tested
    # One kind of evidence alone is not enough.
    assert "H2" in conclude(changed(kernel=math.nan), ABSENT).not_tested
    assert "H2" in conclude(changed(averaged=math.nan), ABSENT).not_tested


def test_a_condition_is_needed_but_no_evidence():
    steps = {"departure": 0.5, "downhill": 0.8, "iterates": 1.0, "remaining steps": 1.0}
    nothing = dict.fromkeys(steps, 0.0)

    def judged(**values: float):
        return conclude({"descent": steps | values}, {"descent": nothing})

    assert judged().supported == ("H3",)
    assert judged(departure=0.01).refuted == ("H3",)
    assert judged(downhill=-0.1).refuted == ("H3",)
    assert "H3" in judged(iterates=math.nan).not_tested


def test_what_is_no_transformer_is_not_tested():
    found = mechanism_verdict(CONSTRUCTIONS["one_step_gd"].algorithm(REGRESSION), REGRESSION, KEY)
    assert found.not_tested == KEYS
    assert found.to_dict()["evidence"] == []


def test_evidence_becomes_plain_data():
    rows = conclude(THERE, ABSENT).to_dict()["evidence"]
    assert [(row["hypothesis"], row["signature"], row["passed"], row["tells"]) for row in rows] == [
        ("H2", "kernel", True, True),
        ("H2", "average", True, True),
        ("H4", "one place", False, False),
        ("H4", "other place", False, False),
    ]


@pytest.mark.parametrize("hypothesis", HYPOTHESES, ids=KEYS)
def test_every_circuit_is_stated_in_full(hypothesis):
    names = [signature.name for signature in hypothesis.mechanisms]
    assert len(set(names)) == len(names)
    for mechanism in {signature.mechanism for signature in hypothesis.mechanisms}:
        kinds = {signature.kind for signature in hypothesis.mechanisms if signature.mechanism == mechanism}
        assert {"internal", "causal"} <= kinds
    assert all(signature.measurement in MEASUREMENTS for signature in hypothesis.mechanisms)
