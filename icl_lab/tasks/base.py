"""What a task is: three functions, from which sampling, likelihood, the pool posterior and retrieval follow."""

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.prompts import Predictions, Prompts
from icl_lab.streams import stream


def static(default: Any) -> Any:
    """A task field that fixes shapes or code paths: part of the compiled program, not of its data."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static,))
def task_dataclass(cls: type) -> type:
    """Frozen dataclass and pytree: `static(...)` fields are structure, all others are data that may vary by member."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    structure = [f.name for f in dataclasses.fields(cls) if f.metadata.get("static")]
    data = [f.name for f in dataclasses.fields(cls) if not f.metadata.get("static")]
    return jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=structure)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Population:
    """Every prompt draws a fresh latent."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
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


Prior = Population | Pool
AnyTask = TypeVar("AnyTask", bound="Task")


@task_dataclass
class Task(ABC):
    """A distribution over prompts.

    A new task writes `draw_latent`, `draw_inputs` and `outcome`; everything below them follows. Overrides that pay:
    `population_predictive` (closed form), `features`, `shift_inputs`, `input_log_prob`.
    """

    __no_type_check__ = True  # fields may be traced; functions check shapes

    examples: int = static(default=12)
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

    def shift_inputs(self, x: Array) -> Array:
        """The lab's standard change of inputs at test time. Default: half as large again."""
        return 1.5 * x

    def population_predictive(self, prompts: Prompts) -> Predictions | None:
        """Exact predictive under the population prior, or None where no closed form is known."""
        return None

    # -- what follows ------------------------------------------------------------------------------------------------

    @property
    def positions(self) -> int:
        """Positions of a prompt: its examples and the last query."""
        return self.examples + 1

    @property
    def inputs_size(self) -> int:
        """Number of features of one input."""
        shape = jax.eval_shape(lambda: self.sample(jax.random.key(0), 1).x)
        return shape.shape[-1]

    def replace(self: AnyTask, **changes: Any) -> AnyTask:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def fresh(self: AnyTask) -> AnyTask:
        """The same task with latents drawn from the population."""
        return self.replace(prior=Population())

    def draw_prior_latent(self, key: Array) -> Any:
        """One latent from the prior: the population, or a uniformly chosen pool member."""
        if isinstance(self.prior, Population):
            return self.draw_latent(key)
        return self.draw_latent(self.prior.key(jax.random.randint(key, (), 0, self.prior.size)))

    def sample(self, key: Array, batch: int, shifted: bool | Array = False) -> Prompts:
        """A batch of prompts from the prior; with `shifted`, their inputs pass through `shift_inputs` first."""

        def one(key: Array) -> tuple[Any, Array, Array]:
            latent_key, inputs_key, outcome_key = jax.random.split(key, 3)
            latent = self.draw_prior_latent(latent_key)
            x = self.draw_inputs(inputs_key, latent)
            x = jnp.where(shifted, self.shift_inputs(x), x)
            return latent, x, self.outcome(latent, x).sample(outcome_key)

        latent, x, y = jax.vmap(one)(jax.random.split(key, batch))
        return Prompts(x=x, y=y, latent=latent, scored=jnp.ones(y.shape, bool))

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
        """The smallest outcome difference that matters: a tenth of the outcomes' standard deviation."""
        return 0.1 * jnp.std(self.fresh().sample(jax.random.key(0), 1024).y)

    def unit(self, prompts: Prompts) -> Float[Array, "batch position"]:
        """Variance in which distances between learners are measured, max(exact predictive variance, resolution²).

        The exact predictive is the population's where it has a closed form, else the training prior's; where neither
        is known the resolution alone. The same for all learners and hypotheses.
        """
        exact = self.population_predictive(prompts)
        exact = self.posterior_predictive(prompts) if exact is None else exact
        variance = 0.0 if exact is None else exact.variance  # pyrefly: ignore[missing-attribute]
        return jnp.maximum(variance, self.resolution() ** 2) * jnp.ones(prompts.y.shape)
