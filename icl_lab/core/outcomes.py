"""Kinds of outcomes, real numbers or classes: everything that differs between regression and classification.

Learners see outcomes as *targets*, vectors of `size` numbers: the outcome itself, or the one-hot vector of a class.
Smoothers and copiers average targets. Generalised linear learners compute natural parameters, whose mean target is the
link of them: the identity, or softmax.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Point, Predictions

FLOOR = 1e-4  # smallest probability of a class, since an average of targets may be zero or negative


@runtime_checkable
class Outcomes(Protocol):
    """Interface of a kind of outcome. Instances are hashable, so that they can be static arguments of jit."""

    linear: bool  # the link is the identity
    loss: str  # name and unit of `Predictions.loss`, for axes

    @property
    def size(self) -> int:
        """Length of a target, and number of values a model outputs per position."""
        ...

    @property
    def neutral(self) -> float:
        """Mean target of a learner that ignores the prompt: 0, or 1/K."""
        ...

    def targets(self, y: Array) -> Float[Array, "*batch target"]:
        """Return outcomes as vectors."""
        ...

    def link(self, natural: Array, axis: int = -1) -> Array:
        """Return the mean targets of natural parameters, which lie along `axis`."""
        ...

    def from_natural(self, natural: Float[Array, "*batch target"]) -> Predictions:
        """Return predictions for natural parameters, which models output."""
        ...

    def from_mean(self, mean: Float[Array, "*batch target"]) -> Predictions:
        """Return predictions for averages of targets."""
        ...

    def certain(self, y: Array) -> Predictions:
        """Return the predictions of a learner that knows the outcome."""
        ...

    def altered(self, y: Array) -> Array:
        """Return another outcome in place of each, to measure its effect."""
        ...

    def check(self, y: Any) -> None:
        """Raise TypeError, in one line, for outcomes of another kind."""
        ...


@dataclasses.dataclass(frozen=True)
class Real:
    """Real numbers: the link is the identity, and answers are points."""

    linear = True
    loss = "squared error"
    size = 1
    neutral = 0.0

    def targets(self, y: Array) -> Float[Array, "*batch target"]:
        return jnp.asarray(y)[..., None]

    def link(self, natural: Array, axis: int = -1) -> Array:
        return natural

    def from_natural(self, natural: Float[Array, "*batch target"]) -> Point:
        return Point(natural[..., 0])

    def from_mean(self, mean: Float[Array, "*batch target"]) -> Point:
        return Point(mean[..., 0])

    def certain(self, y: Array) -> Point:
        return Point(jnp.asarray(y))

    def altered(self, y: Array) -> Array:
        """Return y plus 1/16 of the root mean square. Effects per unit are exact for learners affine in y."""
        return y + jnp.sqrt(jnp.mean(jnp.square(y))) / 16

    def check(self, y: Any) -> None:
        if not jnp.issubdtype(jnp.result_type(y), jnp.floating):
            raise TypeError(f"y: {jnp.result_type(y)} outcomes are classes; this learner answers with real numbers")


@dataclasses.dataclass(frozen=True)
class Classes:
    """One of `count` classes, integers from 0: the link is softmax, and answers are log probabilities."""

    count: int
    linear = False
    loss = "cross-entropy (nats)"

    @property
    def size(self) -> int:
        return self.count

    @property
    def neutral(self) -> float:
        return 1.0 / self.count

    def targets(self, y: Array) -> Float[Array, "*batch target"]:
        return jax.nn.one_hot(y, self.count)

    def link(self, natural: Array, axis: int = -1) -> Array:
        return jax.nn.softmax(natural, axis=axis)

    def from_natural(self, natural: Float[Array, "*batch target"]) -> Categorical:
        return Categorical(jax.nn.log_softmax(natural, axis=-1))

    def from_mean(self, mean: Float[Array, "*batch target"]) -> Categorical:
        """Return predictions for shares of classes. Each is at least 1e-4, so that every logarithm is finite."""
        share = jnp.maximum(mean, FLOOR)
        return Categorical(jnp.log(share) - jnp.log(share.sum(-1, keepdims=True)))

    def certain(self, y: Array) -> Categorical:
        return Categorical(jnp.log(self.targets(y)))

    def altered(self, y: Array) -> Array:
        """Return the next class."""
        return (y + 1) % self.count

    def check(self, y: Any) -> None:
        if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
            raise TypeError(
                f"y: {jnp.result_type(y)} outcomes are real numbers; this learner answers with {self.count} classes"
            )


def outcomes_of(predictions: Any) -> Outcomes:
    """Return the kind of outcome that predictions (or their shapes) are about."""
    if isinstance(predictions, Categorical):
        return Classes(predictions.log_probs.shape[-1])
    return Real()
