"""Which positions of a changed prompt count."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from icl_lab.core.prompts import Prompts


def last_only(prompts: Prompts) -> Prompts:
    """Only the last position counts: the one that has all examples before it."""
    return from_position(prompts, prompts.positions - 1)


def from_position(prompts: Prompts, first: int | Int[Array, ""]) -> Prompts:
    """Positions from `first` on count."""
    return prompts.replace(scored=prompts.scored & (jnp.arange(prompts.positions) >= first))
