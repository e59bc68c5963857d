"""Formats: how a prompt becomes a token sequence, and where its answers are read."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.outcomes import Outcomes, Real
from icl_lab.prompts import Prompts

REAL = Real()


@runtime_checkable
class Format(Protocol):
    """A prompt of P positions over d features and targets of size t becomes `tokens(P)` tokens of `channels(d, t)`."""

    @property
    def streams(self) -> bool:
        """Whether it is for streams only, whose inputs follow from earlier outcomes."""
        ...

    def tokens(self, positions: int) -> int:
        """Number of tokens of a prompt with that many positions."""
        ...

    def channels(self, dimension: int, targets: int = 1) -> int:
        """Number of channels of a token for inputs of that dimension and targets of that size."""
        ...

    def read(self, positions: int) -> slice:
        """The tokens at which answers are read."""
        ...

    def answers(self, positions: int) -> slice:
        """The positions those tokens answer, in the same order."""
        ...

    def labels(self, positions: int) -> tuple[str, ...]:
        """A short name per token, for figures."""
        ...

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        """The token sequence, outcomes as targets. Nothing of the outcome asked for enters it."""
        ...


@dataclasses.dataclass(frozen=True)
class Paired:
    """One token per example, (x_i, y_i), then the query (x_N, 0); only the last position is answered.

    The last input is answered from all N examples, so full attention is allowed. Source: von Oswald et al. 2022.
    """

    streams = False

    def tokens(self, positions: int) -> int:
        return positions

    def channels(self, dimension: int, targets: int = 1) -> int:
        return dimension + targets

    def read(self, positions: int) -> slice:
        return slice(positions - 1, positions)

    def answers(self, positions: int) -> slice:
        return slice(positions - 1, positions)

    def labels(self, positions: int) -> tuple[str, ...]:
        return (*(f"x{i},y{i}" for i in range(positions - 1)), f"x{positions - 1}")

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        targets = outcomes.targets(prompts.y).at[..., -1, :].set(0.0)
        return jnp.concatenate([prompts.x, targets], axis=-1)


@dataclasses.dataclass(frozen=True)
class Interleaved:
    """Tokens x_0, y_0, x_1, y_1, …, x_N; every position is answered at its x token, so the mask must be causal.

    An x token is (x, 0), a y token (0, …, 0, y), classes as one-hot vectors. The last outcome is never needed.
    Source: Garg et al. 2022.
    """

    streams = False

    def tokens(self, positions: int) -> int:
        return 2 * positions - 1

    def channels(self, dimension: int, targets: int = 1) -> int:
        return dimension + targets

    def read(self, positions: int) -> slice:
        return slice(0, None, 2)

    def answers(self, positions: int) -> slice:
        return slice(0, None)

    def labels(self, positions: int) -> tuple[str, ...]:
        return tuple(name for i in range(positions) for name in (f"x{i}", f"y{i}"))[:-1]

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        x = jnp.pad(prompts.x, ((0, 0), (0, 0), (0, outcomes.size)))
        y = jnp.pad(outcomes.targets(prompts.y), ((0, 0), (0, 0), (prompts.x.shape[-1], 0)))
        tokens = jnp.stack([x, y], axis=2).reshape(x.shape[0], -1, x.shape[-1])
        return tokens[:, :-1]


@dataclasses.dataclass(frozen=True)
class Stream:
    """Tokens x_0, x_1, …, of a stream, where x_{i+1} says what y_i was: next-token prediction at every token.

    The mask must be causal. The chain 0 1 1 0 has tokens 0 1 1 and outcomes 1 1 0.
    """

    streams = True

    def tokens(self, positions: int) -> int:
        return positions

    def channels(self, dimension: int, targets: int = 1) -> int:
        return dimension

    def read(self, positions: int) -> slice:
        return slice(0, None)

    def answers(self, positions: int) -> slice:
        return slice(0, None)

    def labels(self, positions: int) -> tuple[str, ...]:
        return tuple(f"s{i}" for i in range(positions))

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return prompts.x


FORMATS: dict[str, type[Format]] = {"paired": Paired, "interleaved": Interleaved, "stream": Stream}


@dataclasses.dataclass(frozen=True)
class WithDescription:
    """A token with the prompt's description before those of another format, on `size` channels of its own.

    Prompts without a description begin with a token of zeros.
    """

    inner: Format
    size: int

    @property
    def streams(self) -> bool:
        return self.inner.streams

    def tokens(self, positions: int) -> int:
        return 1 + self.inner.tokens(positions)

    def channels(self, dimension: int, targets: int = 1) -> int:
        return self.size + self.inner.channels(dimension, targets)

    def read(self, positions: int) -> slice:
        tokens = range(self.inner.tokens(positions))[self.inner.read(positions)]
        return slice(1 + tokens[0], 2 + tokens[-1], tokens.step)

    def answers(self, positions: int) -> slice:
        return self.inner.answers(positions)

    def labels(self, positions: int) -> tuple[str, ...]:
        return ("description", *self.inner.labels(positions))

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        tokens = jnp.pad(self.inner.encode(prompts, outcomes), ((0, 0), (1, 0), (self.size, 0)))
        return tokens if prompts.description is None else tokens.at[:, 0, : self.size].set(prompts.description)
