"""A description of the task before its demonstrations."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.formats.base import REAL, Format


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

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        inner = self.inner.decode(tokens[:, 1:, self.size :], outcomes)
        return inner.replace(description=tokens[:, 0, : self.size])

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        return self.inner.read_back(natural)
