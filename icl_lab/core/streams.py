"""Independent random streams of one seed, by name.

`jax.random.split(key, n)[i]` *is* `fold_in(key, i)`: two rooms that start from `key(seed)` and count from zero draw the
same keys, and a learner would be trained on the prompts that judge it. A name keeps them apart.
"""

import zlib
from typing import Any

import jax
from jaxtyping import Array


def stream(seed: Any, name: str) -> Array:
    """The key fold_in(key(seed), crc32(name)); the seed may be traced."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
