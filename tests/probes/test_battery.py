"""What every probe of the battery keeps to, on one task per family; learners that are one function measure alike."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from probes.subjects import KEY, PROMPTS, TASKS, asked, measured, reference

from icl_lab.learners.answers import answers_of
from icl_lab.learners.kernels import linear_kernel_ridge
from icl_lab.learners.reference import Reference, ReferenceLearner
from icl_lab.probes.behaviour.battery import BATTERY, read
from icl_lab.tasks import LinearRegression, Pool, RepeatedSequence

ALPHA = 0.7
# Of every family a learner, and another one that computes the same in another way.
LEARNERS = {
    "regression": (
        reference(TASKS["regression"], "ridge", penalty=0.4),
        ReferenceLearner(TASKS["regression"], {"penalty": 0.4}, Reference("dual", "dual ridge", linear_kernel_ridge)),
    ),
    "chain": (
        reference(TASKS["chain"], "context_counts", concentration=ALPHA),
        reference(TASKS["chain"], "nadaraya_watson", bandwidth=0.05, pseudo_count=3 * ALPHA),
    ),
    "rules": (reference(TASKS["rules"], "nadaraya_watson", bandwidth=1.0, pseudo_count=1.0), None),
}
APPLIES = {
    "regression": {
        *("influence", "interaction", "label_linearity", "label_noise", "duplication", "spectral_filter"),
        *("orthogonal_query", "input_shifts", "implied_weights", "task_interpolation", "label_copying"),
        *("pool_snapping", "order_variance"),
    },
    "chain": {
        *("influence", "label_noise", "task_interpolation", "label_copying", "pool_snapping", "order_variance"),
        *("joint_probability", "implied_prior"),
    },
    "rules": {
        *("influence", "interaction", "label_noise", "duplication", "label_copying", "order_variance"),
        *("joint_probability", "martingale", "implied_prior"),
    },
}
ROWS = [(family, name) for family, names in APPLIES.items() for name in sorted(names)]


@pytest.mark.parametrize("family", TASKS)
def test_a_probe_knows_which_tasks_it_is_for(family):
    assert {name for name, probe in BATTERY.items() if probe.applies(TASKS[family])} == APPLIES[family]


def test_nothing_is_between_the_tasks_of_a_pool_of_one():
    probe = BATTERY["task_interpolation"]
    pools = [TASKS["regression"].replace(prior=Pool(size)) for size in (1, 2)]
    assert [probe.applies(task) for task in pools] == [False, True]
    jax.eval_shape(lambda task: jnp.asarray(probe.applies(task)), pools[0])  # of a size that is traced nothing is known


@pytest.mark.parametrize(("family", "name"), ROWS)
def test_rows_of_finite_numbers(family, name):
    probe, task = BATTERY[name], TASKS[family]
    learner, twin = LEARNERS[family]
    found = np.asarray(probe(learner, task, KEY, PROMPTS))
    assert found.shape == (PROMPTS, len(probe.statistics))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, np.asarray(probe(learner, task, KEY, PROMPTS)))
    programs = answers_of._cache_size()
    other = jax.tree.map(lambda leaf: 0.9 * leaf, learner.parameters)
    read(probe, dataclasses.replace(learner, parameters=other), task, asked(name, family))
    assert answers_of._cache_size() == programs, "other parameters are another program"
    if twin is not None:
        np.testing.assert_allclose(found, np.asarray(probe(twin, task, KEY, PROMPTS)), atol=1e-4)


def test_another_key_is_other_prompts():
    learner = LEARNERS["regression"][0]
    other = BATTERY["label_copying"](learner, TASKS["regression"], jax.random.key(4), PROMPTS)
    assert not np.allclose(other[:, 0], measured("label_copying", "regression", learner)["distance"])


def test_every_probe_is_named_as_in_the_table_and_has_a_family():
    assert [probe.name for probe in BATTERY.values()] == list(BATTERY)
    assert set().union(*APPLIES.values()) == set(BATTERY)
    for probe in BATTERY.values():
        assert "\n" not in probe.question
        assert len(set(probe.statistics)) == len(probe.statistics)


def test_a_probe_refuses_other_tasks_in_one_line():
    task = LinearRegression(dimension=3, examples=6)
    with pytest.raises(ValueError, match=r"^task: the probe martingale"):
        BATTERY["martingale"](LEARNERS["regression"][0], task, KEY)
    names = {name for name, probe in BATTERY.items() if probe.applies(task)}
    assert names == APPLIES["regression"] - {"task_interpolation", "pool_snapping"}
    narrow = LinearRegression(dimension=1, examples=2)
    assert {name for name, probe in BATTERY.items() if probe.applies(narrow)} == {
        *("influence", "label_linearity", "label_noise", "input_shifts", "label_copying", "order_variance")
    }
    sequence = RepeatedSequence(symbols=4, shortest=2, longest=3, examples=6)
    assert {name for name, probe in BATTERY.items() if probe.applies(sequence)} == {
        *("influence", "label_noise", "label_copying")
    }
