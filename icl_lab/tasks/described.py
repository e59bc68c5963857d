"""Prompts that begin with a statement of their task: instructions beside demonstrations."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks.base import Pool, Task, static, task_dataclass
from icl_lab.tasks.wrapped import Wrapped

NAMELESS = -1  # the number of a latent that the pool does not hold


@task_dataclass
class Described(Wrapped, Task):
    """The task `base` with a description that names a member of the pool: a one-hot vector over `names` members.

    Example with a pool of four chains and error ρ = .1: a prompt of chain 2 says 0 0 1 0 with probability .9, and names
    one of the other three, each as likely, with .1. With probability `dropout`, and for latents that the pool does not
    hold, there is no description, only zeros. Given that there is one, member m of M has the evidence

        log p(n | m) = log(1 − ρ) if n = m, else log ρ/(M − 1).

    Whether there is one says nothing about which member it is. A latent holds the member's number and the latent of the
    base.

    Attributes:
        base: the task described; its number of examples and its prior are those of this one, not its own.
        names: channels of a description, as many as the pool has members at least.
        error: ρ.
        dropout: share of prompts without a description.
    """

    base: Task = None  # pyrefly: ignore[bad-assignment]
    names: Annotated[int, Ge(1), Le(64)] = static(default=64)
    error: Annotated[float, Ge(0), Le(1)] = 0.0
    dropout: Annotated[float, Ge(0), Le(1)] = 0.0

    @property
    def plain(self) -> Task:
        """The base with this task's examples and prior."""
        return self.base.replace(examples=self.examples, prior=self.prior)

    @property
    def memory(self) -> int:
        return self.plain.memory

    @property
    def graph(self) -> tuple[int, ...] | None:
        return self.plain.graph

    def why_not(self) -> str:
        """What is wrong with the base."""
        return self.plain.why_not()

    # -- descriptions ------------------------------------------------------------------------------------------------

    def describe(self, key: Array, latent: Any) -> Float[Array, " name"]:
        """The one-hot name of the latent, or of another member, or zeros.

        Raises:
            ValueError: the pool has more members than there are names (where its size is no traced value).
        """
        member, members = latent["member"], self._members
        if not isinstance(members, jax.core.Tracer) and int(members) > self.names:
            raise ValueError(f"names: {self.names} are too few for a pool of {int(members)}; give one per member")
        wrong_key, other_key, dropped_key = jax.random.split(key, 3)
        other = (member + jax.random.randint(other_key, (), 1, jnp.maximum(members, 2))) % members
        named = jnp.where(jax.random.bernoulli(wrong_key, self.error), other, member)
        said = (member != NAMELESS) & ~jax.random.bernoulli(dropped_key, self.dropout)
        return said * jax.nn.one_hot(named, self.names)

    def description_log_prob(self, latent: Any, description: Float[Array, " name"]) -> Float[Array, ""]:
        right = description[latent["member"]] > 0
        others = jnp.maximum(self._members - 1, 1)
        evidence = jnp.where(right, jnp.log1p(-jnp.asarray(self.error)), jnp.log(self.error / others))
        return jnp.where(description.any(), evidence, 0.0)

    @property
    def _members(self) -> Any:
        return self.prior.size if isinstance(self.prior, Pool) else 1

    # -- latents with a number ---------------------------------------------------------------------------------------

    def draw_latent(self, key: Array) -> dict[str, Any]:
        return {"member": jnp.asarray(NAMELESS), "latent": self.plain.draw_latent(key)}

    def pool_latent(self, index: Array) -> dict[str, Any]:
        return {"member": jnp.asarray(index), "latent": self.plain.pool_latent(index)}

    def latent_features(self, latent: Any) -> Float[Array, " feature"]:
        """Those of the base's latent."""
        return self.plain.latent_features(latent["latent"])

    def shift_latent(self, latent: Any) -> Any:
        return {"member": jnp.asarray(NAMELESS), "latent": self.plain.shift_latent(latent["latent"])}

    def unseen(self) -> "Described":
        base = self.plain.unseen()
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Nameless(**own | {"base": base, "prior": base.prior})

    # -- the base's answers ------------------------------------------------------------------------------------------

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        return self.plain.draw_inputs(key, latent["latent"])

    def draw_pairs(self, latent: Any, x: Float[Array, "position feature"], key: Array) -> tuple[Array, Array]:
        return self.plain.draw_pairs(latent["latent"], x, key)

    def outcome(self, latent: Any, x: Float[Array, "position feature"]) -> Predictions:
        return self.plain.outcome(latent["latent"], x)

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        return self.plain.input_log_prob(latent["latent"], x, y)

    def features(self, x: Array) -> Array:
        return self.plain.features(x)

    def feed(self, y: Array) -> Float[Array, "*batch feature"]:
        return self.plain.feed(y)

    def shift_inputs(self, x: Array) -> Array:
        return self.plain.shift_inputs(x)

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        found = self.plain.reorder(key, prompts.replace(latent=prompts.latent["latent"]))
        return found.replace(latent={"member": prompts.latent["member"], "latent": found.latent})

    def population_predictive(self, prompts: Prompts) -> Predictions | None:
        """That of the base: no description names a latent that no pool holds."""
        return self.plain.fresh().population_predictive(prompts)


@task_dataclass
class Nameless(Described):
    """Latents that have no name: a prior, be it a pool of its own, outside the pool that the names are of."""

    def pool_latent(self, index: Array) -> dict[str, Any]:
        return {"member": jnp.asarray(NAMELESS), "latent": self.plain.pool_latent(index)}

    def describe(self, key: Array, latent: Any) -> Float[Array, " name"]:
        return jnp.zeros(self.names)
