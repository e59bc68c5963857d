"""Imbalanced labels: one class far more often than the other, or most labels above zero, by the choice of inputs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.derived import Derived
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import BooleanRules, LinearRegression, Pool, Task, task_dataclass


@task_dataclass
class Imbalanced(Derived):
    """The task with inputs chosen so that a given share of the examples, and half of the queries, have one label.

    Inputs are then evidence about the latent, and the posterior over an enumerable prior includes it.
    """

    share: Any = 0.5

    def _shares(self) -> Float[Array, " position"]:
        return jnp.full(self.positions, self.share).at[-1].set(0.5)

    @property
    def support(self) -> int:
        return 0 if isinstance(self.prior, Pool) else self.base.support

    def latent_at(self, index: Array) -> Any:
        return self.base.latent_at(index)

    def log_prior(self, index: Array) -> Array:
        return self.base.log_prior(index)

    def pool_latent(self, index: Array) -> Any:
        return self.base.pool_latent(index)


@task_dataclass
class ImbalancedRules(Imbalanced):
    """Boolean rules: inputs are uniform where the rule is true, and where it is false: p(x) = share/#{x' : true}."""

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        side_key, pick_key = jax.random.split(key)
        every = self.base.all_inputs()  # pyrefly: ignore[missing-attribute]
        holds = self.base.holds(latent, every)  # pyrefly: ignore[missing-attribute]
        side = jax.random.bernoulli(side_key, self._shares())
        side = jnp.where(holds.all(), True, side & holds.any())
        allowed = jnp.where(holds == side[:, None], 0.0, -jnp.inf)
        return every[jax.random.categorical(pick_key, allowed)]

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        every = self.base.all_inputs()  # pyrefly: ignore[missing-attribute]
        holds, own = self.base.holds(latent, every), self.base.holds(latent, x)  # pyrefly: ignore[missing-attribute]
        true, size = holds.sum(), len(every)
        share = jnp.where(own, self._shares(), 1 - self._shares())
        share = jnp.where((true > 0) & (true < size), share, 1.0)
        return jnp.log(share / jnp.maximum(jnp.where(own, true, size - true), 1))


@task_dataclass
class ImbalancedRegression(Imbalanced):
    """Linear regression: inputs are reflected, x → −x, so that w·x > 0 in the given share of the examples.

    Inputs are symmetric about 0, so p(x | w) = 2 p(x) share if w·x > 0, and 2 p(x)(1 − share) otherwise.
    """

    def _above(self, latent: Any, x: Float[Array, "position feature"]) -> Array:
        return self.base.outcome(latent, x).mean_target()[..., 0] > 0

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        draw_key, side_key = jax.random.split(key)
        x = self.base.draw_inputs(draw_key, latent)
        side = jax.random.bernoulli(side_key, self._shares())
        return jnp.where((self._above(latent, x) == side)[:, None], x, -x)

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        share = jnp.where(self._above(latent, x), self._shares(), 1 - self._shares())
        return self.base.input_log_prob(latent, x, y) + jnp.log(2 * share)


def _applies(task: Task) -> str:
    if isinstance(task, LinearRegression):
        return (
            "" if isinstance(task.prior, Pool) else "inputs would be evidence about weights that cannot be enumerated"
        )
    if not isinstance(task, BooleanRules):
        return f"the labels of {type(task).__name__} cannot be chosen by way of its inputs"
    return "" if task.rules == "conjunction" else "the rules are true of half of the inputs; conjunctions are not"


def _imbalanced(task: Any, strength: Strength) -> Task:
    """Return the task with that share of the commoner label; in training it is ½."""
    kind = ImbalancedRegression if isinstance(task, LinearRegression) else ImbalancedRules
    return kind(examples=task.examples, prior=task.prior, base=task, share=strength)


IMBALANCE = Perturbation(
    name="imbalance",
    title="imbalanced labels",
    question="does the majority label weigh more than the posterior gives it?",
    unit="share of examples for which the rule is true (real outcomes: above zero)",
    strengths=(0.5, 0.75, 0.9),
    standard=0.9,
    applies=_applies,
    task=_imbalanced,
    prompts=lambda task, prompts, key, strength: last_only(prompts),
)
