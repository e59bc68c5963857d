"""Every construction supports the hypotheses that are true of it and no other, random weights none."""

import jax
import numpy as np
import pytest

from icl_lab.calibration.mechanisms import KEYS, KNOWN, confusion_matrix, judge_construction
from icl_lab.hypotheses.mechanism import MechanismVerdict
from icl_lab.learners.constructions import CONSTRUCTIONS


def test_what_is_known_covers_the_constructions():
    assert KNOWN.keys() == CONSTRUCTIONS.keys()
    for name, known in KNOWN.items():
        assert CONSTRUCTIONS[name].hypothesis in known.hypotheses
        assert known.why or len(known.hypotheses) == 1


def test_the_matrix_of_states():
    verdict = MechanismVerdict(("H2", "H5"), ("H3",), ("H1", "H4"), {}, ())
    np.testing.assert_array_equal(confusion_matrix((verdict,)), [[0, 1, -1, 0, 1]])


def check(name: str, seed: int) -> None:
    found = judge_construction(name, jax.random.key(seed))
    assert found.verdict.supported == KNOWN[name].hypotheses, found.verdict.evidence
    assert found.control.supported == (), found.control.evidence
    assert found.right
    known = {*KNOWN[name].hypotheses, *KNOWN[name].untested}
    for key, state in zip(KEYS, confusion_matrix((found.verdict,))[0], strict=True):
        assert state <= 0 or key in known
        assert state >= 0 or key not in known


@pytest.mark.parametrize("name", ["two_step_gd", "gd_plus_plus"])  # one program
def test_gradient_steps_are_recognised_and_random_weights_are_not(name):
    check(name, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_every_construction_is_recognised(name, seed):
    check(name, 2 + seed)
