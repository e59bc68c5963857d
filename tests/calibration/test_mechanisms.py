"""Every construction supports the hypotheses that are true of it and no other, random weights none."""

import jax
import numpy as np
import pytest

from icl_lab.calibration.claims import mechanism_claims
from icl_lab.calibration.mechanisms import (
    BUILT,
    KEYS,
    KNOWN,
    RANDOM,
    REVERSED,
    MechanismRecord,
    judge_construction,
)
from icl_lab.commands.calibration_records import append, mechanism_dataset, read_records
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.report.figures.calibration_mechanisms import draw
from icl_lab.report.figures.layout import styled


def test_what_is_known_covers_the_constructions():
    assert KNOWN.keys() == CONSTRUCTIONS.keys()
    for name, known in KNOWN.items():
        assert CONSTRUCTIONS[name].hypothesis in known.hypotheses
        assert known.why or len(known.hypotheses) == 1


def check(name: str, seed: int) -> None:
    found, known = judge_construction(name, jax.random.key(seed)), KNOWN[name]
    assert found[BUILT].supported == known.hypotheses, found[BUILT].evidence
    assert {*known.hypotheses, *known.untested}.isdisjoint(found[BUILT].refuted)
    for ruin in (RANDOM, REVERSED):
        assert found[ruin].supported == (), found[ruin].evidence


@pytest.mark.parametrize("name", ["two_step_gd", "gd_plus_plus"])  # one program
def test_gradient_steps_are_recognised_and_random_weights_are_not(name):
    check(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_every_construction_is_recognised(name, seed):
    check(name, 2 + seed)


def record(weights: str, **changes: object) -> MechanismRecord:
    known = ("H2", "H5") if weights == BUILT else ()
    fields = {"known": known, "untested": (), "supported": known, "refuted": ("H1", "H3"), "not_tested": ("H4",)}
    rest = tuple(key for key in KEYS if key not in (*known, "H1", "H3", "H4"))
    return MechanismRecord("one_step_gd", 0, weights, **(fields | {"refuted": ("H1", "H3", *rest)} | changes))


def test_a_record_is_right_if_it_names_what_is_there_and_false_if_it_names_more():
    built, part = record(BUILT), record(BUILT, supported=("H5",), not_tested=("H2", "H4"))
    assert (built.right, built.false) == (True, False)
    assert (part.right, part.false) == (False, False)
    assert record(BUILT, supported=("H1", "H2", "H5")).false
    assert not record(BUILT, supported=("H1", "H2", "H5"), untested=("H1",)).false  # true of it, though not tested for
    assert record(RANDOM, supported=("H1",)).false
    assert list(part.states.values()) == [-1, 0, -1, 0, 1]


def test_claims_and_arrays_of_mechanisms(tmp_path):
    records = [record(BUILT), record(BUILT, supported=("H5",), not_tested=("H2", "H4"))]
    records += [record(RANDOM), record(REVERSED)]
    claims = {claim.id: claim for claim in mechanism_claims(records)}
    assert (claims["mechanisms.identified"].holds, claims["mechanisms.random"].holds) == (False, True)
    assert "one_step_gd" in claims["mechanisms.identified"].statement
    assert str(claims["mechanisms.random"].measured).startswith("0.000 [0.000, 0.793]")  # of one: 1/(1 + 1/z²)
    append(tmp_path / "m.jsonl", records)
    assert read_records(tmp_path / "m.jsonl", MechanismRecord) == records
    found = mechanism_dataset(records)
    np.testing.assert_array_equal(found["state"].values[0], [-1, 1, -1, 0, 1])
    with styled():
        drawn = draw({str(name): np.asarray(values) for name, values in found.variables.items()})
    assert "exactly that in 1 of 2 looks" in drawn.takeaway
    texts = [text.get_text() for axes in drawn.figure.axes for text in axes.texts]
    assert texts.count("100") == 1  # H5 in both draws
    assert texts.count("50") == 1  # H2 in one
    boxes = [patch for axes in drawn.figure.axes for patch in axes.patches if not patch.get_fill()]
    assert len(boxes) == 2  # of what is there; nothing is in random weights
