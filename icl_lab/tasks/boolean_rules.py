"""Boolean rules that must be identified in context: conjunctions, literals, parities, and what a table adds."""

import dataclasses
import functools
import itertools
import math
from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Array, Bool, Float, Int

from icl_lab.core.prompts import Categorical
from icl_lab.tasks.base import Pool, Population, Task, static, task_dataclass


class RuleTable(ABC):
    """A class of rules, numbered from 0. A new one is a subclass with `count` and `holds` and a line in RULES.

    Methods are given the task, whose fields are the settings; `index` may be traced, the count may not.
    """

    @abstractmethod
    def count(self, task: "BooleanRules") -> int:
        """Number of rules about `task.bits` bits.

        Raises:
            ValueError: settings that fit no rule, as "field: what is wrong".
        """

    @abstractmethod
    def holds(self, task: "BooleanRules", index: Array, x: Float[Array, "*batch bit"]) -> Bool[Array, "*batch"]:
        """Whether rule number `index` is true of inputs; a bit is set where x > 0."""

    def features(self, task: "BooleanRules", index: Array) -> Float[Array, " feature"]:
        """What rule number `index` says, as numbers. Default: its truth table over all 2^n inputs."""
        return self.holds(task, index, task.all_inputs()).astype(jnp.float32)

    def log_prior(self, task: "BooleanRules", index: Array) -> Array:
        """Log probability of rule number `index` in the prior by length. Default: equal."""
        return jnp.full(jnp.shape(index), -math.log(self.count(task)))

    def draw(self, task: "BooleanRules", key: Array) -> Int[Array, ""]:
        """The number of a rule drawn from `log_prior`. Default: by a look at every rule."""
        return jax.random.categorical(key, self.log_prior(task, jnp.arange(self.count(task))))


