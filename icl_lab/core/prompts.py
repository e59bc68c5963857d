"""Prompts, and the predictions that answer them.

A prompt is a sequence of pairs (x_0, y_0), …, (x_N, y_N). The answer at position i may use the examples 0..i-1 and the
query x_i, and nothing later. Position N therefore has N examples in context. All arrays lead with a batch axis.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Shaped

from icl_lab.core.pytrees import pytree_dataclass

LOG_TWO_PI = 1.8378770664093453
SMALLEST_VARIANCE = 1e-10  # of a density, because a noiseless outcome is known only up to float32 rounding

Values = Array | np.ndarray  # stored predictions are numpy arrays, live ones jax arrays


@pytree_dataclass
class Prompts:
    """A batch of in-context problems (a pytree).

    Attributes:
        x: inputs, [batch, position, feature].
        y: outcomes, [batch, position]: real numbers, or integers from 0 for classes.
        latent: the latent variable behind the outcomes, a pytree with leading batch axis. Only oracles may use it.
        scored: which positions count, [batch, position].
        description: optional description of the task, a pytree with leading batch axis.
    """

    __no_type_check__ = True  # transformations put tracers, numpy arrays or None into fields; functions check shapes

    x: Float[Array, "batch position feature"]
    y: Shaped[Array, "batch position"]
    latent: Any
    scored: Bool[Array, "batch position"]
    description: Any = None

    @property
    def positions(self) -> int:
        """Number of positions, one more than the examples the last of them can use."""
        return self.x.shape[-2]

    def replace(self, **changes: Any) -> "Prompts":
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


class Predictions(ABC):
    """Predictions at every position. Subclasses are pytrees."""

    __no_type_check__ = True  # see Prompts

    @abstractmethod
    def log_prob(self, y: Values) -> Array:
        """Return the log density (or probability) of outcomes y, in nats, one value per position."""

    @abstractmethod
    def sample(self, key: Array) -> Array:
        """Sample one outcome per position."""

    @abstractmethod
    def loss(self, y: Values) -> Array:
        """Return the loss per position: squared error of the mean, or −log probability in nats."""

    @abstractmethod
    def mean_target(self) -> Array:
        """Return the expected target, [..., target]: the mean, or the probability of every class."""

    @abstractmethod
    def divergence(self, other: "Predictions", unit: Values) -> Array:
        """Return the distance to another learner's predictions in nats, one value per position.

        Regression: (mean − other.mean)² / (2·unit), where `unit` is one predictive variance for all learners compared,
        because distances in units of their own variances could not be compared. Categorical: KL(self ‖ other).
        """

    @abstractmethod
    def answer(self) -> "Predictions":
        """Return the part that distances depend on: a Point for regressions, a Categorical as it is."""

    @abstractmethod
    def blend(self, coefficients: Values) -> "Predictions":
        """Return Σ_g c_g · prediction_g over a leading axis; the c_g sum to 1.

        Means are blended for regressions, and log probabilities (then normalised) for categoricals. Coefficients
        [..., g] give several blends at once, with the same leading axes. Lagrange interpolation between neighbouring
        parameters uses this.
        """

    @abstractmethod
    def divergence_to_blends(
        self, parts: "Predictions", unit: Values, weight: Values
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function c ↦ Σ_n weight_n · divergence(self, parts.blend(c))_n, [blend, g] → [blend], in nats.

        Terms that do not depend on c are computed once, so that a blend costs little. Positions of weight 0 may hold
        anything; elsewhere the parts must be finite.
        """


