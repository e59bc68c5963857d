"""Bayesian learners: exact posterior predictives under the task's own priors, and the retrieval they sharpen into."""

from icl_lab.prompts import Predictions, Prompts
from icl_lab.tasks import Task, pool_posterior


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
