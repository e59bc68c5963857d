"""Formats: how a prompt becomes a token sequence, and where its answers are read."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.prompts import Prompts


@runtime_checkable
class Format(Protocol):
    """A prompt of P positions over d features becomes `tokens(P)` tokens of `channels(d)` channels."""

    def tokens(self, positions: int) -> int:
        """Number of tokens of a prompt with that many positions."""
        ...

    def channels(self, dimension: int) -> int:
        """Number of channels of a token for inputs of that dimension."""
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

    def encode(self, prompts: Prompts) -> Float[Array, "batch token channel"]:
        """The token sequence. Nothing of the outcome asked for enters it."""
        ...


@dataclasses.dataclass(frozen=True)
class Paired:
    """One token per example, (x_i, y_i), then the query (x_N, 0); only the last position is answered.

    The last input is answered from all N examples, so full attention is allowed. Source: von Oswald et al. 2022.
    """

    def tokens(self, positions: int) -> int:
        return positions

    def channels(self, dimension: int) -> int:
        return dimension + 1

    def read(self, positions: int) -> slice:
        return slice(positions - 1, positions)

    def answers(self, positions: int) -> slice:
        return slice(positions - 1, positions)

    def labels(self, positions: int) -> tuple[str, ...]:
        return (*(f"x{i},y{i}" for i in range(positions - 1)), f"x{positions - 1}")

    def encode(self, prompts: Prompts) -> Float[Array, "batch token channel"]:
        y = prompts.y.at[..., -1].set(0.0)
        return jnp.concatenate([prompts.x, y[..., None]], axis=-1)


@dataclasses.dataclass(frozen=True)
class Interleaved:
    """Tokens x_0, y_0, x_1, y_1, …, x_N; every position is answered at its x token, so the mask must be causal.

    An x token is (x, 0), a y token (0, …, 0, y). The last outcome is never needed and not a token.
    Source: Garg et al. 2022.
    """

    def tokens(self, positions: int) -> int:
        return 2 * positions - 1

    def channels(self, dimension: int) -> int:
        return dimension + 1

    def read(self, positions: int) -> slice:
        return slice(0, None, 2)

    def answers(self, positions: int) -> slice:
        return slice(0, None)

    def labels(self, positions: int) -> tuple[str, ...]:
        return tuple(name for i in range(positions) for name in (f"x{i}", f"y{i}"))[:-1]

    def encode(self, prompts: Prompts) -> Float[Array, "batch token channel"]:
        x = jnp.pad(prompts.x, ((0, 0), (0, 0), (0, 1)))
        y = jnp.pad(prompts.y[..., None], ((0, 0), (0, 0), (prompts.x.shape[-1], 0)))
        tokens = jnp.stack([x, y], axis=2).reshape(x.shape[0], -1, x.shape[-1])
        return tokens[:, :-1]


FORMATS: dict[str, type[Format]] = {"paired": Paired, "interleaved": Interleaved}