class Conjunctions(RuleTable):
    """All 3^n conjunctions of literals: base-3 digit j of the index says that bit j is absent, asked to be set, or not.

    By length a bit is absent with probability a and either literal with (1 − a)/2:
    P = a^{n−l} ((1 − a)/2)^l of l literals, the equal prior if a = 1/3. The empty conjunction is true of everything.
    """

    def count(self, task: "BooleanRules") -> int:
        return 3**task.bits

    def _literals(self, task: "BooleanRules", index: Array) -> Int[Array, "*batch bit"]:
        """0 absent, 1 set, 2 not set."""
        return (index[..., None] // 3 ** jnp.arange(task.bits)) % 3

    def holds(self, task: "BooleanRules", index: Array, x: Float[Array, "*batch bit"]) -> Bool[Array, "*batch"]:
        literals = self._literals(task, index)
        return ((literals == 0) | ((literals == 1) == (x > 0))).all(-1)

    def features(self, task: "BooleanRules", index: Array) -> Float[Array, " feature"]:
        """Of every bit whether it is to be set, not to be set, or absent."""
        return jax.nn.one_hot((self._literals(task, index) - 1) % 3, 3).ravel()

    def log_prior(self, task: "BooleanRules", index: Array) -> Array:
        length = (self._literals(task, index) > 0).sum(-1)
        return length * jnp.log((1 - task.absent) / 2) + (task.bits - length) * jnp.log(task.absent)

    def draw(self, task: "BooleanRules", key: Array) -> Int[Array, ""]:
        present_key, sign_key = jax.random.split(key)
        present = jax.random.bernoulli(present_key, 1 - task.absent, (task.bits,))
        literals = present * jax.random.randint(sign_key, (task.bits,), 1, 3)
        return (literals * 3 ** jnp.arange(task.bits)).sum()


class Literals(RuleTable):
    """The 2n literals, or dictators: rule 2j says that bit j is set, rule 2j + 1 that it is not.

    Over one bit the two contradict each other at every input: an example moves their log-odds by ±log[(1 − η)/η].
    """

    def count(self, task: "BooleanRules") -> int:
        return 2 * task.bits

    def holds(self, task: "BooleanRules", index: Array, x: Float[Array, "*batch bit"]) -> Bool[Array, "*batch"]:
        return (jnp.take(x, index // 2, axis=-1) > 0) ^ (index % 2 == 1)

    def features(self, task: "BooleanRules", index: Array) -> Float[Array, " feature"]:
        """As of a conjunction: of every bit whether it is to be set, not to be set, or absent."""
        return jax.nn.one_hot(jnp.where(jnp.arange(task.bits) == index // 2, index % 2, 2), 3).ravel()


class Parities(RuleTable):
    """Parities of k of the n bits: true if an odd number of them is set. All 2^n subsets if k is None.

    Subsets count in lexicographic order; all 2^n as binary numbers, bit 0 the lowest. Of k bits all have one length,
    so that the two priors are the same; of any number the equal prior serves as both.
    """

    def count(self, task: "BooleanRules") -> int:
        if task.sparsity is None:
            return 2**task.bits
        if task.sparsity > task.bits:
            raise ValueError(f"sparsity: {task.sparsity} bits cannot be chosen of {task.bits}; use at most {task.bits}")
        return math.comb(task.bits, task.sparsity)

    def holds(self, task: "BooleanRules", index: Array, x: Float[Array, "*batch bit"]) -> Bool[Array, "*batch"]:
        chosen = jnp.asarray(_subsets(task.bits, task.sparsity))[index]
        return (chosen & (x > 0)).sum(-1) % 2 == 1

    def features(self, task: "BooleanRules", index: Array) -> Float[Array, " feature"]:
        """Of every bit whether it counts."""
        return jnp.asarray(_subsets(task.bits, task.sparsity), jnp.float32)[index]


@functools.cache
def _subsets(bits: int, size: int | None) -> np.ndarray:
    """Subsets of a size, or all of them, [subset, bit]."""
    if size is None:
        return (np.arange(2**bits)[:, None] >> np.arange(bits)) & 1 == 1
    return np.array([np.isin(np.arange(bits), subset) for subset in itertools.combinations(range(bits), size)])


NEVER = -1e9  # log probability of what cannot be, finite so that sums of weights stay so
RULES: dict[str, RuleTable] = {"conjunction": Conjunctions(), "literal": Literals(), "parity": Parities()}


@task_dataclass
class BooleanRules(Task):
    """y_i = 1 if a hidden rule is true of the bits x_i ∈ {−1, 1}^n, else 0; flipped with probability η.

    Example with 3 bits and the conjunction of "bit 0 is set" and "bit 2 is not":

        (1, 1, −1) → 1        (1, −1, 1) → 0        (1, −1, −1) → ? (1)

    The latent is the number of the rule. Balanced inputs are drawn *after* the rule, from the inputs of which it is
    true or from the others, each half of the time: an input then is evidence about the rule before its label is seen
    (of a long conjunction the same few inputs come again and again), and the exact posterior counts it.

    The shifted regime moves inputs, not rules: outcomes follow the rule on the shifted bits, and labels of balanced
    inputs are not balanced there.

    Attributes:
        bits: number n of bits.
        rules: a name in RULES: "conjunction" of literals, "literal" alone, or "parity" of a few bits.
        sparsity: number k of bits in a parity; None: any number, all 2^n parities. Conjunctions do without it.
        inputs: "uniform" over all 2^n, or "balanced": half of the time uniform over those that make the rule true, half
            of the time over the others; uniform over all where one of the two sets is empty.
        prior_over_rules: "uniform", or "by_length", see `RuleTable.log_prior`.
        absent: probability that a bit is absent from a conjunction drawn by length.
        noise: probability η that a label is flipped.

    Source: Bhattamishra et al. 2023, "Understanding in-context learning in transformers and LLMs by learning to learn
    discrete functions", whose conjunctions have absent = .7.
    """

    bits: Annotated[int, Ge(1), Le(10)] = static(default=6)
    rules: str = static(default="conjunction")
    sparsity: Annotated[int, Ge(1), Le(10)] | None = static(default=2)
    inputs: Literal["uniform", "balanced"] = static(default="uniform")
    prior_over_rules: Literal["uniform", "by_length"] = static(default="uniform")
    absent: Annotated[float, Gt(0), Lt(1)] = 0.7
    noise: Annotated[float, Ge(0), Lt(0.5)] = 0.0

    @property
    def table(self) -> RuleTable:
        """The class of rules.

        Raises:
            ValueError: `rules` is no name in RULES.
        """
        if self.rules not in RULES:
            raise ValueError(f"rules: {self.rules!r} is no class of rules; give one of {', '.join(RULES)}")
        return RULES[self.rules]

    @property
    def support(self) -> int:
        return self.table.count(self)

    def latent_at(self, index: Array) -> Int[Array, ""]:
        return index

    def latent_features(self, latent: Int[Array, ""]) -> Float[Array, " feature"]:
        """What the rule says, see `RuleTable.features`."""
        return self.table.features(self, latent)

    def log_prior(self, index: Array) -> Array:
        if self.prior_over_rules == "uniform":
            return jnp.full(jnp.shape(index), -math.log(self.support))
        return self.table.log_prior(self, index)

    def draw_latent(self, key: Array) -> Int[Array, ""]:
        """The number of a rule, drawn from `log_prior`."""
        if self.prior_over_rules == "uniform":
            return jax.random.randint(key, (), 0, self.support)
        return self.table.draw(self, key)

    def holds(self, latent: Array, x: Float[Array, "*batch bit"]) -> Bool[Array, "*batch"]:
        """Whether the rule is true of inputs."""
        return self.table.holds(self, latent, x)

    def all_inputs(self) -> Float[Array, "input bit"]:
        """The 2^n inputs; bit 0 is the lowest of their number."""
        return jnp.where(jnp.asarray(_subsets(self.bits, None)), 1.0, -1.0)

    def draw_inputs(self, key: Array, latent: Array) -> Float[Array, "position bit"]:
        if self.inputs == "uniform":
            return jax.random.rademacher(key, (self.positions, self.bits), jnp.float32)
        side_key, rank_key = jax.random.split(key)
        every = self.all_inputs()
        holds = self.holds(latent, every)
        true, size = holds.sum(), len(every)
        side = jax.random.bernoulli(side_key, 0.5, (self.positions,))
        side = (side & (true > 0)) | (true == size)
        rank = jax.random.randint(rank_key, (self.positions,), 0, jnp.where(side, true, size - true))
        true_first = jnp.argsort(~holds)
        return every[true_first[rank + jnp.where(side, 0, true)]]

    def input_log_prob(self, latent: Array, x: Array, y: Array) -> Array:
        """Of balanced inputs log ½/#{x': the rule says of x' what it says of x}; of uniform ones, which say nothing, 0.

        Uniform over all 2^n for a rule that says the same of everything.
        """
        if self.inputs == "uniform":
            return super().input_log_prob(latent, x, y)
        true, size = self.holds(latent, self.all_inputs()).sum(), 2**self.bits
        alike = jnp.where(self.holds(latent, x), true, size - true)
        half = jnp.where((true > 0) & (true < size), 0.5, 1.0)
        return jnp.log(half / jnp.maximum(alike, 1))

    def outcome(self, latent: Array, x: Array) -> Categorical:
        share = jnp.where(self.holds(latent, x), 1 - self.noise, self.noise)
        return Categorical(jnp.log(jnp.maximum(jnp.stack([1 - share, share], axis=-1), 1e-30)))

    def noisier(self, strength: float) -> "BooleanRules":
        return self.replace(noise=self.noise + strength - 2 * self.noise * strength)

    def features(self, x: Array) -> Float[Array, "*batch position feature"]:
        """The bits and a constant 1, so that linear learners have an intercept."""
        return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)

    def unseen(self) -> "BooleanRules":
        """The same task with the rules that its pool leaves out; with all of them where it leaves out none."""
        if not isinstance(self.prior, Pool):
            return self
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return OtherRules(**own | {"prior": Population()}, left_out=self._in_pool(self.prior.size))

    def _in_pool(self, size: int | Array) -> Bool[Array, " rule"]:
        """Which rules the pool holds."""

        def mark(member: Array, marked: Array) -> Array:
            return marked.at[self.pool_latent(member)].set(True)

        return jax.lax.fori_loop(0, size, mark, jnp.zeros(self.support, bool))

    def shift_inputs(self, x: Array) -> Array:
        """Every bit is also set where the bit before it is (the last before the first): more set bits, in runs."""
        return jnp.maximum(x, jnp.roll(x, 1, axis=-1))


@task_dataclass
class OtherRules(BooleanRules):
    """Boolean rules but for some, or all where these would be all; the prior of the others keeps its proportions.

    Attributes:
        left_out: which, [rule].
    """

    left_out: Any = None

    def log_prior(self, index: Array) -> Array:
        return jnp.where(self.left_out[index] & ~self.left_out.all(), NEVER, super().log_prior(index))

    def draw_latent(self, key: Array) -> Int[Array, ""]:
        return jax.random.categorical(key, self.log_prior(jnp.arange(self.support)))
