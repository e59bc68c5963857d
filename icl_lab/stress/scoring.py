"""Selection of the scored positions of a changed prompt."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from icl_lab.core.prompts import Prompts


def last_only(prompts: Prompts) -> Prompts:
    """Score the last position only, which follows all examples."""
    return from_position(prompts, prompts.positions - 1)


def from_position(prompts: Prompts, first: int | Int[Array, ""]) -> Prompts:
    """Score positions from `first` on."""
    return prompts.replace(scored=prompts.scored & (jnp.arange(prompts.positions) >= first))
