"""Measurements inside hand-built networks, near misses of them and controls."""

import copy
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.learners.constructions import CHAIN, CONSTRUCTIONS, POOL, REGRESSION
from icl_lab.mechanisms.controls import random_control
from icl_lab.mechanisms.descent_evidence import step_sizes
from icl_lab.mechanisms.heads import predicted
from icl_lab.mechanisms.measurements import MEASUREMENTS
from icl_lab.models import constructions as built
from icl_lab.models.constructions.pool_posterior import pool_posterior

KEY = jax.random.key(5)


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


def test_answers_predicted_from_averages_treat_classes_alike():
    rng = np.random.default_rng(0)
    average, other = rng.dirichlet(np.ones(3), size=(2, 50)).astype(np.float32) * rng.uniform(0.5, 1, (2, 50, 1))
    start = np.array([0.1, 0.3, 0.6])

    def affine(values: np.ndarray) -> np.ndarray:
        return start + 0.7 * values - 0.2 * values.sum(-1, keepdims=True)

    found, slope = predicted(jnp.asarray(average), jnp.asarray(affine(average)), jnp.asarray(other))
    np.testing.assert_allclose(found, affine(other), atol=1e-4)
    assert float(slope) == pytest.approx(0.7, abs=1e-3)


def test_sizes_of_steps_are_those_of_the_layers_that_take_them():
    rates = jnp.array([[[0.0, 0.0], [0.1, 0.3], [0.4, 0.4]], [[0.2, 0.2], [0.2, 0.2], [-0.1, -0.1]]])
    active = jnp.array([[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]])
    spread, downhill = step_sizes(rates, active)
    expected = [np.std([0.1, 0.3, 0.4, 0.4]) / 0.3, np.std([0.2, 0.2, -0.1]) / 0.1]
    np.testing.assert_allclose(spread, expected, rtol=1e-5)
    np.testing.assert_allclose(downhill, [0.2 / 0.4, -0.1 / 0.2], rtol=1e-5)
