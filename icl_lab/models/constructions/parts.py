"""Parts of hand-built models: named channels of the residual stream, parameters that are zero, and blocks to add.

Weights are set in numpy, in float64, and become float32 once, at the end.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.models.functional import Model, Params

Numbers = Array | np.ndarray | float
Block = tuple[slice, slice, Numbers]  # rows, columns, and a matrix; a number c stands for c·I


def channels(**sizes: int) -> tuple[dict[str, slice], int]:
    """Return consecutive slices of those sizes, by name, and their total: the residual stream of a construction.

    >>> channels(x=2, y=1)
    ({'x': slice(0, 2), 'y': slice(2, 3)}, 3)
    """
    ends = np.cumsum([*sizes.values()]).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}, ends[-1]


def add(kernel: np.ndarray, *blocks: Block) -> None:
    """Add blocks to a matrix, in place."""
    for rows, columns, value in blocks:
        part = kernel[rows, columns]
        part += value * np.eye(*part.shape) if np.ndim(value) == 0 else np.asarray(value)


def set_head(
    attention: Params, query: Sequence[Block], key: Sequence[Block], value: Sequence[Block], output: Sequence[Block]
) -> None:
    """Fill the four kernels of a silent layer with one head, in place."""
    for name, blocks in (("query", query), ("key", key), ("value", value), ("output", output)):
        add(attention[name]["kernel"], *blocks)


def silent(model: Model) -> Params:
    """Return parameters that are all zero, for a construction to fill in."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)


def finished(params: Params) -> Params:
    """Return parameters as float32 arrays of JAX."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
