"""Prompts drawn by numpy (nothing to compile), and loops over prompts and prefixes in float64."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from icl_lab.core.prompts import Prompts


def prompts(dimension: int = 3, examples: int = 8, batch: int = 6, noise: float = 0.5, scale: float = 1.0) -> Prompts:
    """Linear regression with unit weights, inputs of the scale given."""
    rng = np.random.default_rng(dimension + 100 * examples)
    x = scale * rng.normal(size=(batch, examples + 1, dimension))
    w = rng.normal(size=(batch, dimension))
    y = np.einsum("bif,bf->bi", x, w) + noise * rng.normal(size=x.shape[:2])
    arrays = [jnp.asarray(a, jnp.float32) for a in (x, y, w)]
    return Prompts(*arrays, scored=jnp.ones(y.shape, bool))


def loop(given: Prompts, answer: Callable[..., float]) -> np.ndarray:
    """answer(x, y, query) at every position of every prompt, 0 before the first example."""
    x, y = np.asarray(given.x, float), np.asarray(given.y, float)
    return np.array(
        [[answer(x[b, :i], y[b, :i], x[b, i]) if i else 0.0 for i in range(y.shape[1])] for b in range(len(y))]
    )
