"""Position schemes without parameters: sinusoids, rotations, and a penalty on distance. They serve any length."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

BASE = 10_000.0  # wavelengths run from 2π to 2π·BASE tokens
LENGTH_BOUND = ("learned", "relative")  # schemes with a table of `tokens` rows


def frequencies(channels: int) -> Float[np.ndarray, " pair"]:
    """Radians per token of every pair of channels: BASE^(−2i / channels), i = 0, 1, …, ⌈channels/2⌉ − 1."""
    return BASE ** (-np.arange(0, channels, 2) / channels)


def sinusoids(tokens: int, width: int) -> Float[np.ndarray, "token width"]:
    """Channel 2i of token t: sin(t·f_i); channel 2i + 1: cos(t·f_i). Added to the embedding; Vaswani et al. 2017."""
    angles = np.arange(tokens)[:, None] * frequencies(width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(tokens, -1)[:, :width].astype(np.float32)


def rotated(x: Float[Array, "batch head token channel"], at: Int[np.ndarray, " token"]) -> Array:
    """Queries or keys turned by their position: channels (i, i + c/2) of token t by the angle t·f_i.

    (R_t q)·(R_s k) = q·R_{s−t} k: a score depends on the two positions through their difference only. Su et al. 2021
    pair neighbouring channels; which channels make a pair is a matter of their order, which is learned.
    """
    angles = at[:, None] * frequencies(x.shape[-1])
    cos, sin = (jnp.asarray(turn, x.dtype) for turn in (np.cos(angles), np.sin(angles)))
    first, second = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def slopes(heads: int) -> Float[np.ndarray, " head"]:
    """2^(−8h / H), h = 1, …, H: nats by which a score falls per token of distance. Press et al. 2022."""
    return 2.0 ** (-8 * np.arange(1, heads + 1) / heads)


def penalties(heads: int, at: Int[np.ndarray, " token"], tokens: int) -> Float[np.ndarray, "head token key"]:
    """−slope·|t − s| for the tokens t in `at` and every key s < tokens; added to the scores. Press et al. 2022."""
    return (-slopes(heads)[:, None, None] * np.abs(at[:, None] - np.arange(tokens))).astype(np.float32)
