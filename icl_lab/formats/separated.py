"""Separator tokens between the tokens of another format."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.formats.base import REAL
from icl_lab.formats.changed import Changed, Marked


@dataclasses.dataclass(frozen=True)
class Separated(Changed):
    """`count` separators before every group of `every` tokens but the first, which begins at token `first`.

    Of x_0 y_0 x_1 y_1 x_2: every=2 puts them between examples (x_0 y_0 | x_1 y_1 | x_2), every=2 and first=−1 between
    x and y (x_0 | y_0 x_1 | y_1 x_2), every=1 between all tokens. A separator is a token of zeros, with a 1 in the
    last channel if the inner format reserves it (`Marked`).

    Answers are read at evenly spaced tokens: where groups are longer than what lies between two answers (a stream with
    every > 1), only positions a whole number of groups before the last are answered.
    """

    every: int = 1
    first: int = 0
    count: int = 1

    def _at(self, inner: int) -> Int[np.ndarray, " token"]:
        """Where each of `inner` tokens stands."""
        token = np.arange(inner)
        before = np.cumsum((token > self.first) & ((token - self.first) % self.every == 0))
        return token + self.count * before

    def tokens(self, positions: int) -> int:
        return int(self._at(self.inner.tokens(positions))[-1]) + 1

    def _kept(self, positions: int) -> tuple[range, range]:
        """Tokens of the inner format that are read, and the positions they answer."""
        tokens = range(self.inner.tokens(positions))[self.inner.read(positions)]
        answers = range(positions)[self.inner.answers(positions)]
        stride = math.lcm(tokens.step, self.every) // tokens.step
        begin = (len(tokens) - 1) % stride
        return tokens[begin::stride], answers[begin::stride]

    def read(self, positions: int) -> slice:
        kept, _ = self._kept(positions)
        at = self._at(self.inner.tokens(positions))[kept]
        return slice(int(at[0]), int(at[-1]) + 1, int(at[1] - at[0]) if len(at) > 1 else 1)

    def answers(self, positions: int) -> slice:
        _, kept = self._kept(positions)
        return slice(kept[0], kept[-1] + 1, kept.step)

    def labels(self, positions: int) -> tuple[str, ...]:
        names = [f"|{i}" for i in range(self.tokens(positions))]
        inner = self.inner.labels(positions)
        for at, name in zip(self._at(len(inner)), inner, strict=True):
            names[at] = name
        return tuple(names)

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        inner = self.inner.encode(prompts, outcomes)
        at = self._at(inner.shape[1])
        tokens = jnp.zeros((inner.shape[0], int(at[-1]) + 1, inner.shape[2]), inner.dtype)
        if marked(self.inner):
            tokens = tokens.at[..., -1].set(1.0)
        return tokens.at[:, at].set(inner)

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        at = self._at(tokens.shape[1])
        return self.inner.decode(tokens[:, at[at < tokens.shape[1]]], outcomes)


def marked(format: object) -> bool:
    """Whether a format reserves a channel for separators."""
    return isinstance(format, Marked) or (hasattr(format, "inner") and marked(format.inner))
