"""The battery with the learner compiled once reads the same numbers as compiled probes."""

import jax
import numpy as np
import pytest
from probes.subjects import KEY, PROMPTS, TASKS, asked, measured, reference, regression

from icl_lab.probes.behaviour.compiled_once import ask_all, read_all

CASES = {
    "regression": (regression("ridge", penalty=0.4), "interaction"),  # it asks twice as many prompts at once
    "chain": (reference(TASKS["chain"], "context_counts", concentration=0.7), "joint_probability"),
}


@pytest.mark.parametrize("family", CASES)
def test_the_numbers_are_those_of_compiled_probes(family):
    learner, probe = CASES[family]
    given = ask_all(TASKS[family], {probe: KEY}, PROMPTS)
    for eager, compiled in zip(jax.tree.leaves(given[probe]), jax.tree.leaves(asked(probe, family)), strict=True):
        np.testing.assert_allclose(np.asarray(eager, float), np.asarray(compiled, float), atol=1e-5)
    found = read_all(learner, TASKS[family], given, PROMPTS)[probe]
    expected = np.stack(list(measured(probe, family, learner).values()), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_probes_that_make_no_sense_are_left_out():
    assert ask_all(TASKS["rules"], {"spectral_filter": KEY}, PROMPTS) == {}
