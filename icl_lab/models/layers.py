"""Linear layer, layer normalisation and MLP, written for speed on small models.

A linear layer is one flat two-dimensional matrix product: on a CPU the backward pass of a product over three axes costs
up to a quarter more. Layer normalisation and GELU carry derivative rules that keep one array each for the backward
pass; they are `custom_jvp`, so forward mode and second derivatives work.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from icl_lab.models.config import TransformerConfig

EPSILON = 1e-5
SLOPE, CUBIC = math.sqrt(2 / math.pi), 0.044715


class Normals:
    """Standard normal values handed out in order, all from one draw of `size` values (size 0: zeros, only counted).

    One draw for a whole model compiles ten times faster than one per matrix.
    """

    def __init__(self, key: Array, size: int):
        self.values = jax.random.normal(key, (size,)) if size else None
        self.used = 0

    def take(self, *shape: int) -> Float[Array, "..."]:
        """The next values, in that shape."""
        start, self.used = self.used, self.used + math.prod(shape)
        return jnp.zeros(shape) if self.values is None else self.values[start : self.used].reshape(shape)


class Linear(nnx.Module):
    """y = x W + b over the last axis, W [in, out]."""

    def __init__(
        self,
        config: TransformerConfig,
        fan_in: int,
        fan_out: int,
        normals: Normals,
        writes: bool = False,
        bias: bool = True,
    ):
        self.kernel = nnx.Param(config.deviation(fan_in, writes) * normals.take(fan_in, fan_out))
        self.bias = nnx.Param(jnp.zeros(fan_out)) if config.bias and bias else None

    def __call__(self, x: Float[Array, "batch token in_"]) -> Float[Array, "batch token out"]:
        return together(x, self)[0]


def together(x: Float[Array, "batch token in_"], *layers: Linear) -> list[Float[Array, "batch token _"]]:
    """Several linear layers of one input, as one flat matrix product: narrow products waste a quarter of the time."""
    kernels = [layer.kernel[...] for layer in layers]
    kernel = jnp.concatenate(kernels, axis=1) if len(kernels) > 1 else kernels[0]
    joint = (x.reshape(-1, x.shape[-1]) @ tall(kernel)).reshape(*x.shape[:-1], -1)
    widths = [kernel.shape[1] for kernel in kernels]
    parts = jnp.split(joint, [sum(widths[:i]) for i in range(1, len(widths))], axis=-1)
    return [y if layer.bias is None else y + layer.bias[...] for y, layer in zip(parts, layers, strict=True)]


def tall(kernel: Float[Array, "in_ out"]) -> Float[Array, "in_ out"]:
    """The same matrix; where it has more rows than columns, its gradient is computed transposed.

    The compiler would rather transpose the activations, [batch·token, in], which halves the speed of that product. The
    barrier keeps it from doing so.
    """
    return jax.lax.optimization_barrier(kernel.T).T if kernel.shape[0] > kernel.shape[1] else kernel


@jax.custom_jvp
def standardise(x: Float[Array, "*rest channel"]) -> Float[Array, "*rest channel"]:
    """(x − mean) / √(variance + 1e-5) over the last axis."""
    return _standardise(x)[0]


def _standardise(x: Array) -> tuple[Array, Array]:
    centred = x - x.mean(-1, keepdims=True)
    rate = jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON)
    return centred * rate, rate


@standardise.defjvp
def _standardise_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y, rate = _standardise(x)
    return y, rate * (dx - dx.mean(-1, keepdims=True) - y * (y * dx).mean(-1, keepdims=True))


class LayerNorm(nnx.Module):
    """standardise(x) · scale + bias. Source: Ba et al. 2016."""

    def __init__(self, config: TransformerConfig):
        self.scale = nnx.Param(jnp.ones(config.width))
        self.bias = nnx.Param(jnp.zeros(config.width)) if config.bias else None

    def __call__(self, x: Float[Array, "batch token channel"]) -> Float[Array, "batch token channel"]:
        y = standardise(x) * self.scale[...]
        return y if self.bias is None else y + self.bias[...]


def _cubic_tanh(x: Array) -> tuple[Array, Array]:
    square = x * x
    return jnp.tanh(SLOPE * (x + CUBIC * square * x)), square


@jax.custom_jvp
def gelu(x: Float[Array, "*rest channel"]) -> Float[Array, "*rest channel"]:
    """x (1 + t)/2, t = tanh(√(2/π) (x + 0.044715 x³)). Source: Hendrycks & Gimpel 2016."""
    return 0.5 * x * (1 + _cubic_tanh(x)[0])


@gelu.defjvp
def _gelu_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    t, square = _cubic_tanh(x)
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SLOPE * (1 + 3 * CUBIC * square)
    return 0.5 * x * (1 + t), slope * dx


class MLP(nnx.Module):
    """out(gelu(in(x))) with `mlp`·width hidden units."""

    def __init__(self, config: TransformerConfig, normals: Normals):
        hidden = config.mlp * config.width
        self.expand = Linear(config, config.width, hidden, normals)
        self.contract = Linear(config, hidden, config.width, normals, writes=True)

    def __call__(self, x: Float[Array, "batch token channel"]) -> Float[Array, "batch token channel"]:
        return self.contract(gelu(self.expand(x)))
