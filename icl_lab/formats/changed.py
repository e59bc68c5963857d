"""Formats made of another one that keep its information: other codes, another scale, blank tokens.

A network reads a changed format only if its tokens have as many channels as those of training. So separators and blanks
are tokens of zeros, which no x or y token is; a subject that should have a channel for separators is trained in a
`Marked` format, which reserves one.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.formats.base import REAL, Format


@dataclasses.dataclass(frozen=True)
class Changed:
    """The format `inner`, asked for everything; a subclass overrides what it changes."""

    inner: Format

    @property
    def streams(self) -> bool:
        return self.inner.streams

    def tokens(self, positions: int) -> int:
        return self.inner.tokens(positions)

    def channels(self, dimension: int, targets: int = 1) -> int:
        return self.inner.channels(dimension, targets)

    def read(self, positions: int) -> slice:
        return self.inner.read(positions)

    def answers(self, positions: int) -> slice:
        return self.inner.answers(positions)

    def labels(self, positions: int) -> tuple[str, ...]:
        return self.inner.labels(positions)

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return self.inner.encode(prompts, outcomes)

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        return self.inner.decode(tokens, outcomes)

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return self.inner.read_back(natural)


@dataclasses.dataclass(frozen=True)
class Coded(Changed):
    """Class k of K is written as class (k + `shift`) mod K, in a stream the states too; answers are read as codes."""

    shift: int = 1

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return self.inner.encode(self._shifted(prompts, outcomes, self.shift), outcomes)

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        found = self._shifted(self.inner.decode(tokens, outcomes), outcomes, -self.shift)
        return found.replace(y=found.y.at[:, -1].set(0))

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return jnp.roll(self.inner.read_back(natural), -self.shift, axis=-1)

    def _shifted(self, prompts: Prompts, outcomes: Outcomes, by: int) -> Prompts:
        """Raises ValueError for real outcomes, or a stream whose inputs are not one-hot vectors of its outcomes."""
        if outcomes.linear:
            raise ValueError("shift: real outcomes have no codes")
        if self.streams and prompts.x.shape[-1] != outcomes.size:
            raise ValueError(f"shift: inputs of {prompts.x.shape[-1]} features are not {outcomes.size} states")
        x = jnp.roll(prompts.x, by, axis=-1) if self.streams else prompts.x
        return prompts.replace(x=x, y=(prompts.y + by) % outcomes.size)


@dataclasses.dataclass(frozen=True)
class Scaled(Changed):
    """Inputs times `factor`; outcomes stay."""

    factor: float = 1.0

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return self.inner.encode(prompts.replace(x=self.factor * prompts.x), outcomes)

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        found = self.inner.decode(tokens, outcomes)
        return found.replace(x=found.x / self.factor)


@dataclasses.dataclass(frozen=True)
class Reversed(Changed):
    """Features of every input in reverse order; in a stream states count from the other end, and so do answers."""

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return self.inner.encode(self._turned(prompts, outcomes), outcomes)

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        found = self._turned(self.inner.decode(tokens, outcomes), outcomes)
        return found.replace(y=found.y.at[:, -1].set(0))

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        natural = self.inner.read_back(natural)
        return natural[..., ::-1] if self.streams else natural

    def _turned(self, prompts: Prompts, outcomes: Outcomes) -> Prompts:
        y = outcomes.size - 1 - prompts.y if self.streams else prompts.y
        return prompts.replace(x=prompts.x[..., ::-1], y=y)


@dataclasses.dataclass(frozen=True)
class Blank(Changed):
    """`count` tokens of zeros before all others."""

    count: int = 1

    def tokens(self, positions: int) -> int:
        return self.count + self.inner.tokens(positions)

    def read(self, positions: int) -> slice:
        tokens = range(self.inner.tokens(positions))[self.inner.read(positions)]
        return slice(self.count + tokens[0], self.count + tokens[-1] + 1, tokens.step)

    def labels(self, positions: int) -> tuple[str, ...]:
        return (*(f"_{i}" for i in range(self.count)), *self.inner.labels(positions))

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return jnp.pad(self.inner.encode(prompts, outcomes), ((0, 0), (self.count, 0), (0, 0)))

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        return self.inner.decode(tokens[:, self.count :], outcomes)


@dataclasses.dataclass(frozen=True)
class Marked(Changed):
    """One more channel, the last, which only `Separated` uses: in training it is there, and always 0."""

    def channels(self, dimension: int, targets: int = 1) -> int:
        return self.inner.channels(dimension, targets) + 1

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return jnp.pad(self.inner.encode(prompts, outcomes), ((0, 0), (0, 0), (0, 1)))

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        return self.inner.decode(tokens[..., :-1], outcomes)


@dataclasses.dataclass(frozen=True)
class Unreadable(Changed):
    """A change that the format does not allow: it says why, and writes nothing."""

    why: str = "the format cannot be changed so"

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        raise ValueError(f"format: {self.why}")
