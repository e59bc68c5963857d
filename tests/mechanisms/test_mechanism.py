"""The mechanism verdict: its rule on made-up numbers, predictions against loops, measurements on near misses."""

import copy
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import Real
from icl_lab.hypotheses import HYPOTHESES
from icl_lab.judging.mechanism import conclude, mechanism_verdict
from icl_lab.learners.constructions import CHAIN, CONSTRUCTIONS, POOL, REGRESSION
from icl_lab.learners.gradient import unrolled_descent
from icl_lab.mechanisms.controls import random_control
from icl_lab.mechanisms.effects import explained
from icl_lab.mechanisms.implicit_descent import State, Steps, iterates, stepped
from icl_lab.mechanisms.measurements import MEASUREMENTS
from icl_lab.models import constructions as built
from icl_lab.models.constructions.pool_posterior import pool_posterior

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


def test_the_share_foreseen():
    before, after = jnp.zeros(4), jnp.array([1.0, -1, 2, 0])
    assert float(explained(after, after, before)) == 1
    assert float(explained(after, before, before)) == 0
    # Sizes 1, 1, 4, 0 with a median of 1: weights 1/2, 1/2, 1/5, 1, a change of 1.8 and errors of 0.25 · 2.2.
    assert float(explained(after, after + 0.5, before)) == pytest.approx(1 - 0.55 / 1.8)
    exploding = jnp.array([1.0, -1, 2, 1e6])  # one prompt foreseen, which is all of the sum of squares, is one of four
    assert float(explained(exploding, jnp.array([0.0, 0, 0, 1e6]), before)) < 0.6
    assert float(explained(before, after, before)) == 0  # nothing changed, so nothing was foreseen
    assert float(explained(after * np.nan, after, before)) <= 0


def by_loops(x: np.ndarray, y: np.ndarray, steps: Steps, causal: bool) -> np.ndarray:
    """Answers to the query after every layer, example by example."""
    count, theta = len(y) - 1, np.asarray(steps.initial, float)
    examples, query = [row.copy() for row in x[:count]], x[count].copy()
    residual, answer = [y[j] - theta @ x[j] for j in range(count)], theta @ query
    found = [answer]
    for rate, curvature in zip(np.asarray(steps.rates, float), np.asarray(steps.curvature, float), strict=True):
        old, left = [row.copy() for row in examples], list(residual)
        for j in range(count):
            seen = range(j + 1) if causal else range(count)
            residual[j] -= sum((old[j] * rate) @ old[i] * left[i] for i in seen) / len(seen)
            examples[j] = old[j] - curvature * sum(old[j] @ old[i] * old[i] for i in seen) / len(seen)
        answer = answer + sum((query * rate) @ old[i] * left[i] for i in range(count)) / count
        query = query - curvature * sum(query @ old[i] * old[i] for i in range(count)) / count
        found.append(answer)
    return np.array(found)


@pytest.mark.parametrize("causal", [False, True])
def test_iterates_are_those_of_a_loop_and_of_the_references(causal):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6))
    learned = Steps(jnp.array([0.5, -1, 0.2]), jnp.array([[0.3, 0.2, 0.5], [0.1, 0.4, 0.2]]), jnp.array([0.2, 0.1]))
    found = jax.jit(iterates, static_argnums=3)(learned, jnp.asarray(x), jnp.asarray(y), causal)
    for row in range(2):
        np.testing.assert_allclose(found.answer[:, row], by_loops(x[row], y[row], learned, causal), atol=1e-5)
    plain = Steps(jnp.zeros(3), 0.3 * jnp.ones((2, 3)), jnp.array([0.2, 0.2]))
    ours = iterates(plain, jnp.asarray(x), jnp.asarray(y), causal).answer[-1]
    theirs = unrolled_descent(
        Real(), jnp.asarray(x), jnp.asarray(y)[..., None], jnp.zeros((3, 1)), plain.rates, 0.2, causal
    )
    np.testing.assert_allclose(ours, theirs[:, -1, 0], atol=1e-5)


