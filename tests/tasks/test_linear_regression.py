"""Linear regression: its moments, and its closed form where float32 is pressed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Prompts
from icl_lab.tasks import LinearRegression, Pool
from icl_lab.tasks.sequential import sequential_regression, sum_before
from icl_lab.verify import literal

COUNT = 8192
MATRIX = np.array([[1.0, 0.8], [0.8, 1.0]], np.float32)


@functools.partial(jax.jit, static_argnames="batch")
def sample(task, batch):
    return task.sample(jax.random.key(0), batch)


@jax.jit
def closed_form(task, prompts):
    return task.population_predictive(prompts)


def made(task, batch):
    """Prompts of the task drawn by numpy: nothing to compile."""
    rng, d = np.random.default_rng(0), task.dimension
    x = rng.normal(size=(batch, task.positions, d)) @ np.linalg.cholesky(np.asarray(task.input_covariance(), float)).T
    w = np.asarray(task.weight_mean) + np.asarray(task.weight_scale) * rng.normal(size=(batch, d))
    y = np.einsum("bif,bf->bi", x, w) + task.noise * rng.normal(size=x.shape[:2])
    arrays = [jnp.asarray(a, jnp.float32) for a in (x, y, w)]
    return Prompts(*arrays, scored=jnp.ones(y.shape, bool))


@pytest.mark.parametrize(
    ("changes", "covariance"),
    [
        ({}, np.eye(2)),
        ({"covariance": 4.0}, 4 * np.eye(2)),
        ({"covariance": np.array([1.0, 9.0], np.float32)}, np.diag([1, 9])),
        ({"covariance": MATRIX}, MATRIX),
        ({"inputs": "uniform", "half_width": 1.5}, 0.75 * np.eye(2)),
    ],
    ids=["unit", "number", "variances", "matrix", "uniform"],
)
def test_inputs_have_the_covariance_stated(changes, covariance):
    task = LinearRegression(dimension=2, examples=7, **changes)
    x = np.asarray(sample(task, COUNT).x).reshape(-1, 2)
    np.testing.assert_allclose(task.input_covariance(), covariance, rtol=1e-6)
    np.testing.assert_allclose(task.feature_covariance(), covariance, rtol=1e-6)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    assert (np.abs(x.T @ x / len(x) - covariance) < 5 * np.sqrt(2) * scale / np.sqrt(len(x))).all()
    assert (np.abs(x.mean(0)) < 5 * np.sqrt(np.diag(covariance) / len(x))).all()
    if task.inputs == "uniform":
        assert np.abs(x).max() <= 1.5


def test_weights_have_the_mean_and_scale_stated():
    mean, scale = np.array([1.0, -2.0], np.float32), np.array([0.5, 2.0], np.float32)
    weights = np.asarray(sample(LinearRegression(dimension=2, weight_mean=mean, weight_scale=scale), COUNT).latent)
    np.testing.assert_allclose(weights.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(weights.std(0), scale, rtol=0.05)


def test_no_noise_means_none():
    prompts = sample(LinearRegression(dimension=2, noise=0.0), COUNT)
    np.testing.assert_allclose(prompts.y, jnp.einsum("bif,bf->bi", prompts.x, prompts.latent), atol=1e-6)


def test_the_worked_example_of_the_docstring():
    outcome = LinearRegression(dimension=2).outcome(jnp.array([1.0, -2.0]), jnp.array([[1.0, 0], [0, 1], [1, 1]]))
    np.testing.assert_array_equal(outcome.mean, [1, -2, -1])


def compare(task, prompts, tolerance):
    """The closed form and the normal equations of every prefix in float64, in units of the labels' size."""
    mean, scale = (np.broadcast_to(np.asarray(v, float), task.dimension) for v in (task.weight_mean, task.weight_scale))
    found = closed_form(task, prompts)
    x, y = np.asarray(prompts.x, float), np.asarray(prompts.y, float)
    exact = np.array(
        [
            [
                literal.gaussian_posterior(x[b, :i], y[b, :i], x[b, i], float(task.noise), mean, scale)
                for i in range(len(y[b]))
            ]
            for b in range(len(y))
        ]
    )
    size = np.sqrt(np.mean(y**2))
    assert np.isfinite(found.mean).all()
    assert np.abs(found.mean - exact[..., 0]).max() < tolerance * size
    np.testing.assert_allclose(found.variance, exact[..., 1], rtol=100 * tolerance, atol=tolerance * size**2)


