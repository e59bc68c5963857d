"""Prompts for interventions keep what they say they keep."""

import jax
import jax.numpy as jnp
import numpy as np
from tiny_transformer import chains, pairs

from icl_lab.probes.inside.prompt_pairs import counterpart, prompts_of, uninformative
from icl_lab.tasks import Described, LinearRegression, MarkovChain, Pool

REGRESSION = LinearRegression(dimension=2, examples=4, noise=0.0)
CHAIN = MarkovChain(states=3, examples=4)
COUNTERPART, UNINFORMATIVE = jax.jit(counterpart), jax.jit(uninformative)


def test_counterpart_has_the_inputs_and_the_next_latent():
    prompts = pairs(2, 4, 40)
    other = COUNTERPART(REGRESSION, prompts, jax.random.key(1))
    np.testing.assert_array_equal(other.x, prompts.x)
    expected = [np.asarray(prompts.x[i]) @ np.asarray(prompts.latent[(i + 1) % 40]) for i in range(40)]
    np.testing.assert_allclose(other.y, expected, atol=1e-5)


def test_counterpart_of_a_described_prompt_has_the_description_of_its_task():
    task = Described(base=REGRESSION, examples=4, prior=Pool(8), names=8)
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 20))()
    other = COUNTERPART(task, prompts, jax.random.key(1))
    assert (np.asarray(other.description).argmax(-1) == other.latent["member"]).all()
    np.testing.assert_array_equal(other.latent["member"], np.roll(prompts.latent["member"], -1))
    np.testing.assert_array_equal(other.x, prompts.x)


def test_counterpart_of_a_stream_is_a_stream():
    prompts = chains(3, 4, 40)
    other = COUNTERPART(CHAIN, prompts, jax.random.key(1))
    np.testing.assert_array_equal(other.x[:, 0], prompts.x[:, 0])
    np.testing.assert_array_equal(other.x[:, 1:].argmax(-1), other.y[:, :-1])
    assert (np.asarray(other.y) != np.asarray(prompts.y)).any()


def test_prompts_of_a_latent_stand_together():
    latents = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    found = jax.jit(prompts_of, static_argnums=3)(REGRESSION, latents, jax.random.key(2), 3)
    np.testing.assert_allclose(found.y[:3], found.x[:3, :, 0], atol=1e-6)
    np.testing.assert_allclose(found.y[3:], found.x[3:, :, 1], atol=1e-6)
    assert len(np.unique(np.asarray(found.x))) == found.x.size


def test_dummies_keep_every_outcome_but_not_together():
    prompts = pairs(2, 4, 40)
    dummies = UNINFORMATIVE(REGRESSION, prompts, jax.random.key(4))
    np.testing.assert_array_equal(np.sort(dummies.y[:, :-1], axis=0), np.sort(prompts.y[:, :-1], axis=0))
    np.testing.assert_array_equal(dummies.x, prompts.x)
    together = (dummies.y[:, None, :2] == prompts.y[None, :, :2]).all(-1)
    assert together.sum() < 8  # two outcomes of one prompt hardly ever stay with each other
    np.testing.assert_allclose(dummies.y[:, -1], prompts.y[:, -1], atol=1e-5)
    product = np.asarray(prompts.x[:, :-1] @ prompts.latent[:, :, None])[..., 0]
    assert abs(np.corrcoef(np.asarray(dummies.y[:, :-1]).ravel(), product.ravel())[0, 1]) < 0.3


def test_dummies_of_a_stream_follow_their_outcomes():
    prompts = chains(3, 4, 40)
    dummies = UNINFORMATIVE(CHAIN, prompts, jax.random.key(6))
    np.testing.assert_array_equal(dummies.x[:, 1:].argmax(-1), dummies.y[:, :-1])
    np.testing.assert_array_equal(np.sort(dummies.y[:, :-1], axis=0), np.sort(prompts.y[:, :-1], axis=0))
