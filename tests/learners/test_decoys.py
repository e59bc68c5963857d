"""Decoys: Lasso satisfies its optimality conditions, the label rules are what they say."""

import jax
import numpy as np
import pytest
from learners.given import loop, prompts
from scipy.optimize import minimize

from icl_lab.learners import decoys
from icl_lab.tasks import LinearRegression

TASK = LinearRegression()


def lasso_by_scipy(x, y, penalty):
    """Split into positive and negative parts: a smooth problem with bounds."""
    d = x.shape[1]

    def objective(parts):
        weights = parts[:d] - parts[d:]
        residual = y - x @ weights
        gradient = -x.T @ residual / len(y)
        value = residual @ residual / (2 * len(y)) + penalty * parts.sum()
        return value, np.concatenate([gradient + penalty, -gradient + penalty])

    found = minimize(
        objective,
        np.zeros(2 * d),
        jac=True,
        bounds=[(0, None)] * (2 * d),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10},
    ).x
    return found[:d] - found[d:]


@pytest.mark.parametrize("penalty", [0.05, 0.3])
@pytest.mark.parametrize("size", [(3, 10), (5, 12)], ids=str)
def test_lasso_is_that_of_another_solver(size, penalty):
    given = prompts(*size)
    found = jax.jit(lambda given: decoys.lasso(TASK, given, penalty).mean)(given)
    expected = loop(given, lambda x, y, q: q @ lasso_by_scipy(x, y, penalty))
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_lasso_meets_its_optimality_conditions():
    """Its weights, read off by unit queries: |Xᵀr|/n ≤ λ, with equality and the sign of w where w is not zero."""
    given, penalty, d = prompts(4, 12), 0.2, 4
    weights = np.stack(
        [
            np.asarray(decoys.lasso(TASK, given.replace(x=given.x.at[:, -1].set(np.eye(d)[k])), penalty).mean[:, -1])
            for k in range(d)
        ],
        axis=-1,
    )
    x, y = np.asarray(given.x[:, :-1], float), np.asarray(given.y[:, :-1], float)
    slope = np.einsum("bif,bi->bf", x, y - np.einsum("bif,bf->bi", x, weights)) / x.shape[1]
    assert (np.abs(slope) <= penalty + 1e-4).all()
    active = np.abs(weights) > 1e-6
    assert active.any()
    assert not active.all()
    np.testing.assert_allclose(slope[active], penalty * np.sign(weights[active]), atol=1e-4)


def test_lasso_with_a_large_penalty_answers_zero():
    assert not np.any(decoys.lasso(TASK, prompts(), 100.0).mean)


def test_label_rules():
    given = prompts(2, 9)
    median = loop(given, lambda x, y, q: np.median(y))
    mean = loop(given, lambda x, y, q: np.mean(y))
    last = loop(given, lambda x, y, q: y[-1])
    np.testing.assert_allclose(jax.jit(lambda p: decoys.label_median(TASK, p).mean)(given), median, atol=1e-6)
    np.testing.assert_allclose(decoys.label_mean(TASK, given).mean, mean, atol=1e-5)
    np.testing.assert_allclose(decoys.previous_label(TASK, given).mean, last, atol=1e-6)
