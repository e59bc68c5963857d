"""Ridge and least squares against numpy, also where float32 is pressed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners.given import loop, prompts

from icl_lab.learners import linear
from icl_lab.tasks import LinearRegression
from icl_lab.verify import literal

TASK = LinearRegression()
least_squares = jax.jit(lambda given: linear.least_squares(TASK, given).mean)
ridge = jax.jit(lambda given, penalty: linear.ridge(TASK, given, penalty).mean)


@pytest.mark.parametrize("size", [(3, 8), (8, 5), (1, 4)], ids=str)
def test_least_squares_is_that_of_numpy_and_of_minimum_norm(size):
    given = prompts(*size)

    def solve(x, y, query):
        return query @ np.linalg.lstsq(x, y, rcond=None)[0]

    np.testing.assert_allclose(least_squares(given), loop(given, solve), atol=2e-3, rtol=1e-3)


def test_least_squares_of_repeated_examples_is_of_minimum_norm():
    given = prompts(3, 6)
    given = given.replace(x=given.x.at[:, 1:4].set(given.x[:, :1]), y=given.y.at[:, 1:4].set(given.y[:, :1]))
    found = least_squares(given)
    expected = loop(given, literal.least_squares)
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-4)


def test_least_squares_without_noise_reproduces_what_it_has_seen():
    given = prompts(3, 8, noise=0.0)
    np.testing.assert_allclose(least_squares(given)[:, 4:], given.y[:, 4:], atol=1e-3)


@pytest.mark.parametrize("penalty", [1e-3, 0.25, 100.0])
@pytest.mark.parametrize("size", [(3, 8), (8, 5)], ids=str)
def test_ridge_is_that_of_the_normal_equations(size, penalty):
    given = prompts(*size)
    expected = loop(given, lambda x, y, q: literal.ridge(x, y, q, penalty))
    np.testing.assert_allclose(ridge(given, penalty), expected, atol=3e-3 if penalty < 0.01 else 1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_ridge_in_other_units(scale):
    given = prompts()
    other = given.replace(x=scale * given.x)
    np.testing.assert_allclose(ridge(other, 0.3 * scale**2), ridge(given, 0.3), atol=1e-4)


def test_ridge_tends_to_least_squares_and_to_one_gradient_step():
    given = prompts(3, 8)
    np.testing.assert_allclose(ridge(given, 1e-4)[:, 5:], least_squares(given)[:, 5:], atol=1e-2)
    small = ridge(given, 1e6) * 1e6
    step = loop(given, lambda x, y, q: q @ x.T @ y)
    np.testing.assert_allclose(small, step, rtol=1e-3, atol=1e-3)


def test_prefix_sums_are_those_before_each_position():
    given = prompts(2, 4)
    gram, moment = linear.prefix_sums(given.x, given.y[..., None])
    np.testing.assert_allclose(gram[:, 3], jnp.einsum("bif,big->bfg", given.x[:, :3], given.x[:, :3]), rtol=1e-5)
    np.testing.assert_allclose(moment[:, 3, :, 0], jnp.einsum("bif,bi->bf", given.x[:, :3], given.y[:, :3]), rtol=1e-5)
    assert not np.any(gram[:, 0])
    assert not np.any(moment[:, 0])
