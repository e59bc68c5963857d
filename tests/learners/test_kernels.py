"""Smoothers and kernel ridge against loops, with their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners.given import loop, prompts

from icl_lab.learners import decoys, kernels, linear, neighbours
from icl_lab.tasks import LinearRegression

TASK = LinearRegression()
GIVEN = prompts()


def answers(learner, *parameters):
    return np.asarray(jax.jit(lambda given: learner(TASK, given, *parameters).mean)(GIVEN))


def average(weights, y):
    return weights @ y / weights.sum()


@pytest.mark.parametrize("bandwidth", [0.5, 2.0])
def test_nadaraya_watson_is_a_weighted_mean(bandwidth):
    def smooth(x, y, query):
        return average(np.exp(-((x - query) ** 2).sum(-1) / (2 * bandwidth**2)), y)

    np.testing.assert_allclose(answers(kernels.nadaraya_watson, bandwidth), loop(GIVEN, smooth), atol=1e-5)


def test_the_softmax_kernel_is_attention_with_set_weights():
    def attend(x, y, query):
        return average(np.exp(0.7 * x @ query), y)

    np.testing.assert_allclose(answers(kernels.softmax_kernel, 0.7), loop(GIVEN, attend), atol=1e-5)


def test_the_linear_kernel_is_a_mean_of_products():
    found = answers(kernels.linear_kernel, 0.7)
    np.testing.assert_allclose(found, loop(GIVEN, lambda x, y, q: 0.7 * np.mean((x @ q) * y)), atol=1e-5)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_kernel_ridge_solves_its_system(penalty):
    def solve(x, y, query):
        kernel = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 2)
        return np.exp(-((x - query) ** 2).sum(-1) / 2) @ np.linalg.solve(kernel + penalty * np.eye(len(y)), y)

    np.testing.assert_allclose(answers(kernels.kernel_ridge, 1.0, penalty), loop(GIVEN, solve), atol=1e-4)


@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_linear_kernel_ridge_is_ridge(penalty):
    dual = answers(kernels.linear_kernel_ridge, penalty)
    np.testing.assert_allclose(dual, answers(linear.ridge, penalty), atol=1e-3)


def test_limits_of_the_bandwidth():
    """h → 0 copies the nearest example, h → ∞ is the mean label; inputs of one norm make RBF and softmax the same."""
    nearest = answers(lambda task, given: neighbours.nearest_neighbours(task, given, 1))
    np.testing.assert_allclose(answers(kernels.nadaraya_watson, 1e-3), nearest, atol=1e-5)
    np.testing.assert_allclose(answers(kernels.nadaraya_watson, 1e4), answers(decoys.label_mean), atol=1e-5)
    np.testing.assert_allclose(answers(kernels.softmax_kernel, 1e-7), answers(decoys.label_mean), atol=1e-5)
    sphere = GIVEN.replace(x=GIVEN.x / jnp.linalg.norm(GIVEN.x, axis=-1, keepdims=True))
    first = kernels.nadaraya_watson(TASK, sphere, 0.5).mean
    np.testing.assert_allclose(first, kernels.softmax_kernel(TASK, sphere, 4.0).mean, atol=1e-5)


def test_distances_of_equal_and_of_far_points():
    x = jnp.array([[[1e3, 1.0], [1e3, 1.0], [-1e3, 0.0]]])
    found = kernels.squared_distances(x)
    assert (np.asarray(found) >= 0).all()
    np.testing.assert_allclose(found[0, 0, 1], 0, atol=0.5)
    np.testing.assert_allclose(found[0, 0, 2], 4e6 + 1, rtol=1e-5)


@pytest.mark.parametrize("neighbours_taken", [1, 3, 20])
def test_nearest_neighbours_are_those_of_a_sort(neighbours_taken):
    def nearest(x, y, query):
        return y[np.argsort(((x - query) ** 2).sum(-1))[:neighbours_taken]].mean()

    found = answers(lambda task, given: neighbours.nearest_neighbours(task, given, neighbours_taken))
    np.testing.assert_allclose(found, loop(GIVEN, nearest), atol=1e-5)


def test_ties_go_to_the_most_recent_example():
    given = GIVEN.replace(x=jnp.ones_like(GIVEN.x))
    found = neighbours.nearest_neighbours(TASK, given, 1).mean
    np.testing.assert_array_equal(found[:, 1:], given.y[:, :-1])
    three = neighbours.nearest_neighbours(TASK, given, 3).mean
    np.testing.assert_allclose(three[:, 4], given.y[:, 1:4].mean(1), rtol=1e-5)
