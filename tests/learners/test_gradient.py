"""Gradient methods beyond what `verify` checks: preconditioning, convergence, closed form of the best step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from learners.given import loop, prompts

from icl_lab.learners import gradient, linear
from icl_lab.tasks import LinearRegression, Pool
from icl_lab.verify import literal

TASK = LinearRegression(dimension=3, examples=8)
COVARIANCE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.2]], np.float32)


def answers(learner, given, *arguments, task=TASK):
    return np.asarray(jax.jit(lambda given: learner(task, given, *arguments).mean)(given))


def test_one_step_is_its_formula_in_every_form():
    given = prompts()
    expected = loop(given, lambda x, y, q: 0.4 * np.mean((x @ q) * y))
    for causal in (False, True):
        np.testing.assert_allclose(answers(gradient.gradient_descent, given, 1, 0.4, causal), expected, atol=1e-5)
        with_curvature = answers(gradient.gradient_descent_plus_plus, given, 1, 0.4, 0.3, causal)
        np.testing.assert_allclose(with_curvature, expected, atol=1e-5)


def test_causal_differs_from_full_from_the_second_step_on():
    given = prompts()
    full, causal = (answers(gradient.gradient_descent, given, 2, 0.4, form) for form in (False, True))
    assert np.abs(full - causal)[:, 2:].max() > 0.05


def test_no_curvature_is_plain_descent():
    given = prompts()
    for causal in (False, True):
        plain = answers(gradient.gradient_descent, given, 3, 0.3, causal)
        np.testing.assert_allclose(
            answers(gradient.gradient_descent_plus_plus, given, 3, 0.3, 0.0, causal), plain, atol=1e-5
        )


@pytest.mark.parametrize("causal", [False, True])
def test_preconditioning_is_descent_on_whitened_inputs(causal):
    given, damping = prompts(), 0.3
    task = TASK.replace(covariance=COVARIANCE)
    size = np.trace(COVARIANCE) / 3
    metric = size * (1 + damping) * np.linalg.inv(COVARIANCE.astype(float) + damping * size * np.eye(3))
    found = answers(gradient.preconditioned_descent, given, 2, 0.3, damping, causal, task=task)
    root = jnp.asarray(np.linalg.cholesky(metric), jnp.float32)
    moved = given.replace(x=given.x @ root)
    np.testing.assert_allclose(found, answers(gradient.gradient_descent, moved, 2, 0.3, causal), atol=1e-4)
    one = answers(gradient.preconditioned_descent, given, 1, 0.3, damping, causal, task=task)
    np.testing.assert_allclose(one, loop(given, lambda x, y, q: 0.3 * q @ metric @ x.T @ y / len(y)), atol=1e-4)


def test_preconditioning_changes_nothing_where_inputs_are_isotropic():
    given = prompts()
    plain = answers(gradient.gradient_descent, given, 2, 0.3)
    for damping in (0.03, 3.0):
        np.testing.assert_allclose(answers(gradient.preconditioned_descent, given, 2, 0.3, damping), plain, atol=1e-5)
    strong = answers(gradient.preconditioned_descent, given, 2, 0.3, 1e5, task=TASK.replace(covariance=COVARIANCE))
    np.testing.assert_allclose(strong, plain, atol=1e-3)


def test_newton_converges_to_least_squares():
    given = prompts(3, 12)
    newton = answers(lambda task, p: gradient.newton_schulz(task, p, 14, 1.0), given)
    np.testing.assert_allclose(newton[:, 5:], loop(given, literal.least_squares)[:, 5:], atol=5e-3)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_step_sizes_scale_with_the_inputs(scale):
    given = prompts()
    other = given.replace(x=scale * given.x)
    plain = answers(gradient.gradient_descent, given, 2, 0.3)
    np.testing.assert_allclose(answers(gradient.gradient_descent, other, 2, 0.3 / scale**2), plain, atol=1e-4)
    newton = answers(gradient.newton_schulz, given, 3, 1.0)
    np.testing.assert_allclose(answers(gradient.newton_schulz, other, 3, 1.0), newton, atol=1e-4)


def test_the_best_step_of_a_general_task_is_the_best_on_prompts():
    """The closed form against a least-squares fit of the step, with a covariance, noise and prior scale."""
    task = TASK.replace(covariance=COVARIANCE, noise=0.7, weight_scale=1.5)
    many = jax.jit(lambda task: task.sample(jax.random.key(0), 1 << 16))(task)
    step = np.asarray(gradient.gradient_descent(task, many, 1, 1.0).mean[:, -1], float)
    y = np.asarray(many.y[:, -1], float)
    rate, error = gradient.best_single_step(task)
    assert rate == pytest.approx((step @ y) / (step @ step), rel=0.03)
    assert error == pytest.approx(np.mean((y - rate * step) ** 2), rel=0.03)


@pytest.mark.parametrize("changes", [{"weight_mean": 1.0}, {"prior": Pool(3)}, {"weight_scale": np.ones(3)}])
def test_the_closed_form_refuses_what_it_does_not_cover(changes):
    with pytest.raises(ValueError, match="closed form"):
        gradient.best_single_step(TASK.replace(**changes))


def test_descent_from_a_start_needs_no_examples():
    given, start = prompts(), jnp.array([1.0, -2.0, 0.5])
    real = TASK.outcomes
    found = gradient.unrolled_descent(real, given.x, real.targets(given.y), start[:, None], jnp.full((2, 3), 0.1))
    np.testing.assert_allclose(found[:, 0, 0], given.x[:, 0] @ start, rtol=1e-5)
    assert isinstance(linear.ridge(TASK, given, 0.1).mean, jax.Array)
