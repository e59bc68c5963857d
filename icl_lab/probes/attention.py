"""Attention patterns, read through taps."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.formats import Format
from icl_lab.models import Model, capture, site_table
from icl_lab.outcomes import Outcomes, Real
from icl_lab.prompts import Prompts

REAL = Real()


@functools.partial(jax.jit, static_argnames=("model", "format", "outcomes"))
def mean_attention(
    model: Model, format: Format, params: Any, prompts: Prompts, outcomes: Outcomes = REAL
) -> Float[Array, "layer head token token_key"]:
    """Mean attention pattern over prompts of every layer and head."""
    wanted = [name for name in site_table(model.config) if name.endswith(".pattern")]
    _, values = capture(model, params, format.encode(prompts, outcomes), wanted)
    return jnp.stack([values[name].mean(0) for name in wanted])
