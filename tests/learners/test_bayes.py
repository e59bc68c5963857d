"""Variations of the exact posterior, against enumeration in plain numpy."""

import jax
import numpy as np
import pytest
from scipy import stats

from icl_lab.learners.bayes import matched_moments, pool_bayes, pool_map, tempered_pool_bayes, tempered_population_bayes
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain, Pool

REGRESSION = LinearRegression(dimension=3, examples=5, noise=0.5, prior=Pool(7, seed=2))


def drawn(task, batch=4):
    prompts = task.sample(jax.random.key(3), batch)
    members = jax.vmap(task.pool_latent)(np.arange(int(task.prior.size))) if isinstance(task.prior, Pool) else None
    return prompts, None if members is None else np.asarray(members, float)


@pytest.mark.parametrize("exponent", [0.4, 1.0, 2.5])
def test_a_tempered_posterior_of_weights_is_enumerated(exponent):
    prompts, weights = drawn(REGRESSION)
    x, y = np.asarray(prompts.x, float), np.asarray(prompts.y, float)
    found = np.asarray(tempered_pool_bayes(REGRESSION, prompts, exponent).mean_target()[..., 0])
    for b, i in np.ndindex(*y.shape):
        log_likelihood = stats.norm.logpdf(y[b, :i], weights @ x[b, :i].T, 0.5).sum(-1) * exponent
        share = np.exp(log_likelihood - log_likelihood.max())
        assert found[b, i] == pytest.approx(share @ (weights @ x[b, i]) / share.sum(), abs=1e-4)


def test_a_tempered_posterior_of_chains_is_enumerated():
    task = MarkovChain(states=3, examples=6, prior=Pool(5, seed=1))
    prompts, matrices = drawn(task)
    states, y = np.asarray(prompts.x.argmax(-1)), np.asarray(prompts.y)
    found = np.asarray(tempered_pool_bayes(task, prompts, 0.5).mean_target())
    for b, i in np.ndindex(*y.shape):
        likelihood = np.prod(matrices[:, states[b, :i], y[b, :i]], axis=-1) ** 0.5
        expected = likelihood @ matrices[:, states[b, i]] / likelihood.sum()
        np.testing.assert_allclose(found[b, i], expected, atol=1e-5)


def test_its_limits_are_the_prior_bayes_and_retrieval():
    prompts, weights = drawn(REGRESSION)
    prior = np.asarray(prompts.x) @ weights.mean(0)
    given = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(tempered_pool_bayes(REGRESSION, prompts, 0.0).mean, prior, **given)
    bayes = pool_bayes(REGRESSION, prompts)
    np.testing.assert_allclose(tempered_pool_bayes(REGRESSION, prompts, 1.0).mean, bayes.mean, **given)
    last = tempered_pool_bayes(REGRESSION, prompts, 1e4).mean[:, -1]
    np.testing.assert_allclose(last, pool_map(REGRESSION, prompts).mean_target()[:, -1, 0], **given)
    rules = BooleanRules(bits=3, examples=4, noise=0.1)
    asked = rules.sample(jax.random.key(0), 4)
    exact = rules.population_predictive(asked)
    assert exact is not None
    np.testing.assert_allclose(
        tempered_population_bayes(rules, asked, 1.0).mean_target(), exact.mean_target(), atol=1e-5
    )


def test_matched_moments_are_the_gaussian_posterior_of_the_pools_moments():
    prompts, weights = drawn(REGRESSION)
    x, y = np.asarray(prompts.x, float), np.asarray(prompts.y, float)
    mean, covariance = weights.mean(0), np.cov(weights.T, bias=True)
    found = matched_moments(REGRESSION, prompts)
    for b, i in np.ndindex(*y.shape):
        seen = x[b, :i]
        gain = covariance @ seen.T @ np.linalg.inv(seen @ covariance @ seen.T + 0.25 * np.eye(i)) if i else 0
        posterior = mean + (gain @ (y[b, :i] - seen @ mean) if i else 0)
        assert found.mean[b, i] == pytest.approx(x[b, i] @ posterior, abs=1e-3)
