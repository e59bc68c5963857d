"""Attention patterns, read through taps."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.formats import Format
from icl_lab.models import Model, capture, site_table
from icl_lab.prompts import Prompts


@functools.partial(jax.jit, static_argnames=("model", "format"))
def mean_attention(
    model: Model, format: Format, params: Any, prompts: Prompts
) -> Float[Array, "layer head token token_key"]:
    """Mean attention pattern over prompts of every layer and head."""
    wanted = [name for name in site_table(model.config) if name.endswith(".pattern")]
    _, values = capture(model, params, format.encode(prompts), wanted)
    return jnp.stack([values[name].mean(0) for name in wanted])
