"""Independent random streams of one seed, by name.

`jax.random.split(key, n)[i]` *is* `fold_in(key, i)`. Two programs that both start from `key(seed)` and count from zero
use the same keys, so that a learner would be trained on the prompts that judge it. Named streams avoid this.
"""

import zlib
from typing import Any

import jax
from jaxtyping import Array


def stream(seed: Any, name: str) -> Array:
    """Return the key fold_in(key(seed), crc32(name)). The seed may be traced."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