@pytest.mark.parametrize("size", [(2, 12), (5, 12), (20, 12), (8, 40)], ids=str)
def test_the_closed_form_with_fewer_and_more_examples_than_features(size):
    task = LinearRegression(dimension=size[0], examples=size[1], noise=0.5)
    compare(task, made(task, 8), 1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_closed_form_in_other_units(scale):
    task = LinearRegression(dimension=3, examples=9, noise=0.5 * scale, covariance=scale**2)
    compare(task, made(task, 8), 1e-4)


def test_the_closed_form_with_an_ill_conditioned_covariance():
    task = LinearRegression(
        dimension=4, examples=12, noise=0.1, covariance=np.geomspace(1e-2, 1e2, 4).astype(np.float32)
    )
    compare(task, made(task, 8), 3e-3)


def test_the_closed_form_with_a_far_mean_and_unequal_scales():
    task = LinearRegression(
        dimension=3,
        examples=8,
        noise=0.3,
        weight_mean=np.array([10.0, 0.0, -5.0], np.float32),
        weight_scale=np.array([0.1, 3.0, 1.0], np.float32),
    )
    compare(task, made(task, 8), 1e-4)


@pytest.mark.parametrize("dimension", [2, 5, 20])
def test_without_noise_the_closed_form_is_least_squares(dimension):
    task = LinearRegression(dimension=dimension, examples=2 * dimension, noise=0.0)
    prompts = made(task, 32)
    found = closed_form(task, prompts)
    error = np.abs(found.mean - prompts.y) / np.sqrt(dimension)
    assert np.isfinite(found.mean).all()
    assert (np.asarray(found.variance) >= 0).all()
    assert np.median(error[:, dimension]) < 1e-2
    assert np.median(error[:, -1]) < 1e-3
    exact = [
        literal.least_squares(*(np.asarray(a, float) for a in (p[:1], q[:1], p[1])))
        for p, q in zip(prompts.x, prompts.y, strict=True)
    ]
    np.testing.assert_allclose(found.mean[:, 1], exact, atol=1e-3 * np.sqrt(dimension))


def test_inputs_of_zero_length_are_harmless():
    task = LinearRegression(dimension=2, examples=4, noise=0.0)
    prompts = made(task, 4)
    prompts = prompts.replace(
        x=prompts.x.at[0].set(0.0).at[1, 0].set(0.0), y=prompts.y.at[0].set(0.0).at[1, 0].set(0.0)
    )
    found = task.population_predictive(prompts)
    assert np.isfinite(found.mean).all()
    np.testing.assert_array_equal(found.mean[0], 0)


def test_the_noise_floor_does_not_see_later_inputs():
    """Huge inputs later do not change what was answered before them, where the floor is all the noise there is."""
    task = LinearRegression(dimension=3, examples=6, noise=0.0)
    prompts = made(task, 8)
    later = prompts.replace(x=prompts.x.at[:, 5:].multiply(1e3))
    first, second = (task.population_predictive(p).mean[:, :5] for p in (prompts, later))
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_sequential_regression_is_conditioning_on_a_gaussian_process():
    rng = np.random.default_rng(0)
    points, y = rng.normal(size=7), rng.normal(size=7).astype(np.float32)
    kernel = np.exp(-0.5 * (points[:, None] - points) ** 2)
    found = sequential_regression(jnp.float32(kernel), 0.3, jnp.asarray(y))
    for i in range(7):
        system = kernel[:i, :i] + 0.3 * np.eye(i)
        assert found.mean[i] == pytest.approx(kernel[i, :i] @ np.linalg.solve(system, y[:i]) if i else 0, abs=1e-5)
        reduced = kernel[i, :i] @ np.linalg.solve(system, kernel[:i, i]) if i else 0
        assert found.variance[i] == pytest.approx(1.3 - reduced, rel=1e-5)


def test_sums_before_start_at_an_exact_zero():
    values = jnp.array([1e8, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sum_before(values), [0, 1e8, 1e8, 1e8])
    np.testing.assert_array_equal(sum_before(jnp.ones((2, 3, 2)), axis=1)[:, :, 0], [[0, 1, 2]] * 2)


def test_the_unit_is_the_exact_variance_with_a_floor():
    task = LinearRegression(dimension=3, examples=12, noise=0.5, prior=Pool(4))
    prompts = made(task, 8)
    floor = float(task.resolution()) ** 2
    expected = np.maximum(task.population_predictive(prompts).variance, floor)
    np.testing.assert_allclose(task.unit(prompts), expected, rtol=1e-5)
    assert float(task.resolution()) == pytest.approx(0.1 * np.sqrt(3 + 0.25), rel=0.05)
    np.testing.assert_allclose(task.unit(prompts)[:, 0], 0.25 + np.square(prompts.x[:, 0]).sum(-1), rtol=1e-4)
