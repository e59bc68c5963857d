"""A tiny transformer with random weights and a plain way to alter its runs: for tests of what happens inside."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.prompts import Prompts
from icl_lab.formats import Interleaved
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import LinearRegression

TASK = LinearRegression(dimension=3, examples=2)
MODEL = Model(TransformerConfig(channels=4, tokens=5, layers=2, heads=2, width=8, mlp=2, initial_scale=2.0))
LEARNER = TransformerLearner(jax.jit(MODEL.init)(jax.random.key(0)), MODEL, Interleaved())
LAYERS, HEADS, TOKENS = 2, 2, 5

Site = tuple[tuple, Any]  # an index into the site's value, and a value of the same shape to take the entries from


@jax.jit
def values(prompts: Any) -> dict[str, jax.Array]:
    """What is at every site."""
    found: dict[str, jax.Array] = {}

    def tap(site: str, value: jax.Array) -> jax.Array:
        found[site] = value
        return value

    MODEL.apply(LEARNER.params, LEARNER.format.encode(prompts), tap=tap)
    return found


@jax.jit
def _run(prompts: Any, masks: dict, others: dict) -> jax.Array:
    def tap(site: str, value: jax.Array) -> jax.Array:
        return jnp.where(masks[site], others[site], value)

    return MODEL.apply(LEARNER.params, LEARNER.format.encode(prompts), tap=tap)[:, -1, 0]


def answer(replacements: dict[str, Site], prompts: Any) -> np.ndarray:
    """ŷ at the last token of one run with entries of some sites replaced; {} for none."""
    masks = {site: np.zeros(value.shape, bool) for site, value in values(prompts).items()}
    others = {site: np.zeros(mask.shape, np.float32) for site, mask in masks.items()}
    for site, (index, other) in replacements.items():
        masks[site][index] = True
        others[site] = np.broadcast_to(np.asarray(other, np.float32), masks[site].shape)
    return np.asarray(_run(prompts, masks, others))


def chains(states: int, examples: int, batch: int, seed: int = 0) -> Prompts:
    """Markov chains drawn by numpy: drawing them in jax takes seconds to compile."""
    noise = np.random.default_rng(seed)
    rows = noise.dirichlet(np.ones(states), size=(batch, states))
    sequence = np.zeros((batch, examples + 2), int)
    sequence[:, 0] = noise.integers(states, size=batch)
    for i in range(examples + 1):
        for prompt in range(batch):
            sequence[prompt, i + 1] = noise.choice(states, p=rows[prompt, sequence[prompt, i]])
    x = jnp.asarray(np.eye(states, dtype=np.float32)[sequence[:, :-1]])
    y = jnp.asarray(sequence[:, 1:], jnp.int32)
    return Prompts(x=x, y=y, latent=jnp.asarray(rows, jnp.float32), scored=jnp.ones(y.shape, bool))


def pairs(dimension: int, examples: int, batch: int, seed: int = 0) -> Prompts:
    """Noiseless linear regressions drawn by numpy."""
    noise = np.random.default_rng(seed)
    x = noise.normal(size=(batch, examples + 1, dimension)).astype(np.float32)
    weights = noise.normal(size=(batch, dimension)).astype(np.float32)
    y = np.einsum("bif,bf->bi", x, weights)
    return Prompts(x=jnp.asarray(x), y=jnp.asarray(y), latent=jnp.asarray(weights), scored=jnp.ones(y.shape, bool))
