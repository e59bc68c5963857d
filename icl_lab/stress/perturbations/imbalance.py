"""One label far more often than the other."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.derived import Derived
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import BooleanRules, Pool, Task, task_dataclass


@task_dataclass
class Imbalanced(Derived):
    """Boolean rules whose inputs make the rule true in a share of the examples; the query's, in half of the prompts.

    Inputs are uniform among those of which the rule is true, or is not. They are evidence: p(x) = share / #{x' : true}.
    """

    share: Any = 0.5

    def _shares(self) -> Float[Array, " position"]:
        return jnp.full(self.positions, self.share).at[-1].set(0.5)

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

    @property
    def support(self) -> int:
        return 0 if isinstance(self.prior, Pool) else self.base.support

    def latent_at(self, index: Array) -> Any:
        return self.base.latent_at(index)

    def log_prior(self, index: Array) -> Array:
        return self.base.log_prior(index)

    def pool_latent(self, index: Array) -> Any:
        return self.base.pool_latent(index)


def _applies(task: Task) -> str:
    if not isinstance(task, BooleanRules):
        return f"the labels of {type(task).__name__} cannot be chosen by way of its inputs"
    return "" if task.rules == "conjunction" else "the rules are true of half of the inputs; conjunctions are not"


def _imbalanced(task: Any, strength: Strength) -> Task:
    """Examples of which the rule is true have that share; balanced training inputs are the share of ½."""
    return Imbalanced(examples=task.examples, prior=task.prior, base=task, share=strength)


IMBALANCE = Perturbation(
    name="imbalance",
    title="imbalanced labels",
    question="does the majority label weigh more than the posterior gives it?",
    unit="share of examples of which the rule is true",
    strengths=(0.5, 0.75, 0.9),
    standard=0.9,
    applies=_applies,
    task=_imbalanced,
    prompts=lambda task, prompts, key, strength: last_only(prompts),
)
