"""What a task is: three functions, from which sampling, likelihood, the pool posterior and retrieval follow."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Annotated, Any, TypeVar

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float, Int

from icl_lab.core.outcomes import Outcomes, outcomes_of
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.core.streams import stream

task_dataclass = pytree_dataclass  # `static(...)` fields are structure, all others are data that may vary by member


@pytree_dataclass
class Population:
    """Every prompt draws a fresh latent."""


@pytree_dataclass
class Pool:
    """Every prompt draws one of `size` fixed latents.

    Member m is regenerated from `fold_in(stream(seed, "pool"), m)` and never stored, so the pool of size M is a subset
    of any larger pool of the same seed, and size is data: one compiled program serves all sizes.
    """

    __no_type_check__ = True  # fields may be traced

    size: int | Array
    seed: int | Array = 0

    def key(self, index: Array) -> Array:
        """The key that draws member `index`."""
        return jax.random.fold_in(stream(self.seed, "pool"), index)


def random_order(key: Array, prompts: Prompts) -> Int[Array, "batch position"]:
    """A random order of the examples of every prompt, the last query last."""
    last = prompts.positions - 1

    def one(key: Array) -> Array:
        return jnp.append(jax.random.permutation(key, last), last)

    return jax.vmap(one)(jax.random.split(key, prompts.y.shape[0]))


def reordered(prompts: Prompts, order: Int[Array, "batch position"]) -> Prompts:
    """The pairs of every prompt in the order given; latents stay."""

    def take(leaf: Array) -> Array:
        return jax.vmap(lambda row, index: row[index])(leaf, order)

    return prompts.replace(x=take(prompts.x), y=take(prompts.y), scored=take(prompts.scored))


Prior = Population | Pool
AnyTask = TypeVar("AnyTask", bound="Task")


@task_dataclass
class Task(ABC):
    """A distribution over prompts.

    A new task writes `draw_latent`, `draw_inputs` and `outcome`; everything below them follows. Overrides that pay:
    `population_predictive` (closed form) or `support`, `latent_at` and `log_prior` (a population that can be
    enumerated), `features`, `feed` (streams), `shift_inputs`, `shift_latent`, `reorder`, `input_log_prob`, `describe`,
    `latent_features`.
    """

    __no_type_check__ = True  # fields may be traced; functions check shapes

    examples: Annotated[int, Ge(1)] = static(default=12)
    prior: Prior = Population()

    # -- the three functions of a task -------------------------------------------------------------------------------

    @abstractmethod
    def draw_latent(self, key: Array) -> Any:
        """One latent from the population."""

    @abstractmethod
    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        """Inputs of one prompt, `self.positions` of them."""

    @abstractmethod
    def outcome(self, latent: Any, x: Float[Array, "position feature"]) -> Predictions:
        """Distribution of every outcome of one whole prompt, given the latent."""

    # -- what may be overridden --------------------------------------------------------------------------------------

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        """log p(x_i | latent, earlier pairs), [position]. Zero unless inputs carry evidence about the latent."""
        return jnp.zeros(x.shape[:-1])

    def features(self, x: Array) -> Array:
        """Features of the generalised linear learners, [..., position, feature]. Default: the inputs."""
        return x

    def feature_covariance(self) -> Float[Array, "feature feature"]:
        """E[φ φᵀ] of the training inputs. Default: estimated from 1024 prompts of the population."""
        phi = self.features(self.fresh().sample(jax.random.key(0), 1024).x)
        return jnp.einsum("bif,big->fg", phi, phi, precision="highest") / (phi.shape[0] * phi.shape[1])

    def feed(self, y: Array) -> Float[Array, "*batch feature"]:
        """The input that follows outcome y, x_{i+1} = feed(y_i). Only streams have one: sequences that feed themselves.

        Of a stream `draw_inputs` gives x_0 (and is overwritten from there on).
        """
        raise TypeError(f"{type(self).__name__} is no stream: its inputs do not follow from its outcomes")

    def why_not(self) -> str:
        """ "" if the fields make a distribution, else what is wrong, as "field: what is wrong". Default: nothing."""
        return ""

    def shift_inputs(self, x: Array) -> Array:
        """The lab's standard change at test time, of inputs. Default: half as large again; nothing for a stream."""
        return x if self.is_stream else 1.5 * x

    def shift_latent(self, latent: Any) -> Any:
        """The lab's standard change at test time, of latents. Default: nothing."""
        return latent

    def noisier(self: AnyTask, strength: float) -> AnyTask:
        """The same task with noisier labels: of classes a share `strength` more of them is wrong.

        Of real outcomes the variance of the noise grows by (4 · strength)² times what it was.

        Raises:
            TypeError: the task does not say what its label noise is.
        """
        raise TypeError(f"{type(self).__name__} has no label noise")

    def rescaled(self: AnyTask, scale: float) -> AnyTask:
        """The same task with latents from a prior `scale` times as wide.

        Raises:
            TypeError: latents have no scale.
        """
        raise TypeError(f"the latents of {type(self).__name__} have no scale")

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        """The same information in another order: the last query stays where it is.

        Default: a random permutation of the examples before the last query, another one in every prompt. A stream has
        no such order unless its class says which one.

        Raises:
            TypeError: a stream that has none.
        """
        if self.is_stream:
            raise TypeError(f"reorder: {type(self).__name__} is a stream, of which another order is another prompt")
        return reordered(prompts, random_order(key, prompts))

    def interpolate(self, first: Any, second: Any, share: Array | float) -> Any:
        """A latent between two: (1 − t)·first + t·second with t = `share`, leaf by leaf.

        Raises:
            TypeError: latents are discrete; there is nothing between them.
        """
        if not all(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in jax.tree.leaves((first, second))):
            raise TypeError(f"interpolate: the latents of {type(self).__name__} are discrete, nothing is between them")
        return jax.tree.map(lambda a, b: (1 - share) * a + share * b, first, second)

    def latent_features(self, latent: Any) -> Float[Array, " feature"]:
        """One latent as numbers that a linear read-out may look for. Default: its leaves, flat.

        Override it where a latent is a number that stands for something.
        """
        leaves = [jnp.ravel(jnp.asarray(leaf, jnp.float32)) for leaf in jax.tree.leaves(latent)]
        return jnp.concatenate(leaves)

    @property
    def ridge_penalty(self) -> Array | None:
        """λ, or λ per feature, with which ridge regression on `features` is the posterior mean. Default: none known."""
        return None

    def describe(self, key: Array, latent: Any) -> Any:
        """A statement of the task for the prompt, as arrays, possibly wrong. Default: none."""
        return None

    def description_log_prob(self, latent: Any, description: Any) -> Float[Array, ""]:
        """log p(description | latent) up to a constant, evidence from the first position on. Default: none."""
        return jnp.zeros(())

    @property
    def can_reorder(self) -> bool:
        """Whether `reorder` knows another order of the same evidence: a set of pairs, or a stream that says which."""
        return not self.is_stream or type(self).reorder is not Task.reorder

    @property
    def inputs_are_free(self) -> bool:
        """Whether any input may stand at any place, its outcome following from it and the latent. Not in a stream."""
        return not self.is_stream

    @property
    def memory(self) -> int:
        """Of a stream, how many of the latest outcomes the next one depends on beside the latent."""
        return 1

    @property
    def graph(self) -> tuple[int, ...] | None:
        """Of a stream whose state s_i depends on one state p(i) < i: p of s_0 … s_{N+1}, −1 for none. Default: None."""
        return None

    @property
    def latent_is_by_position(self) -> bool:
        """Whether the latent says of every position what stands there, so that it fits prompts of one length only."""
        return False

    @property
    def support(self) -> int:
        """Number of latents the population consists of, if they can be enumerated by `latent_at`; else 0."""
        return 0

    def latent_at(self, index: Array) -> Any:
        """Latent number `index` of an enumerable population."""
        raise TypeError(f"support: {type(self).__name__} cannot enumerate its latents")

    def log_prior(self, index: Array) -> Array:
        """Log prior probability of latent number `index`, up to a constant. Default: equal."""
        return jnp.zeros(jnp.shape(index))

    def pool_latent(self, index: Array) -> Any:
        """Member `index` of the pool. Default: regenerated from the pool's key for it."""
        assert isinstance(self.prior, Pool)
        return self.draw_latent(self.prior.key(index))

    def population_predictive(self, prompts: Prompts) -> Predictions | None:
        """Exact predictive under the population prior: a closed form or a sum over the support; None without either."""
        if not self.support:
            return None
        from icl_lab.tasks.pool import pool_posterior

        return pool_posterior(self.fresh(), prompts).predictive

    def weighted_predictive(
        self, prompts: Prompts, counts: Float[Array, "batch position example"]
    ) -> Predictions | None:
        """Posterior predictive under the training prior when example j counts as often as `counts` says at position i.

        Entries of j ≥ i are ignored: ones are the exact predictive, zeros forget the examples, e^{−γ(i−j)} forgets them
        by and by; an example of counts c has its likelihood to the power c. Default: a sum over a pool or over the
        support of an enumerable population, None without either.
        """
        if isinstance(self.prior, Population) and not self.support:
            return None
        from icl_lab.tasks.pool import pool_posterior

        return pool_posterior(self, prompts, counts).predictive

    # -- what follows ------------------------------------------------------------------------------------------------

    @property
    def positions(self) -> int:
        """Positions of a prompt: its examples and the last query."""
        return self.examples + 1

    @property
    def inputs_size(self) -> int:
        """Number of features of one input."""
        return self._shapes()[0].shape[-1]

    @property
    def outcomes(self) -> Outcomes:
        """The kind of outcome, as `outcome` answers."""
        return outcomes_of(self._shapes()[1])

    @property
    def is_stream(self) -> bool:
        """Whether inputs follow from earlier outcomes."""
        return type(self).feed is not Task.feed

    def _shapes(self) -> tuple[Any, Predictions]:
        """Shapes of one prompt's inputs and of its outcomes' distribution."""

        def one(key: Array) -> tuple[Array, Predictions]:
            latent = self.draw_latent(key)
            x = self.draw_inputs(key, latent)
            return x, self.outcome(latent, x)

        return jax.eval_shape(one, jax.random.key(0))

    def check(self, prompts: Prompts) -> None:
        """Raises TypeError or ValueError, in one line, for prompts of another kind of task."""
        self.outcomes.check(prompts.y)
        if prompts.x.shape[-1] != self.inputs_size:
            raise ValueError(
                f"x: inputs of {prompts.x.shape[-1]} features are not those of {type(self).__name__}, "
                f"which have {self.inputs_size}"
            )

    def replace(self: AnyTask, **changes: Any) -> AnyTask:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def fresh(self: AnyTask) -> AnyTask:
        """The same task with latents drawn from the population."""
        return self.replace(prior=Population())

    def unseen(self: AnyTask) -> AnyTask:
        """The same task with latents that its pool does not hold. Default: drawn from the population.

        Those are other ones where latents are continuous; a population that can be counted leaves its pool out by
        itself (Boolean and modular rules).
        """
        return self.fresh()

    def draw_prior_latent(self, key: Array) -> Any:
        """One latent from the prior: the population, or a uniformly chosen pool member."""
        if isinstance(self.prior, Population):
            return self.draw_latent(key)
        return self.pool_latent(jax.random.randint(key, (), 0, self.prior.size))

    def draw_pairs(self, latent: Any, x: Float[Array, "position feature"], key: Array) -> tuple[Array, Array]:
        """Inputs and outcomes of one prompt from the inputs drawn for it; a stream's inputs follow its outcomes.

        Outcome i depends on inputs up to x_i and its own noise only. With the noise fixed, one pass settles one more
        position: after as many passes as positions the whole stream is drawn. Override it where that is slow.
        """
        if not self.is_stream:
            return x, self.outcome(latent, x).sample(key)

        def settle(_: Array, x: Array) -> Array:
            return x.at[1:].set(self.feed(self.outcome(latent, x).sample(key)[:-1]))

        x = jax.lax.fori_loop(0, self.positions - 1, settle, x)
        return x, self.outcome(latent, x).sample(key)

    def sample(self, key: Array, batch: int, shifted: bool | Array = False) -> Prompts:
        """A batch of prompts from the prior; `shifted`: with `shift_latent` and `shift_inputs` applied."""

        def one(key: Array) -> tuple[Any, Array, Array, Any]:
            latent_key, inputs_key, outcome_key = jax.random.split(key, 3)
            description_key = jax.random.fold_in(key, 3)  # a fourth that leaves the three as they are
            latent = self.draw_prior_latent(latent_key)
            latent = jax.tree.map(lambda new, old: jnp.where(shifted, new, old), self.shift_latent(latent), latent)
            x = self.draw_inputs(inputs_key, latent)
            x = jnp.where(shifted, self.shift_inputs(x), x)
            return latent, *self.draw_pairs(latent, x, outcome_key), self.describe(description_key, latent)

        latent, x, y, description = jax.vmap(one)(jax.random.split(key, batch))
        return Prompts(x=x, y=y, latent=latent, scored=jnp.ones(y.shape, bool), description=description)

    def with_outcomes(self, prompts: Prompts, y: Array) -> Prompts:
        """The prompts with other outcomes, and in a stream the inputs that follow from them."""
        x = prompts.x.at[:, 1:].set(self.feed(y[:, :-1])) if self.is_stream else prompts.x
        return prompts.replace(x=x, y=y)

    def log_likelihood(self, latent: Any, prompts: Prompts) -> Float[Array, "batch position"]:
        """log p(x_i, y_i | latent, earlier pairs) of each prompt under its own latent (leading batch axis), nats."""

        def one(latent: Any, x: Array, y: Array) -> Array:
            return self.input_log_prob(latent, x, y) + self.outcome(latent, x).log_prob(y)

        return jax.vmap(one)(latent, prompts.x, prompts.y)

    def posterior_predictive(self, prompts: Prompts) -> Predictions | None:
        """Exact predictive under the training prior: streamed over a pool, closed form (or None) for the population."""
        if isinstance(self.prior, Population):
            return self.population_predictive(prompts)
        from icl_lab.tasks.pool import pool_posterior

        return pool_posterior(self, prompts).predictive

    def resolution(self) -> Array:
        """The smallest outcome difference that matters: a tenth of the standard deviation of targets."""
        return 0.1 * jnp.std(self.outcomes.targets(self.fresh().sample(jax.random.key(0), 1024).y))

    def unit(self, prompts: Prompts) -> Float[Array, "batch position"]:
        """Variance in which distances between learners are measured, max(exact predictive variance, resolution²).

        The exact predictive is the population's where it has a closed form, else the training prior's; where neither
        is known the resolution alone. The same for all learners and hypotheses. Distances between distributions over
        classes need none: it is 1 there.
        """
        if not self.outcomes.linear:
            return jnp.ones(prompts.y.shape)
        exact = self.population_predictive(prompts)
        exact = self.posterior_predictive(prompts) if exact is None else exact
        variance = 0.0 if exact is None else exact.variance  # pyrefly: ignore[missing-attribute]
        return jnp.maximum(variance, self.resolution() ** 2) * jnp.ones(prompts.y.shape)
