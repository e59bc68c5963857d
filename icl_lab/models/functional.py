"""The transformer as two pure functions of a parameter pytree. The only file that splits or merges NNX modules."""

import dataclasses
import functools
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float

from icl_lab.models.attention import Tap
from icl_lab.models.layers import Normals
from icl_lab.models.positions import LENGTH_BOUND
from icl_lab.models.transformer import EVERY, Transformer, TransformerConfig

Params = dict[str, Any]


@functools.cache
def _graph(config: TransformerConfig) -> tuple[nnx.GraphDef, int]:
    """The static half of the module and the number of normal values its parameters need; traces shapes only."""
    found: list[tuple[nnx.GraphDef, int]] = []

    def build() -> None:
        normals = Normals(jax.random.key(0), 0)
        graph = nnx.split(Transformer(config, normals))[0]
        found.append((graph, normals.used))

    jax.eval_shape(build)
    return found[0]


@dataclasses.dataclass(frozen=True)
class Model:
    """A transformer without its parameters: hashable and equal by configuration, so a static jit argument.

    >>> model = Model(TransformerConfig(channels=6, tokens=25))
    >>> params = model.init(jax.random.key(0))
    >>> answers = model.apply(params, inputs)            # [batch, token, output]
    """

    config: TransformerConfig

    def init(self, key: Array) -> Params:
        """Fresh parameters: a nested dictionary of arrays, e.g. params["layers"]["0"]["attention"]["query"]["kernel"].

        Under `jax.vmap` over keys it makes an ensemble with a leading member axis.
        """
        _, size = _graph(self.config)
        return nnx.to_pure_dict(nnx.split(Transformer(self.config, Normals(key, size)))[1])

    def apply(
        self, params: Params, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens in the slice `read`.

        Args:
            params: as from `init`.
            inputs: tokens, as from a format's `encode`.
            read: where answers are wanted. Without a tap the last layer computes nothing else: much faster.
            tap: tap(site, value) -> value is called at every site, e.g. "0.pattern", with all tokens; see `sites`.

        Raises:
            ValueError: inputs that are not [batch, token, channels], or longer than learned or relative positions.
        """
        config = self.config
        if inputs.ndim != 3 or inputs.shape[-1] != config.channels:
            raise ValueError(f"inputs: shape {inputs.shape} should be [batch, token, channels = {config.channels}]")
        if config.positions in LENGTH_BOUND and inputs.shape[1] > config.tokens:
            raise ValueError(
                f"inputs: {inputs.shape[1]} tokens are more than tokens = {config.tokens} {config.positions} positions"
            )
        if config.mask == "context" and inputs.shape[1] < 2:
            raise ValueError("inputs: 1 token has no context; mask='context' needs an example before the query")
        return nnx.merge(_graph(config)[0], nnx.State(params))(inputs, read, tap)

    def parameter_count(self) -> int:
        """Number of trained values."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))