def test_a_step_of_size_zero_changes_nothing():
    state = State(jnp.ones((1, 4, 2)), jnp.arange(4.0)[None], jnp.ones((1, 2)), jnp.ones(1))
    after = stepped(state, jnp.zeros(2), jnp.zeros(()), False)
    for old, new in zip(state, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_iterates_of_a_learned_start_are_found_and_near_misses_are_not():
    """Steps 0.6 … 0.2 from θ_0 = 1; then the same network whose second layer's values hold a bit of x as well."""
    row = CONSTRUCTIONS["learned_descent"]
    learner, measure = row.build(row.task), MEASUREMENTS["descent"]
    found = measure(learner, row.task, KEY)
    assert found["steps"] == 2
    assert found["unexplained"] < 1e-6
    assert min(found["iterates"], found["remaining steps"]) > 0.999
    assert found["departure"] > 0.3
    assert found["unexplained from zero"] > 0.01  # no start at zero explains it
    assert not found["iterates from zero"] > 0.99
    assert not found["pattern from zero"] > 0.99
    assert math.isnan(found["pattern"])
    params = copy.deepcopy(learner.params)
    kernel = params["layers"]["1"]["attention"]["value"]["kernel"]
    params["layers"]["1"]["attention"]["value"]["kernel"] = kernel.at[0, 3].set(0.5)
    other = measure(dataclasses.replace(learner, params=params), row.task, KEY)
    assert not other["remaining steps"] > 0.99
    assert not other["pattern"] > 0.99
    control = measure(random_control(learner, KEY), row.task, KEY, found)
    assert control["steps"] == 2  # looked at as the learner was, and not found
    assert max(control["iterates"], control["remaining steps"]) < 0.5


def test_a_pool_posterior_its_mode_and_a_tempered_one_are_told_apart():
    measure = MEASUREMENTS["pool"]
    learner = CONSTRUCTIONS["pool_posterior"].build(POOL)
    pool = jax.vmap(POOL.pool_latent)(jnp.arange(8))

    def found(exponent: float) -> list[bool]:
        _, params = pool_posterior(pool, POOL.examples, float(POOL.noise), exponent)
        numbers = measure(dataclasses.replace(learner, params=params), POOL, KEY)
        names = ("posterior", "posterior moves", "retrieved", "retrieved moves")
        return [numbers[name] > 0.95 for name in names]

    assert found(1.0) == [True, True, False, False]
    assert found(1e4) == [False, False, True, True]
    assert not all(found(0.3)[:2])
    assert not any(found(0.3)[2:])


def test_counts_of_another_concentration_are_not_the_posterior():
    measure = MEASUREMENTS["counts"]
    learner = CONSTRUCTIONS["bigram_counts"].build(CHAIN)
    exact = measure(learner, CHAIN, KEY)
    assert min(exact.values()) > 0.99
    _, params = built.bigram_counts(CHAIN.inputs_size, CHAIN.positions, 20.0)
    smoothed = measure(dataclasses.replace(learner, params=params), CHAIN, KEY)
    assert smoothed["predictive moves"] < 0.95


def test_a_head_that_copies_and_one_that_averages():
    measure = MEASUREMENTS["heads"]
    learner = CONSTRUCTIONS["softmax_kernel"].build(REGRESSION)
    average = measure(learner, REGRESSION, KEY)
    assert min(average["kernel"], average["averaged"]) > 0.999
    assert max(average["copied mass"], average["copied label"]) < 0.9
    _, params = built.nearest_example(REGRESSION.inputs_size, REGRESSION.examples)
    sharp = dataclasses.replace(learner, params=params)
    largest = measure(sharp, REGRESSION, KEY)  # off the sphere it copies the example of largest product, often another
    assert largest["copied mass"] < 0.9
    # The signs of all scores reversed: attention to what is unlike.
    reversed_ = copy.deepcopy(learner.params)
    attention = reversed_["layers"]["0"]["attention"]
    attention["query"]["kernel"] = -attention["query"]["kernel"]
    assert measure(dataclasses.replace(learner, params=reversed_), REGRESSION, KEY)["kernel"] == 0


def test_a_linear_head_with_both_signs_turned_is_the_same_head():
    """(−k)·q and −v compute what k·q and v do; with the keys alone turned, answers fall where labels rise."""
    measure, learner = MEASUREMENTS["heads"], CONSTRUCTIONS["one_step_gd"].build(CONSTRUCTIONS["one_step_gd"].task)

    def turned(*names: str) -> float:
        params = copy.deepcopy(learner.params)
        for name in names:
            params["layers"]["0"]["attention"][name]["kernel"] *= -1
        return measure(dataclasses.replace(learner, params=params), CONSTRUCTIONS["one_step_gd"].task, KEY)["kernel"]

    assert turned("key", "value") == pytest.approx(turned(), abs=1e-6)
    assert turned() > 0.999
    assert turned("key") == 0
