"""Kinds of outcomes: what an answer is made of. Everything that differs between regression and classification is here.

Learners see outcomes as *targets*, vectors of `size` numbers: the outcome itself, or the one-hot vector of a class.
Smoothers and copiers average targets; generalised linear learners move natural parameters, whose mean target is given
by the link: the identity, or softmax.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Point, Predictions

FLOOR = 1e-4  # least share of a class where an average of targets may be zero or negative


@runtime_checkable
class Outcomes(Protocol):
    """What every kind of outcome offers. Instances are hashable, so that they can be static jit arguments."""

    linear: bool  # the link is the identity
    loss: str  # name and unit of `Predictions.loss`, for axes

    @property
    def size(self) -> int:
        """Numbers in a target, and values a model answers per position."""
        ...

    @property
    def neutral(self) -> float:
        """Mean target of a learner that knows nothing: 0, or 1/K."""
        ...

    def targets(self, y: Array) -> Float[Array, "*batch target"]:
        """Outcomes as vectors."""
        ...

    def link(self, natural: Array, axis: int = -1) -> Array:
        """Mean targets of natural parameters, which lie along `axis`."""
        ...

    def from_natural(self, natural: Float[Array, "*batch target"]) -> Predictions:
        """Predictions of natural parameters, which is what models answer with."""
        ...

    def from_mean(self, mean: Float[Array, "*batch target"]) -> Predictions:
        """Predictions of averages of targets."""
        ...

    def certain(self, y: Array) -> Predictions:
        """The learner that knows the outcome."""
        ...

    def altered(self, y: Array) -> Array:
        """Another outcome in place of each, to see what follows from it."""
        ...

    def check(self, y: Any) -> None:
        """Raises TypeError, in one line, for outcomes of another kind."""
        ...


@dataclasses.dataclass(frozen=True)
class Real:
    """Real numbers: identity link, answers are points."""

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
        """y + 1/16 of the outcomes' root mean square: exact in the labels for learners affine in them."""
        return y + jnp.sqrt(jnp.mean(jnp.square(y))) / 16

    def check(self, y: Any) -> None:
        if not jnp.issubdtype(jnp.result_type(y), jnp.floating):
            raise TypeError(f"y: {jnp.result_type(y)} outcomes are classes; this learner answers with real numbers")


@dataclasses.dataclass(frozen=True)
class Classes:
    """One of `count` classes, as integers from 0: softmax link, answers are log probabilities."""

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
        """Shares of the classes; what is below 1e-4 counts as 1e-4, so that every logarithm is finite."""
        share = jnp.maximum(mean, FLOOR)
        return Categorical(jnp.log(share) - jnp.log(share.sum(-1, keepdims=True)))

    def certain(self, y: Array) -> Categorical:
        return Categorical(jnp.log(self.targets(y)))

    def altered(self, y: Array) -> Array:
        """The next class."""
        return (y + 1) % self.count

    def check(self, y: Any) -> None:
        if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
            raise TypeError(
                f"y: {jnp.result_type(y)} outcomes are real numbers; this learner answers with {self.count} classes"
            )


def outcomes_of(predictions: Any) -> Outcomes:
    """The kind of outcome that predictions (or their shapes) are about."""
    if isinstance(predictions, Categorical):
        return Classes(predictions.log_probs.shape[-1])
    return Real()
