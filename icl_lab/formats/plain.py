"""The formats a subject is trained in: examples as one token or as two, and streams."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.formats.base import REAL, Format, as_outcomes, unknown_last


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

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        x, targets = jnp.split(tokens, [tokens.shape[-1] - outcomes.size], axis=-1)
        return unknown_last(x, as_outcomes(targets[:, :-1], outcomes))

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return natural


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

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        features = tokens.shape[-1] - outcomes.size
        return unknown_last(tokens[:, ::2, :features], as_outcomes(tokens[:, 1::2, features:], outcomes))

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return natural


@dataclasses.dataclass(frozen=True)
class Swapped:
    """Tokens y_0, x_0, y_1, x_1, …, x_N, those of `Interleaved` with the two of every example in the other order.

    Before x_i stands y_i itself, which would be the answer: only the query, whose outcome is left out, can be asked.
    """

    streams = False

    def tokens(self, positions: int) -> int:
        return 2 * positions - 1

    def channels(self, dimension: int, targets: int = 1) -> int:
        return dimension + targets

    def read(self, positions: int) -> slice:
        return slice(2 * positions - 2, 2 * positions - 1)

    def answers(self, positions: int) -> slice:
        return slice(positions - 1, positions)

    def labels(self, positions: int) -> tuple[str, ...]:
        pairs = (name for i in range(positions - 1) for name in (f"y{i}", f"x{i}"))
        return (*pairs, f"x{positions - 1}")

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        return self._exchanged(Interleaved().encode(prompts, outcomes))

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        return Interleaved().decode(self._exchanged(tokens), outcomes)

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return natural

    def _exchanged(self, tokens: Array) -> Array:
        """The two tokens of every pair exchanged; the last token belongs to none."""
        pairs = tokens[:, :-1].reshape(tokens.shape[0], -1, 2, tokens.shape[-1])[:, :, ::-1]
        return jnp.concatenate([pairs.reshape(tokens.shape[0], -1, tokens.shape[-1]), tokens[:, -1:]], axis=1)


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

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        """Inputs are taken for the targets of the outcome before them."""
        return unknown_last(tokens, as_outcomes(tokens[:, 1:, : outcomes.size], outcomes))

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return natural


FORMATS: dict[str, type[Format]] = {"paired": Paired, "interleaved": Interleaved, "stream": Stream}
