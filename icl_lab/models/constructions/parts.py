"""What hand-built models are made of: named channels of the residual stream, sparse matrices, parameters all zero.

Weights are set in numpy, in float64, and become float32 once, at the end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.models.functional import Model, Params

Numbers = Array | np.ndarray | float
Block = tuple[slice, slice, Numbers]  # rows, columns, and what stands there: a number c is c·I, a matrix itself


def channels(**sizes: int) -> tuple[dict[str, slice], int]:
    """Consecutive slices of those sizes, by name, and their total: the residual stream of a construction.

    >>> channels(x=2, y=1)
    ({'x': slice(0, 2), 'y': slice(2, 3)}, 3)
    """
    ends = np.cumsum([*sizes.values()]).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}, ends[-1]


def matrix(rows: int, columns: int, *blocks: Block) -> Float[np.ndarray, "row column"]:
    """A matrix that is zero but for these blocks. Blocks that overlap add up."""
    found = np.zeros((rows, columns))
    for row, column, value in blocks:
        part = found[row, column]
        part += value * np.eye(*part.shape) if np.ndim(value) == 0 else np.asarray(value)
    return found


def vector(size: int, *entries: tuple[slice, Numbers]) -> Float[np.ndarray, " entry"]:
    """A vector that is zero but for these entries."""
    found = np.zeros(size)
    for where, value in entries:
        found[where] = value
    return found


def silent(model: Model) -> Params:
    """Parameters that are all zero: no attention output, no MLP output, no positions. Constructions fill them in."""
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)


def finished(params: Params) -> Params:
    """The same as float32 arrays of jax."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
