"""The measures of the experiment on prior and coverage, against least squares and sums over the pool by hand."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.tasks import LinearRegression, Pool

PATH = Path(__file__).parents[2] / "experiments" / "prior_and_coverage.py"
TASK = LinearRegression(dimension=2, examples=4, noise=0.5, weight_scale=0.8, prior=Pool(4, seed=3))
COUNT = 3


@pytest.fixture(scope="module")
def experiment():
    spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def changed(experiment):
    changes = experiment.Change(jnp.asarray([2.0, 1.0]), jnp.asarray([1.5, 0.0]), jnp.asarray([1.0, 100.0]))
    return experiment.ask_changed(TASK, 3, jax.random.key(0), changes, COUNT)


@pytest.fixture(scope="module")
def between(experiment):
    return experiment.ask_between(TASK, 3, jax.random.key(0), jnp.asarray([0.0, 1.0, 0.25, 2.0]), COUNT)


def around(x: np.ndarray, y: np.ndarray, mean: float, scale: float) -> np.ndarray:
    """Least squares with the penalty of w ~ N(mean, scale²), from the examples before each position."""
    answers = []
    for i in range(len(y)):
        gram = x[:i].T @ x[:i] + 0.25 / scale**2 * np.eye(2)
        w = mean + np.linalg.solve(gram, x[:i].T @ (y[:i] - x[:i].sum(1) * mean))
        answers.append(x[i] @ w)
    return np.array(answers)


def over_pool(x: np.ndarray, y: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Σ_m p(m | examples) x·w_m."""
    answers = []
    for i in range(len(y)):
        log_weight = -np.square(y[:i] - members @ x[:i].T).sum(1) / (2 * 0.25)
        weight = np.exp(log_weight - log_weight.max())
        answers.append((weight / weight.sum()) @ members @ x[i])
    return np.array(answers)


def test_exact_answers_are_those_of_the_changed_prior_and_of_the_pool(changed):
    members = np.asarray(jax.vmap(TASK.pool_latent)(jnp.arange(4)), float)
    for change, (mean, scale) in enumerate([(1.5 * 0.8, 2 * 0.8), (0.0, 0.8)]):
        for prompt in range(COUNT):
            x = np.asarray(changed.prompts.x[change, prompt], float)
            y = np.asarray(changed.prompts.y[change, prompt], float)
            size = 1 + np.abs(y).max()
            np.testing.assert_allclose(
                changed.changed[change, prompt], around(x, y, mean, scale), rtol=1e-3, atol=1e-3 * size
            )
            np.testing.assert_allclose(changed.pool[change, prompt], over_pool(x, y, members), atol=1e-3 * size)
    np.testing.assert_array_equal(changed.trained, changed.pool)
    scales = np.sqrt(np.square(np.asarray(changed.prompts.x)).mean((1, 2, 3)))
    assert scales[1] > 30 * scales[0]


def test_weights_lie_on_lines_through_two_members(between):
    members = np.asarray(jax.vmap(TASK.pool_latent)(jnp.arange(4)))
    first, second, quarter, beyond = np.asarray(between.prompts.latent)
    for a, b in zip(first, second, strict=True):
        numbers = [int(np.abs(members - w).sum(1).argmin()) for w in (a, b)]
        np.testing.assert_allclose(members[numbers], [a, b], atol=1e-6)
        assert numbers[0] != numbers[1]
    np.testing.assert_allclose(quarter, 0.75 * first + 0.25 * second, atol=1e-6)
    np.testing.assert_allclose(beyond, 2 * second - first, atol=1e-6)


def test_mismatch_and_bias_add_up(experiment):
    shape = (1, 2, 3)  # one change, two prompts, three positions
    asked = experiment.Asked(None, np.ones(shape), np.zeros(shape), np.full(shape, 2.0), np.full(shape, 0.5))
    found = experiment.terms(asked, np.full(shape, 0.5))
    for term, value in (("mismatch", 1.0), ("bias", -0.75), ("lost", 0.25), ("distance", 0.25), ("to_pool", 2.25)):
        np.testing.assert_allclose(getattr(found, term), np.full((1, 2), value), rtol=1e-6, err_msg=term)


def test_a_learner_of_the_training_prior_has_no_bias(experiment, changed):
    found = experiment.terms(changed, changed.trained)
    np.testing.assert_array_equal(found.bias, 0)
    np.testing.assert_array_equal(found.distance, 0)
    assert (found.mismatch[0] > 0).all()
    # One position by hand: before any example the two means are 1.2 apart in every weight, and nothing is known.
    x, unit = np.asarray(changed.prompts.x[0, :, 0]), np.asarray(changed.unit[0, :, 0])
    np.testing.assert_allclose(unit, 0.25 + 0.64 * np.square(x).sum(-1), rtol=1e-4)
    np.testing.assert_allclose(changed.changed[0, :, 0], 1.2 * x.sum(-1), rtol=1e-4)
