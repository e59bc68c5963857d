"""Near misses: learners that are almost Bayesian. The judge has references for the first three families only."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.bayes import matched_moments, tempered_pool_bayes, tempered_population_bayes
from icl_lab.learners.reference import has_pool, has_real_outcomes, has_support
from icl_lab.tasks import Pool, Task, pool_posterior


@dataclasses.dataclass(frozen=True)
class NearMiss:
    """One family of near misses.

    Attributes:
        name, title: for tables.
        strengths: ranges of the strength, used in turn; drawn log-uniformly.
        predict: (task, prompts, strength) → predictions.
        applies: task → whether it makes sense.
    """

    name: str
    title: str
    strengths: tuple[tuple[float, float], ...]
    predict: Callable[[Task, Prompts, Any], Predictions]
    applies: Callable[[Task], bool]

    @property
    def single(self) -> bool:
        """Whether it has no free strength."""
        return all(low == high for low, high in self.strengths)


def has_latents(task: Task) -> bool:
    """Return whether the exact posterior is a sum over latents."""
    return has_pool(task) or has_support(task)


def tempered(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Predict with the posterior over pool or population whose likelihood is raised to a power."""
    return (tempered_pool_bayes if has_pool(task) else tempered_population_bayes)(task, prompts, strength)


def wrong_noise(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Predict with the exact posterior for multiplied noise; for Gaussian outcomes this is tempering."""
    other = task.replace(noise=strength * task.noise)  # pyrefly: ignore[missing-attribute]
    return pool_posterior(other, prompts).predictive


def half_a_pool(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Predict with the exact posterior over a part of the pool."""
    assert isinstance(task.prior, Pool)
    size = (strength * task.prior.size).astype(int)  # pyrefly: ignore[missing-attribute]
    return pool_posterior(task.replace(prior=dataclasses.replace(task.prior, size=size)), prompts).predictive


NEAR_MISSES = (
    NearMiss("tempered", "tempered posterior", ((0.3, 0.6), (1.8, 3.0)), tempered, has_latents),
    NearMiss(
        "wrong_noise",
        "posterior with a wrong noise",
        ((0.3, 0.6), (1.6, 3.0)),
        wrong_noise,
        lambda task: has_latents(task) and hasattr(task, "noise"),
    ),
    NearMiss(
        "matched_moments",
        "Gaussian with the pool's moments",
        ((1.0, 1.0),),
        lambda task, prompts, strength: matched_moments(task, prompts),
        lambda task: has_pool(task) and has_real_outcomes(task),
    ),
    NearMiss("half_pool", "posterior over a part of the pool", ((0.4, 0.9),), half_a_pool, has_pool),
)


@exact(static=("family",))
def near_miss_answers(family: NearMiss, task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
    """Compute the answers of one near miss."""
    return family.predict(task, prompts, strength).answer()