class _Regression(Predictions):
    """Base of regressions, whose distance depends on means only."""

    mean: Array

    def loss(self, y: Values) -> Array:
        return jnp.square(self.mean - y)

    def mean_target(self) -> Array:
        return jnp.asarray(self.mean)[..., None]

    def divergence(self, other: Predictions, unit: Values) -> Array:
        if not isinstance(other, _Regression):
            raise TypeError(f"other: {type(other).__name__} cannot be compared with a regression; give real outcomes")
        return jnp.square(self.mean - other.mean) / (2 * unit)

    def answer(self) -> "Point":
        return Point(self.mean)

    def blend(self, coefficients: Values) -> "Point":
        return Point(jnp.tensordot(coefficients, self.mean, 1))

    def divergence_to_blends(
        self, parts: Predictions, unit: Values, weight: Values
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return c ↦ cᵀ R Rᵀ c with R_gn = (mean − parts.mean_g)_n (weight/2·unit)_n^½, since Σ_g c_g = 1."""
        if not isinstance(parts, _Regression):
            raise TypeError(f"parts: {type(parts).__name__} cannot be compared with a regression; give real outcomes")
        counts = np.asarray(weight) > 0
        scale = np.sqrt(np.broadcast_to(weight / (2 * np.asarray(unit, float)), counts.shape)[counts])
        residual = (np.asarray(self.mean)[counts] - np.asarray(parts.mean)[:, counts]) * scale
        gram = residual @ residual.T
        return lambda coefficients: np.einsum("tg,gh,th->t", coefficients, gram, coefficients)


@pytree_dataclass
class Point(_Regression):
    """A mean without a variance: gradient descent, nearest example, models trained on squared error."""

    mean: Float[Array, "*batch position"]

    def log_prob(self, y: Values) -> Array:
        """Raise TypeError: a point has no density. Score it by squared error."""
        raise TypeError("Point predictions have no density; score them by squared error or `divergence`")

    def sample(self, key: Array) -> Array:
        """Return the mean itself: a point mass."""
        return self.mean


@pytree_dataclass
class Gaussian(_Regression):
    """Normal predictive N(mean, variance) at each position. Densities use a variance of at least 1e-10."""

    mean: Float[Array, "*batch position"]
    variance: Float[Array, "*batch position"]

    def log_prob(self, y: Values) -> Array:
        variance = jnp.maximum(self.variance, SMALLEST_VARIANCE)
        return -0.5 * (jnp.square(y - self.mean) / variance + jnp.log(variance) + LOG_TWO_PI)

    def sample(self, key: Array) -> Array:
        noise = jax.random.normal(key, jnp.shape(self.mean), dtype=jnp.result_type(self.mean))
        return self.mean + jnp.sqrt(self.variance) * noise

    @classmethod
    def mix(cls, weight: Array, parts: "Gaussian") -> "Gaussian":
        """Return the Gaussian with the mean and variance of Σ_c w_c·part_c, c the leading axis: its *projection*.

        The variance is Σ w (v + (m − mean)²), which does not cancel as E[y²] − E[y]² does where the mean is large.
        """
        mean = (weight * parts.mean).sum(0)
        return cls(mean, (weight * (parts.variance + jnp.square(parts.mean - mean))).sum(0))


@pytree_dataclass
class Mixture(_Regression):
    """A mixture with exact mean, variance and density, such as the predictive of a posterior over a pool of M tasks.

    Its components are never stored, because M may be 2^20: `log_density` and `draw` compute them again at every call. A
    Gaussian with the same moments would lose up to .2 nats per position.

    Attributes:
        mean, variance: exact moments, [batch, position].
        log_density: `jax.tree_util.Partial`, outcomes [batch, position] → nats.
        draw: `jax.tree_util.Partial`, key → outcomes.
    """

    mean: Float[Array, "*batch position"]
    variance: Float[Array, "*batch position"]
    log_density: jax.tree_util.Partial
    draw: jax.tree_util.Partial

    def log_prob(self, y: Values) -> Array:
        return self.log_density(y)

    def sample(self, key: Array) -> Array:
        return self.draw(key)


@pytree_dataclass
class Categorical(Predictions):
    """Log probabilities over K outcomes at each position."""

    log_probs: Float[Array, "*batch position outcome"]

    def log_prob(self, y: Values) -> Array:
        y = jnp.broadcast_to(y, self.log_probs.shape[:-1])  # leading axes, such as one for layers, share the outcomes
        return jnp.take_along_axis(self.log_probs, y[..., None].astype(int), axis=-1)[..., 0]

    def sample(self, key: Array) -> Array:
        return jax.random.categorical(key, self.log_probs).astype(jnp.int32)

    def loss(self, y: Values) -> Array:
        return -self.log_prob(y)

    def mean_target(self) -> Array:
        return jnp.exp(self.log_probs)

    def lapsed(self, rate: Array | float) -> "Categorical":
        """Mix in a share `rate` of uniform guesses, so that no outcome is impossible and no divergence infinite."""
        guess = jnp.log(rate / self.log_probs.shape[-1])
        return Categorical(jnp.logaddexp(jnp.log1p(-rate) + self.log_probs, guess))

    def divergence(self, other: Predictions, unit: Values) -> Array:
        """Return KL(self ‖ other) in nats; `unit` is not used."""
        if not isinstance(other, Categorical):
            raise TypeError(f"other: {type(other).__name__} cannot be compared with Categorical; give log_probs")
        p = jnp.exp(self.log_probs)
        return jnp.where(p > 0, p * (self.log_probs - other.log_probs), 0.0).sum(-1)

    def answer(self) -> "Categorical":
        return self

    def blend(self, coefficients: Values) -> "Categorical":
        return Categorical(jax.nn.log_softmax(jnp.tensordot(coefficients, self.log_probs, 1), axis=-1))

    def divergence_to_blends(
        self, parts: Predictions, unit: Values, weight: Values
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return c ↦ Σ p log p − Σ_g c_g Σ p·log p_g + Σ_n log Z_n(c), with Z the normaliser of the blend."""
        if not isinstance(parts, Categorical):
            raise TypeError(f"parts: {type(parts).__name__} cannot be compared with Categorical; give log_probs")
        counts = np.asarray(weight) > 0
        share = np.asarray(weight)[counts]
        own = np.asarray(self.log_probs, float)[counts]
        p = np.exp(own) * share[:, None]
        constant = (p * np.where(p > 0, own, 0.0)).sum()
        # Outcomes first: reductions over a short last axis are slow.
        logs = np.ascontiguousarray(np.moveaxis(np.asarray(parts.log_probs)[:, counts], -1, 0))
        linear = np.einsum("nk,kgn->g", p, logs)

        def divergence(coefficients: np.ndarray) -> np.ndarray:
            blended = coefficients.astype(logs.dtype) @ logs  # [outcome, blend, n]
            top = blended.max(0)
            normaliser = top + np.log(np.exp(blended - top).sum(0))
            return constant - coefficients @ linear + normaliser @ share

        return divergence

    @classmethod
    def mix(cls, weight: Array, parts: "Categorical") -> "Categorical":
        """Return the exact mixture Σ_c w_c·part_c over the leading axis."""
        return cls(jax.nn.logsumexp(parts.log_probs, axis=0, b=weight[..., None]))
