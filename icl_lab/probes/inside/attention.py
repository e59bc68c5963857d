"""Attention patterns, read through taps."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from icl_lab.core.compiling import exact
from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Prompts
from icl_lab.formats import Format
from icl_lab.models import Model, capture, site_table

REAL = Real()


@exact(static=("model", "format", "outcomes"))
def mean_attention(
    model: Model, format: Format, params: Any, prompts: Prompts, outcomes: Outcomes = REAL
) -> Float[Array, "layer head token token_key"]:
    """Return the mean attention pattern over prompts, for every layer and head."""
    wanted = [name for name in site_table(model.config) if name.endswith(".pattern")]
    _, values = capture(model, params, format.encode(prompts, outcomes), wanted)
    return jnp.stack([values[name].mean(0) for name in wanted])


@exact(static=("model", "format", "outcomes"))
def induction_scores(
    model: Model, format: Format, params: Any, prompts: Prompts, outcomes: Outcomes = REAL
) -> dict[str, Float[Array, "layer head"]]:
    """Return `prefix_matching` and `previous_token` scores of every layer and head, for a stream."""
    wanted = [name for name in site_table(model.config) if name.endswith(".pattern")]
    _, values = capture(model, params, format.encode(prompts, outcomes), wanted)
    patterns = jnp.stack([values[name] for name in wanted])
    symbols = prompts.x.argmax(-1)
    return {"prefix matching": prefix_matching(patterns, symbols), "previous token": previous_token(patterns)}


def prefix_matching(
    patterns: Float[Array, "*lead batch head token token_key"], symbols: Int[Array, "batch token"]
) -> Float[Array, "*lead head"]:
    """Return the attention to tokens that followed earlier occurrences of the token itself (Olsson et al. 2022).

    In the stream 2 0 3 2, this is the last token's attention to the 0. It is 1 for a perfect induction head.
    """
    tokens = symbols.shape[-1]
    same = symbols[:, :, None] == symbols[:, None, :]
    after = jnp.pad(same[:, :, :-1], ((0, 0), (0, 0), (1, 0))) & jnp.tril(jnp.ones((tokens, tokens), bool))
    paid = (patterns * after[:, None]).sum(-1)
    count = after.any(-1).sum()
    return (paid * after.any(-1)[:, None]).sum((-3, -1)) / count


def previous_token(patterns: Float[Array, "*lead batch head token token_key"]) -> Float[Array, "*lead head"]:
    """Return the attention to the previous token, averaged over all tokens but the first."""
    return jnp.diagonal(patterns, -1, axis1=-2, axis2=-1).mean((-3, -1))
