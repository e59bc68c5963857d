"""Linear rules of modular arithmetic, of which some may be left out of training, and pairs of inputs likewise."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Le, Lt
from jaxtyping import Array, Float, Int

from icl_lab.core.prompts import Categorical
from icl_lab.core.streams import stream
from icl_lab.tasks.base import Pool, Task, static, task_dataclass


@task_dataclass
class ModularRules(Task):
    """z = a·x₁ + b·x₂ mod p for a hidden rule (a, b); with probability η a uniformly drawn class instead.

    Example with p = 5, η = 0 and the rule (2, 1):

        (1, 0) → 2        (0, 3) → 3        (1, 3) → ? (0)

    Inputs are the one-hots of x₁ and x₂ side by side. Softmax regression on them adds what x₁ says to what x₂ says, so
    that no rule with a and b other than 0 is within its reach.

    All p² rules are equally likely in the population. A pool consists of the first M of a permutation of them that its
    seed draws: its rules are distinct, and the other p² − M are the rules of `unseen()`. Past the last of the
    permutation it goes on with the first.

    The shifted regime asks about pairs of equal numbers, x₂ := x₁, whose outcomes tell a + b only.

    Attributes:
        modulus: p. Fractions of numbers, which some learners use, need a prime.
        noise: η.
        skip: number of rules at the head of the permutation that the pool leaves out.
        held_out: share of the p² pairs (x₁, x₂) set aside, the same whatever the seed.
        inputs: pairs are drawn uniformly from "all" of them, from those for "training", or from those "held_out".

    Source: He et al. 2024, "Learning to grok: emergence of in-context learning and skill composition in modular
    arithmetic tasks", who split both rules and pairs.
    """

    modulus: Annotated[int, Ge(2), Le(31)] = static(default=7)
    noise: Annotated[float, Ge(0), Lt(1)] = 0.0
    skip: Annotated[int, Ge(0)] = 0
    held_out: Annotated[float, Ge(0), Lt(1)] = static(default=0.0)
    inputs: Literal["all", "training", "held_out"] = static(default="all")

    @property
    def support(self) -> int:
        return self.modulus**2

    def latent_at(self, index: Array) -> Int[Array, "*batch 2"]:
        """(a, b) with index = a·p + b."""
        return jnp.stack(jnp.divmod(index, self.modulus), axis=-1)

    def draw_latent(self, key: Array) -> Int[Array, "2"]:
        return self.latent_at(jax.random.randint(key, (), 0, self.support))

    def latent_features(self, latent: Int[Array, "2"]) -> Float[Array, " feature"]:
        """One-hots of a and b."""
        return jax.nn.one_hot(latent, self.modulus).ravel()

    def pool_latent(self, index: Array) -> Int[Array, "*batch 2"]:
        """Rule number skip + index of the permutation."""
        assert isinstance(self.prior, Pool)
        order = jax.random.permutation(stream(self.prior.seed, "pool"), self.support)
        return self.latent_at(order[(self.skip + index) % self.support])

    def unseen(self) -> "ModularRules":
        """The same task with the rules that its pool leaves out as a pool of their own; all of them if it has none."""
        if not isinstance(self.prior, Pool) or (isinstance(self.prior.size, int) and self.prior.size >= self.support):
            return self.fresh()
        if isinstance(self.prior.size, int):
            rest, skip = self.support - self.prior.size, self.skip + self.prior.size
        else:  # traced: a pool of all rules that begins where this one does is all of them, too
            full = self.prior.size >= self.support
            rest = jnp.where(full, self.support, self.support - self.prior.size)
            skip = self.skip + jnp.where(full, 0, self.prior.size)
        return self.replace(prior=Pool(rest, self.prior.seed), skip=skip)

    def noisier(self, strength: float) -> "ModularRules":
        """A share `strength` of the labels is drawn anew."""
        return self.replace(noise=self.noise + strength - self.noise * strength)

    def pairs(self) -> Int[Array, "pair 2"]:
        """The pairs (x₁, x₂) that inputs are drawn from.

        Raises:
            ValueError: there are none.
        """
        order = jax.random.permutation(stream(0, "held out pairs"), self.support)
        count = round(self.held_out * self.support)
        chosen = {"all": order, "training": order[count:], "held_out": order[:count]}[self.inputs]
        if not len(chosen):
            raise ValueError(f"held_out: {self.held_out} of {self.support} pairs leaves none for {self.inputs} inputs")
        return self.latent_at(chosen)

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        pairs = self.pairs()
        drawn = pairs[jax.random.randint(key, (self.positions,), 0, len(pairs))]
        return jax.nn.one_hot(drawn, self.modulus).reshape(self.positions, -1)

    def numbers(self, x: Float[Array, "*batch feature"]) -> Int[Array, "*batch 2"]:
        """(x₁, x₂) of inputs."""
        return x.reshape(*x.shape[:-1], 2, self.modulus).argmax(-1)

    def outcome(self, latent: Array, x: Float[Array, "position feature"]) -> Categorical:
        z = (self.numbers(x) * latent).sum(-1) % self.modulus
        share = (1 - self.noise) * jax.nn.one_hot(z, self.modulus) + self.noise / self.modulus
        return Categorical(jnp.log(jnp.maximum(share, 1e-30)))

    def shift_inputs(self, x: Array) -> Array:
        """x₂ := x₁."""
        first = x[..., : self.modulus]
        return jnp.concatenate([first, first], axis=-1)
