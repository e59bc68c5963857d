"""Reading and replacing what happens inside a model: one tap, one alphabet of site names.

A site is "LAYER.SITE", e.g. "0.pattern"; in a looped model LAYER counts applications (layer i of loop j is
j·layers + i). Everything here works inside `jax.jit`, `jax.vmap` and `jax.grad`. Choose the sites first and reduce the
captured values inside the jitted function: caches of everything fill the memory.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.models.functional import Model, Params, TransformerConfig
from icl_lab.models.transformer import EVERY

SITES: dict[str, tuple[str, ...]] = {
    "resid_pre": ("batch", "token", "width"),
    "q": ("batch", "head", "token", "head_size"),
    "k": ("batch", "head", "token", "head_size"),
    "v": ("batch", "head", "token", "head_size"),
    "scores": ("batch", "head", "token", "key"),
    "pattern": ("batch", "head", "token", "key"),
    "z": ("batch", "head", "token", "head_size"),
    "attn_out": ("batch", "token", "width"),
    "resid_mid": ("batch", "token", "width"),
    "mlp_out": ("batch", "token", "width"),
    "resid_post": ("batch", "token", "width"),
}
"""Every site of a layer, in the order of the forward pass, with its axes. `q` of softmax attention is before the
division by √head_size, `scores` after it and before the mask; rotary positions turn q and k between the two.
`resid_mid` and `mlp_out` exist only with an MLP."""

Replacement = Array | Callable[[Array], Any]


@functools.cache
def _shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every site for one prompt of full length, in firing order, found by running a tap abstractly."""
    model, shapes = Model(config), {}

    def tap(site: str, value: Array) -> Array:
        shapes[site] = value.shape
        return value

    inputs = jax.ShapeDtypeStruct((1, config.tokens, config.channels), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0))
    jax.eval_shape(lambda p, x: model.apply(p, x, tap=tap), params, inputs)
    return shapes


def site_table(config: TransformerConfig) -> dict[str, str]:
    """Every site of such a model, in firing order, with its shape: {"0.q": "batch head=4 token=31 head_size=16", …}."""
    return {site: _describe(site, shape) for site, shape in _shapes(config).items()}


def _describe(site: str, shape: tuple[int, ...]) -> str:
    axes = SITES[site.partition(".")[2]]
    return " ".join(["batch", *(f"{axis}={size}" for axis, size in zip(axes[1:], shape[1:], strict=True))])


def capture(
    model: Model, params: Params, inputs: Float[Array, "batch token channel"], sites: Iterable[str], read: slice = EVERY
) -> tuple[Float[Array, "batch read output"], dict[str, Array]]:
    """Answers, and the value at every requested site (all tokens).

    Raises:
        ValueError: a site this model does not have (the message suggests the nearest), or one that did not fire.
    """
    sites = tuple(sites)
    found: dict[str, Array] = {}

    def tap(site: str, value: Array) -> Array:
        if site in sites:
            found[site] = value
        return value

    return _run(model, params, inputs, read, tap, sites, found)


def patch(
    model: Model,
    params: Params,
    inputs: Float[Array, "batch token channel"],
    replacements: Mapping[str, Replacement],
    read: slice = EVERY,
) -> Float[Array, "batch read output"]:
    """Answers with the value at some sites replaced: by an array (broadcast to the site's shape) or a function of it.

    Raises:
        ValueError: an unknown site (the message suggests the nearest), one that did not fire, or a replacement of
            another shape.
    """
    fired: dict[str, Array] = {}

    def tap(site: str, value: Array) -> Array:
        if site not in replacements:
            return value
        new = replacements[site]
        fired[site] = jnp.asarray(new(value) if callable(new) else new)
        try:
            return jnp.broadcast_to(fired[site], value.shape).astype(value.dtype)
        except ValueError as error:
            shapes = f"{fired[site].shape} does not fit {value.shape}"
            raise ValueError(f"site {site!r}: replacement of shape {shapes}") from error

    return _run(model, params, inputs, read, tap, tuple(replacements), fired)[0]


def _run(
    model: Model,
    params: Params,
    inputs: Array,
    read: slice,
    tap: Callable[[str, Array], Array],
    sites: tuple[str, ...],
    fired: dict[str, Array],
) -> tuple[Array, dict[str, Array]]:
    """Apply with a tap, after checking that the sites exist and before believing that they were reached."""
    known = _shapes(model.config)
    for site in sites:
        if site not in known:
            nearest = max(known, key=lambda name: difflib.SequenceMatcher(None, site, name).ratio())
            raise ValueError(f"site {site!r} does not exist in this model; did you mean {nearest!r}?")
    outputs = model.apply(params, inputs, read=read, tap=tap)
    if silent := [site for site in sites if site not in fired]:
        raise ValueError(f"sites {silent} did not fire: nothing was read or replaced there")
    return outputs, fired
