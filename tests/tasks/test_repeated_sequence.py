"""Repeated sequences: they repeat, and the exact predictive is that of an enumeration of all latents."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.tasks import RepeatedSequence


@pytest.mark.parametrize(("symbols", "shortest", "longest", "examples"), [(2, 1, 3, 6), (3, 2, 4, 7), (2, 4, 4, 8)])
def test_the_predictive_against_all_latents(symbols, shortest, longest, examples):
    task = RepeatedSequence(symbols=symbols, shortest=shortest, longest=longest, examples=examples)
    prompts = jax.jit(lambda key: task.sample(key, 24))(jax.random.key(0))
    chain = np.concatenate([np.asarray(prompts.x[:, :1]).argmax(-1), prompts.y], axis=1)
    exact = np.zeros((*prompts.y.shape, symbols))
    for period in range(shortest, longest + 1):
        for drawn in itertools.product(range(symbols), repeat=longest):
            whole = np.array([drawn[i % period] for i in range(chain.shape[1])])
            for b, i in itertools.product(*map(range, prompts.y.shape)):
                exact[b, i, whole[i + 1]] += (whole[: i + 1] == chain[b, : i + 1]).all()
    exact /= exact.sum(-1, keepdims=True)
    found = jax.jit(lambda prompts: task.population_predictive(prompts).mean_target())(prompts)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_sequences_repeat_after_their_period_and_periods_are_uniform():
    task = RepeatedSequence(symbols=8, shortest=3, longest=6, examples=20)
    prompts = jax.jit(lambda key: task.sample(key, 2048))(jax.random.key(1))
    chain = np.concatenate([np.asarray(prompts.x[:, :1]).argmax(-1), prompts.y], axis=1)
    periods = np.asarray(prompts.latent["period"])
    for period in range(3, 7):
        own = chain[periods == period]
        np.testing.assert_array_equal(own[:, period:], own[:, :-period])
        assert len(own) == pytest.approx(512, abs=5 * np.sqrt(384))
    np.testing.assert_array_equal(prompts.x[:, 1:], jax.nn.one_hot(prompts.y[:, :-1], 8))
    assert jnp.bincount(chain[:, 0], length=8) / 2048 == pytest.approx(np.full(8, 1 / 8), abs=0.04)


def test_periods_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="shortest: 5 is above the longest period 4"):
        RepeatedSequence(shortest=5, longest=4).sample(jax.random.key(0), 1)
