"""Meta-SGD learns: never worse than plain descent, a start at the pool's mean, unequal steps where they help."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.learners.gradient import gradient_descent
from icl_lab.learners.meta import meta_sgd, train_meta_sgd
from icl_lab.tasks import LinearRegression, Pool

ONE_STEP = ((1, False),)
FORMS = (*ONE_STEP, (2, False), (5, False), (2, True), (5, True))
CENTRED = LinearRegression(dimension=5, examples=12, noise=0.5)
MEANS = (2.0, -1.0)


@pytest.fixture(scope="module")
def prompts():
    return jax.jit(lambda task: task.sample(jax.random.key(99), 2048))(CENTRED)


@pytest.fixture(scope="module")
def learned():
    return train_meta_sgd(CENTRED, FORMS)


@functools.partial(jax.jit, static_argnames=("steps", "causal"))
def errors_of_descent(prompts, rates, steps, causal):
    def error(rate):
        return jnp.mean((gradient_descent(CENTRED, prompts, steps, rate, causal).mean - prompts.y) ** 2)

    return jax.lax.map(error, rates)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_learned_steps_are_no_worse_than_any_equal_ones(form, learned, prompts):
    steps, causal = form
    found = learned[FORMS.index(form)]
    best = errors_of_descent(prompts, jnp.geomspace(0.03, 1.0, 40), steps, causal).min()
    error = jnp.mean((meta_sgd(CENTRED, prompts, **found, causal=causal).mean - prompts.y) ** 2)
    assert found["rates"].shape == (steps, 5)
    assert error <= (1.01 if steps == 1 else 0.95) * best


def test_the_start_is_the_mean_of_the_weights(learned):
    """Zero for centred tasks; of pools with other means, their own: a start that is learned, not built in."""
    np.testing.assert_allclose(learned[1]["initial"], 0, atol=0.1)
    pool = Pool(64, seed=1)
    means = []
    for mean in MEANS:
        task = CENTRED.replace(weight_mean=mean, prior=pool)
        members = jax.vmap(lambda m, task=task: task.draw_latent(pool.key(m)))(jnp.arange(64))
        start = train_meta_sgd(task, ONE_STEP)[0]["initial"][:, 0]
        np.testing.assert_allclose(start, members.mean(0), atol=0.2)
        means.append(float(start.mean()))
    assert means[0] - means[1] == pytest.approx(MEANS[0] - MEANS[1], rel=0.1)


def test_steps_follow_the_scale_of_each_feature():
    """A feature of a hundred times the variance gets a far smaller step."""
    task = LinearRegression(dimension=2, examples=8, noise=0.5, covariance=np.array([0.1, 10.0], np.float32))
    rates = train_meta_sgd(task, ONE_STEP, updates=400)[0]["rates"][0]
    assert rates[0] > 2 * rates[1] > 0


def test_the_same_seed_learns_the_same():
    first, again, other = (train_meta_sgd(CENTRED, ONE_STEP, updates=40, seed=seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["rates"], again["rates"])
    assert not np.allclose(first["rates"], other["rates"], rtol=1e-6)


def test_a_scale_of_one_changes_nothing(learned, prompts):
    few = jax.tree.map(lambda leaf: leaf[:4], prompts)
    plain = meta_sgd(CENTRED, few, **learned[1])
    np.testing.assert_array_equal(plain.mean, meta_sgd(CENTRED, few, **learned[1], scale=1.0).mean)
    zero = meta_sgd(CENTRED, few, **learned[1], scale=0.0)
    np.testing.assert_allclose(zero.mean, (few.x @ learned[1]["initial"])[..., 0], rtol=1e-5)
