"""Bayesian learners: exact posterior predictives under the task's own priors, and the retrieval they sharpen into."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Gaussian, Predictions, Prompts
from icl_lab.tasks import Pool, Task, pool_posterior
from icl_lab.tasks.sequential import sequential_regression


def population_bayes(task: Task, prompts: Prompts) -> Predictions:
    """Exact posterior predictive when every latent is fresh. For Gaussian linear regression: ridge(σ²/τ²).

    Raises:
        TypeError: the task has no closed form for its population.
    """
    predictive = task.population_predictive(prompts)
    if predictive is None:
        raise TypeError(f"population_predictive: {type(task).__name__} has none; write it or use a pool")
    return predictive


def pool_bayes(task: Task, prompts: Prompts) -> Predictions:
    """Exact posterior predictive over the task's pool; its mean is dMMSE (Raventós et al. 2023)."""
    return pool_posterior(task, prompts).predictive


def pool_map(task: Task, prompts: Prompts) -> Predictions:
    """The prediction of the pool member of greatest posterior weight: retrieval from weights, posterior^β at β → ∞."""
    return pool_posterior(task, prompts).map_predictive


def population_map(task: Task, prompts: Prompts) -> Predictions:
    """The prediction of the most probable latent of an enumerable population, such as a rule of the whole class."""
    return pool_posterior(task.fresh(), prompts).map_predictive


def tempered_pool_bayes(task: Task, prompts: Prompts, exponent: Array | float) -> Predictions:
    """The posterior over the pool with its likelihood to the power β: too slow to learn below 1, too fast above.

    For Gaussian outcomes its mean is that of pool Bayes with noise σ/√β.
    """
    return pool_posterior(task, prompts, exponent).predictive


def tempered_population_bayes(task: Task, prompts: Prompts, exponent: Array | float) -> Predictions:
    """The same over an enumerable population."""
    return pool_posterior(task.fresh(), prompts, exponent).predictive


MOMENT_MEMBERS = 1024  # of a larger pool, the moments of its first members


def matched_moments(task: Task, prompts: Prompts) -> Gaussian:
    """The Gaussian process whose mean and covariance functions are those of the pool's: it knows two moments of it.

    m(x) = E_m f_m(x) and k(x, x') = Cov_m(f_m(x), f_m(x')) over members m, f_m(x) the mean outcome. For linear
    regression: the Gaussian posterior under the pool's mean and covariance of weights.
    """
    assert isinstance(task.prior, Pool)
    index = jnp.arange(MOMENT_MEMBERS)
    share = (index < task.prior.size) / jnp.minimum(task.prior.size, MOMENT_MEMBERS)
    members = jax.vmap(task.pool_latent)(index)

    def one(x: Array) -> tuple[Array, Array, Array]:
        outcomes: Any = jax.vmap(lambda latent: task.outcome(latent, x))(members)
        mean = share @ outcomes.mean
        centred = outcomes.mean - mean
        kernel = jnp.einsum("m,mi,mj->ij", share, centred, centred, precision="highest")
        return mean, kernel, (share @ outcomes.variance).mean()

    mean, kernel, noise = jax.lax.map(one, prompts.x, batch_size=16)
    centred = sequential_regression(kernel, noise, prompts.y - mean)
    return Gaussian(mean + centred.mean, centred.variance)
