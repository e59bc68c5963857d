"""Gated recurrent networks, GRU and LSTM: a baseline that learns in context without any attention.

With h_t the state after token t, of `width` values in each of `layers` layers (σ the logistic function, ∘ entrywise),

    GRU   r, z = σ(W_i u_t + b + W_h h_{t−1}),   n = tanh(W_n u_t + b_n + r ∘ U_n h_{t−1}),
          h_t = (1 − z) ∘ n + z ∘ h_{t−1}                                                      (Cho et al. 2014)
    LSTM  i, f, o = σ(W_i u_t + W_h h_{t−1} + b),   g = tanh(W_g u_t + U_g h_{t−1} + b_g),
          c_t = f ∘ c_{t−1} + i ∘ g,   h_t = o ∘ tanh(c_t)             (Hochreiter & Schmidhuber 1997; Gers et al. 2000)

u_t is token t in the first layer and the state of the layer below in the others; the answer is W_o h_t + b_o of the
last. What a prompt says has to fit into `width` values, however long it is.
"""

import dataclasses
import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from icl_lab.models.attention import Tap, rows_of
from icl_lab.models.functional import Params, applied
from icl_lab.models.layers import Normals
from icl_lab.models.transformer import EVERY, at_layer

Kind = Literal["gru", "lstm"]
CELLS = {"gru": nnx.GRUCell, "lstm": nnx.OptimizedLSTMCell}
SIZES = ("channels", "tokens", "outputs", "layers", "width")

GATED_SITES: dict[str, tuple[str, ...]] = {"state": ("batch", "token", "width")}
"""The only site of a layer, "0.state" and so on: h_t after the layer has read everything. Replaced at token t it
changes what the layers above and the answer get at t, but not what the layer itself carries on."""


@dataclasses.dataclass(frozen=True)
class GatedConfig:
    """A stack of gated recurrent layers from [batch, token, channel] to [batch, token, output].

    Attributes:
        channels, tokens, outputs: as of a transformer; longer sequences than `tokens` are served too.
        kind: "gru" or "lstm".
        layers: one above the other.
        width: values of a layer's state h.

    Raises:
        ValueError: one line that names the field, its value and what would be right.
    """

    channels: int
    tokens: int
    outputs: int = 1
    kind: Kind = "gru"
    layers: int = 1
    width: int = 32

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind: {self.kind!r} is not known; choose one of {', '.join(get_args(Kind))}")
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is too small; it must be at least 1")


class Gated(nnx.Module):
    """The recurrence of the file's docstring, from h_0 = c_0 = 0, out of Flax's cells."""

    def __init__(self, config: GatedConfig, rngs: nnx.Rngs):
        self.config = config
        below = [config.channels, *[config.width] * (config.layers - 1)]
        new = CELLS[config.kind]
        self.layers = nnx.Dict({str(i): new(size, config.width, rngs=rngs) for i, size in enumerate(below)})
        self.readout = nnx.Linear(config.width, config.outputs, rngs=rngs)

    def __call__(
        self, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        zero = jnp.zeros((inputs.shape[0], self.config.width), inputs.dtype)
        stream = jnp.moveaxis(inputs, 1, 0)
        for layer in range(self.config.layers):
            cell: Any = self.layers[str(layer)]
            carry = zero if self.config.kind == "gru" else (zero, zero)
            _, stream = jax.lax.scan(lambda h, u, cell=cell: cell(h, u), carry, stream)
            if tap is not None:
                stream = jnp.moveaxis(at_layer(tap, layer)("state", jnp.moveaxis(stream, 0, 1)), 1, 0)
        return self.readout(rows_of(jnp.moveaxis(stream, 0, 1), read))


@functools.cache
def _graph(config: GatedConfig) -> tuple[nnx.GraphDef, Params]:
    """The static half of the module and the shapes of its parameters; traces only."""
    found: list[nnx.GraphDef] = []

    def build() -> Params:
        graph, state = nnx.split(Gated(config, nnx.Rngs(0)))
        found.append(graph)
        return nnx.to_pure_dict(state)

    shapes = jax.eval_shape(build)
    return found[0], shapes


@dataclasses.dataclass(frozen=True)
class GatedModel:
    """The network without its parameters: a `Network`, used as a transformer's `Model` is."""

    config: GatedConfig

    def init(self, key: Array) -> Params:
        """Fresh parameters: a dictionary of arrays, e.g. params["layers"]["0"]["dense_i"]["kernel"].

        Kernels from N(0, 1/fan_in), biases 0. Under `jax.vmap` over keys, an ensemble. All values are one draw: those
        of Flax's cells, one per gate and from other distributions, take six seconds to compile.
        """
        shapes = _graph(self.config)[1]
        normals = Normals(key, sum(leaf.size for leaf in jax.tree.leaves(shapes) if leaf.ndim == 2))

        def drawn(leaf: jax.ShapeDtypeStruct) -> Array:
            return leaf.shape[0] ** -0.5 * normals.take(*leaf.shape) if leaf.ndim == 2 else jnp.zeros(leaf.shape)

        return jax.tree.map(drawn, shapes)

    def apply(
        self, params: Params, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens in the slice `read`; tap(site, value) -> value is called at `GATED_SITES`.

        Raises:
            ValueError: inputs that are not [batch, token, channels].
        """
        return applied(_graph(self.config)[0], self.config.channels, params, inputs, read, tap)
