"""Networks as two pure functions of a parameter pytree, and the transformer as such a pair."""

import dataclasses
import functools
from collections.abc import Callable
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
def graph_of(module: Callable[..., nnx.Module], config: Any) -> tuple[nnx.GraphDef, int]:
    """The static half of module(config, normals) and how many normal values its parameters need; traces shapes only."""
    found: list[tuple[nnx.GraphDef, int]] = []

    def build() -> None:
        normals = Normals(jax.random.key(0), 0)
        graph = nnx.split(module(config, normals))[0]
        found.append((graph, normals.used))

    jax.eval_shape(build)
    return found[0]


def drawn(module: Callable[..., nnx.Module], config: Any, key: Array) -> Params:
    """Fresh parameters of module(config, normals): a nested dictionary of arrays."""
    _, size = graph_of(module, config)
    return nnx.to_pure_dict(nnx.split(module(config, Normals(key, size)))[1])


def applied(
    graph: nnx.GraphDef,
    channels: int,
    params: Params,
    inputs: Float[Array, "batch token channel"],
    read: slice,
    tap: Tap | None,
) -> Float[Array, "batch read output"]:
    """The answers of a module put together from its two halves.

    Raises:
        ValueError: inputs that are not [batch, token, channels].
    """
    if inputs.ndim != 3 or inputs.shape[-1] != channels:
        raise ValueError(f"inputs: shape {inputs.shape} should be [batch, token, channels = {channels}]")
    return nnx.merge(graph, nnx.State(params))(inputs, read, tap)


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
        return drawn(Transformer, self.config, key)

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
        if config.positions in LENGTH_BOUND and inputs.ndim == 3 and inputs.shape[1] > config.tokens:
            raise ValueError(
                f"inputs: {inputs.shape[1]} tokens are more than tokens = {config.tokens} {config.positions} positions"
            )
        if config.mask == "context" and inputs.ndim == 3 and inputs.shape[1] < 2:
            raise ValueError("inputs: 1 token has no context; mask='context' needs an example before the query")
        return applied(graph_of(Transformer, config)[0], config.channels, params, inputs, read, tap)

    def parameter_count(self) -> int:
        """Number of trained values."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))
