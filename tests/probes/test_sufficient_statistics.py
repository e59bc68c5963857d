"""Statistics of the examples, against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import chains, pairs

from icl_lab.probes import sufficient_statistics as statistics
from icl_lab.tasks import LinearRegression, MarkovChain, Pool

REGRESSION = LinearRegression(dimension=2, examples=4, noise=0.5, prior=Pool(5))
CHAIN = MarkovChain(states=3, examples=5)
PAIRS = pairs(2, 4, 6)
STATES = chains(3, 5, 6)


def test_prefix_moment_and_ridge_weights_of_a_regression():
    x, y = np.asarray(PAIRS.x, float)[:, :-1], np.asarray(PAIRS.y, float)[:, :-1]
    moment = np.array([a.T @ b for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(statistics.prefix_moment(REGRESSION, PAIRS), moment, atol=1e-5)
    weights = [np.linalg.solve(a.T @ a + 0.3 * np.eye(2), a.T @ b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(statistics.ridge_weights(REGRESSION, PAIRS, 0.3), weights, atol=1e-4)


def test_counts_of_a_chain():
    chain = np.concatenate([np.asarray(STATES.x).argmax(-1), np.asarray(STATES.y)[:, -1:]], axis=1)
    pairs, states = np.zeros((6, 3, 3)), np.zeros((6, 3))
    for row, sequence in enumerate(chain):
        for i in range(CHAIN.examples):  # the last pair is the one asked for
            pairs[row, sequence[i], sequence[i + 1]] += 1
            states[row, sequence[i + 1]] += 1
    np.testing.assert_array_equal(statistics.prefix_moment(CHAIN, STATES), pairs.reshape(6, 9))
    np.testing.assert_array_equal(statistics.target_sums(CHAIN, STATES), states)


def test_pool_weights_are_the_normalised_likelihoods_of_the_examples():
    weights = jax.jit(statistics.pool_weights, static_argnums=2)(REGRESSION, PAIRS, 5)
    members = np.asarray(jax.vmap(REGRESSION.pool_latent)(jnp.arange(5)), float)
    residual = np.asarray(PAIRS.y, float)[:, :-1, None] - np.asarray(PAIRS.x, float)[:, :-1] @ members.T
    expected = np.exp(-np.square(residual).sum(1) / (2 * 0.5**2))
    np.testing.assert_allclose(weights, expected / expected.sum(1, keepdims=True), atol=1e-4)
    assert np.asarray(weights).max(1).min() < 0.99
    with pytest.raises(TypeError, match=r"prior: Population has no members"):
        statistics.pool_weights(CHAIN, STATES, 5)


def test_latents_are_laid_flat_and_controls_depend_on_the_last_input_alone():
    np.testing.assert_array_equal(statistics.latent_values(STATES), np.asarray(STATES.latent).reshape(6, 9))
    key = jax.random.key(2)
    control = statistics.control_task(key, PAIRS, 3)
    assert control.shape == (6, 3)
    assert len(np.unique(np.asarray(control))) == 18
    other = PAIRS.replace(x=PAIRS.x.at[:, :-1].add(1.0), y=PAIRS.y + 1)
    np.testing.assert_array_equal(statistics.control_task(key, other, 3), control)
