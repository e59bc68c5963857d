"""The transformer, defined in Flax NNX and used through `functional.Model` only."""

from flax import nnx
from jaxtyping import Array, Float

from icl_lab.models.attention import Attention, Tap, rows_of
from icl_lab.models.config import TransformerConfig
from icl_lab.models.layers import MLP, LayerNorm, Linear, Normals
from icl_lab.models.positions import sinusoids

__all__ = ["Transformer", "TransformerConfig"]

EVERY = slice(None)


def untouched(site: str, value: Array) -> Array:
    """The tap that changes nothing."""
    return value


class Block(nnx.Module):
    """stream += attention(norm(stream)); stream += mlp(norm(stream)). Only the tokens in `rows` come out."""

    def __init__(self, config: TransformerConfig, normals: Normals):
        norm = config.normalisation == "layer"
        self.attention_norm = LayerNorm(config) if norm else None
        self.attention = Attention(config, normals)
        self.mlp_norm = LayerNorm(config) if norm and config.mlp else None
        self.mlp = MLP(config, normals) if config.mlp else None

    def __call__(
        self, stream: Float[Array, "batch token width"], rows: slice, tap: Tap
    ) -> Float[Array, "batch row width"]:
        stream = tap("resid_pre", stream)
        x = stream if self.attention_norm is None else self.attention_norm(stream)
        stream = rows_of(stream, rows) + tap("attn_out", self.attention(x, rows, tap))
        if self.mlp is not None:
            stream = tap("resid_mid", stream)
            x = stream if self.mlp_norm is None else self.mlp_norm(stream)
            stream = stream + tap("mlp_out", self.mlp(x))
        return tap("resid_post", stream)


class Transformer(nnx.Module):
    """Embedding, positions, `loops` passes through the same stack of blocks, normalisation, readout."""

    def __init__(self, config: TransformerConfig, normals: Normals):
        self.config = config
        self.embed = Linear(config, config.channels, config.width, normals) if config.embedding else None
        learned = config.positions == "learned"
        self.positions = nnx.Param(0.02 * normals.take(config.tokens, config.width)) if learned else None
        self.layers = nnx.Dict({str(i): Block(config, normals) for i in range(config.layers)})
        final = config.embedding and config.normalisation == "layer"
        self.norm = LayerNorm(config) if final else None
        self.readout = Linear(config, config.width, config.outputs, normals) if config.embedding else None

    def __call__(
        self, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens `read`.

        Without a tap the last block works out only those tokens (keys and values apart); with one, every site holds all
        tokens. The answers are the same.
        """
        config = self.config
        stream = inputs if self.embed is None else self.embed(inputs)
        stream = stream if self.positions is None else stream + self.positions[...][: inputs.shape[1]]
        if config.positions == "sinusoidal":
            stream = stream + sinusoids(inputs.shape[1], config.width).astype(stream.dtype)
        for application in range(config.applications):
            last = application == config.applications - 1
            block = self.layers[str(application % config.layers)]
            stream = block(stream, read if last and tap is None else EVERY, at_layer(tap, application))
        stream = stream if tap is None else rows_of(stream, read)
        stream = stream if self.norm is None else self.norm(stream)
        return -stream[..., -1:] if self.readout is None else self.readout(stream)


def at_layer(tap: Tap | None, layer: int) -> Tap:
    """The tap with "LAYER." put before the site's name; one that changes nothing where there is none."""
    return untouched if tap is None else lambda site, value: tap(f"{layer}.{site}", value)
