"""Multi-head attention, softmax or linear, under a causal, full, prefix or context mask."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from icl_lab.models.config import TransformerConfig
from icl_lab.models.layers import Linear, Normals, together
from icl_lab.models.positions import penalties, rotated

Tap = Callable[[str, Array], Array]


def visible(config: TransformerConfig, tokens: int) -> Bool[np.ndarray, "token key"]:
    """Which key (column) each token (row) may attend to."""
    if config.mask == "full":
        return np.ones((tokens, tokens), bool)
    if config.mask == "context":
        return np.broadcast_to(np.arange(tokens) < tokens - 1, (tokens, tokens))
    seen = np.tri(tokens, dtype=bool)
    if config.mask == "prefix":
        seen[: config.prefix, : config.prefix] = True
    return seen


def rows_of(x: Float[Array, "batch token channel"], rows: slice) -> Float[Array, "batch row channel"]:
    """The tokens in `rows`, as a strided slice (no gather)."""
    start, stop, step = rows.indices(x.shape[1])
    if step < 0:
        raise ValueError(f"read: {rows} runs backwards; give a slice with a positive step")
    whole = (start, stop, step) == (0, x.shape[1], 1)
    return x if whole else jax.lax.slice_in_dim(x, start, stop, step, axis=1)


class Attention(nnx.Module):
    """z = pattern · v per head, then an output projection.

    softmax: pattern = softmax over visible keys of q·k/√head_size.
    linear: pattern = q·k / (number of visible keys), zero at hidden keys; von Oswald et al. 2022.
    Keys of softmax attention have no bias: it would shift all scores of a row alike, which changes nothing. Under a
    rotation it would not, but there is none either, so that position schemes differ in nothing else.
    The `q` and `k` sites hold what was projected, before a rotation; `scores` the products with everything that
    positions do to them, before the mask, so a replaced score cannot make the future visible.
    """

    def __init__(self, config: TransformerConfig, normals: Normals):
        inner = config.heads * config.size_of_head
        self.config = config
        self.query = Linear(config, config.width, inner, normals)
        self.key = Linear(config, config.width, inner, normals, bias=config.attention == "linear")
        self.value = Linear(config, config.width, inner, normals)
        self.output = Linear(config, inner, config.width, normals, writes=True)
        relative = config.positions == "relative"
        self.distances = nnx.Param(0.02 * normals.take(config.tokens, inner)) if relative else None

    def __call__(
        self, x: Float[Array, "batch token channel"], rows: slice, tap: Tap
    ) -> Float[Array, "batch row channel"]:
        if rows.indices(x.shape[1]) == (0, x.shape[1], 1):
            projected = together(x, self.query, self.key, self.value)
        else:
            projected = [self.query(rows_of(x, rows)), *together(x, self.key, self.value)]
        q, k, v = (tap(site, self.split(y)) for site, y in zip("qkv", projected, strict=True))
        at = np.arange(x.shape[1])
        if self.config.positions == "rotary":
            q, k = rotated(q, at[rows]), rotated(k, at)
        if self.config.attention == "softmax":
            q = q * self.config.size_of_head**-0.5
        products = jnp.einsum("bhtc,bhsc->bhts", q, k)
        if self.config.positions == "alibi":
            products = products + penalties(self.config.heads, at[rows], len(at)).astype(products.dtype)
        if self.distances is not None:
            by_distance = self.by_distance(self.distances[...], rows, x.shape[1])
            products = products + jnp.einsum("bhtc,tshc->bhts", q, by_distance)
        scores = tap("scores", products)
        pattern = tap("pattern", self.normalise(scores, visible(self.config, x.shape[1])[rows]))
        z = tap("z", jnp.einsum("bhts,bhsc->bhtc", pattern, v))
        return self.output(z.transpose(0, 2, 1, 3).reshape(z.shape[0], z.shape[2], -1))

    def by_distance(self, table: Array, rows: slice, tokens: int) -> Float[Array, "row token head channel"]:
        """The vector of every distance from a row back to a token; of later tokens, that of distance 0."""
        distance = np.maximum(np.arange(tokens)[rows, None] - np.arange(tokens), 0)
        return table.reshape(-1, self.config.heads, self.config.size_of_head)[distance]

    def normalise(self, scores: Array, seen: np.ndarray) -> Float[Array, "batch head row token"]:
        """Scores to pattern; every row sees at least one token."""
        if self.config.attention == "linear":
            return scores * (seen / seen.sum(-1, keepdims=True)).astype(scores.dtype)
        return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)

    def split(self, x: Array) -> Float[Array, "batch head token channel"]:
        """[batch, token, head·channel] → [batch, head, token, channel]."""
        return x.reshape(*x.shape[:-1], self.config.heads, -1).transpose(0, 2, 1, 3)
