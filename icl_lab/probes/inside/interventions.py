"""Replaying a run with some values inside it replaced: one program for patches, ablations, frozen patterns and vectors.

A *world* is one altered run of the same prompts. What is replaced in it is data: a mask over layers, heads and tokens,
and the values to put there. Each world is taken up at its first altered layer from the recorded residual stream, so
nothing before that layer is computed again, and values that are not replaced are the recorded ones, bit for bit: a
world that replaces nothing, or a value by itself, has the answers of the original exactly.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.formats import Format
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import SITES, TransformerConfig, capture, patch

ALL, NONE = -1, -2  # in place of an index: every head or token, or no token


@pytree_dataclass
class Worlds:
    """What is replaced, one entry per world.

    Attributes:
        start: the layer at which the run is taken up, [world]; nothing may be replaced before it.
        mask: True where the value is replaced, [world, layer, head, token]; the head axis has length 1 at sites
            without heads.
    """

    __no_type_check__ = True  # transformations put tracers into fields

    start: Array
    mask: Array


@pytree_dataclass
class Recording:
    """A run, as far as it takes to replay it.

    Attributes:
        stream: `resid_pre` of every layer, [layer, batch, token, width].
        value: the site of every layer, [layer, batch, token, width] or [layer, batch, head, token, …].
        answers: natural parameters at the tokens read, [batch, read, output].
    """

    __no_type_check__ = True  # transformations put tracers into fields

    stream: Array
    value: Array
    answers: Array


def has_heads(site: str) -> bool:
    """Whether a site has one value per head.

    Raises:
        ValueError: a name that is no site; give one without its layer.
    """
    if site not in SITES:
        raise ValueError(f"site: {site!r} is not one of {', '.join(SITES)}")
    return "head" in SITES[site]


def worlds(
    config: TransformerConfig, site: str, tokens: int, layer: np.ndarray, head: np.ndarray, token: np.ndarray
) -> Worlds:
    """One replacement per world, at (layer, head, token) or at ALL heads or tokens; token NONE replaces nothing.

    At sites without heads the head is ignored. The three arrays are broadcast against each other and flattened.
    """
    layer, head, token = (part.ravel()[:, None, None, None] for part in np.broadcast_arrays(layer, head, token))
    heads = config.heads if has_heads(site) else 1
    head = head if has_heads(site) else np.full_like(head, ALL)
    here = (
        (np.arange(config.applications)[:, None, None] == layer)
        & ((np.arange(heads)[:, None] == head) | (head == ALL))
        & ((np.arange(tokens) == token) | (token == ALL))
    )
    return Worlds(jnp.asarray(layer.ravel()), jnp.asarray(here))


def untouched(config: TransformerConfig, site: str, tokens: int) -> Worlds:
    """One world per layer that is taken up there and replaces nothing: the baseline of those that start there."""
    return worlds(config, site, tokens, np.arange(config.applications), np.array(ALL), np.array(NONE))


def together(*parts: Worlds) -> Worlds:
    """Several sets of worlds in one."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def asked(format: Format, positions: int, position: int | None) -> tuple[slice, slice]:
    """The tokens at which one position is answered, or all that are (None), and these positions.

    Raises:
        ValueError: the format does not answer that position.
    """
    if position is None:
        return format.read(positions), format.answers(positions)
    tokens = range(*format.read(positions).indices(format.tokens(positions)))
    answered = list(range(*format.answers(positions).indices(positions)))
    if (wanted := position % positions) not in answered:
        raise ValueError(f"position: {position} is not answered by {type(format).__name__}; give one of {answered}")
    token = tokens[answered.index(wanted)]
    return slice(token, token + 1), slice(wanted, wanted + 1)


def record(
    learner: TransformerLearner, inputs: Float[Array, "batch token channel"], site: str, read: slice
) -> Recording:
    """Run the model and keep, of every layer, the stream before it and the value at the site."""
    layers = range(learner.model.config.applications)
    names = [f"{layer}.{name}" for name in ("resid_pre", site) for layer in layers]
    with jax.default_matmul_precision("highest"):
        answers, found = capture(learner.model, learner.params, inputs, names, read)
    kept = [jnp.stack([found[f"{layer}.{name}"] for layer in layers]) for name in ("resid_pre", site)]
    return Recording(kept[0], kept[1], answers)


def replay(
    learner: TransformerLearner,
    recording: Recording,
    other: Array,
    site: str,
    which: Worlds,
    read: slice,
    reduce: Callable[[Array], Array] = lambda answers: answers,
) -> Float[Array, "world ..."]:
    """Natural parameters answered in every world, in which the masked values are those of `other`.

    Worlds are run one after the other (`lax.map`), each from its first layer on (`lax.switch`): memory is that of one
    run. The program holds layers·(layers + 1)/2 blocks.

    Args:
        recording: the run that is altered, as recorded at this site.
        other: values to put in place, [layer, …] broadcast to the recording's `value`.
        reduce: what is kept of the answers [batch, read, output] of each world; worked out world by world, so that
            equal answers give equal bits (a difference taken outside may be fused with a product).
    """
    config = learner.model.config
    idle = jnp.zeros((*recording.stream.shape[1:3], config.channels), recording.stream.dtype)

    def from_layer(start: int) -> Callable[[Array], Array]:
        def run(mask: Array) -> Array:
            def mixed(layer: int) -> Callable[[Array], Array]:
                here = mask[layer][None, ..., None] if has_heads(site) else mask[layer, 0][None, :, None]
                own = recording.value[layer] if layer == start else None
                return lambda value: jnp.where(here, other[layer], value if own is None else own)

            # What is computed before the stream is put in place is not used: the compiler leaves it out.
            replaced: dict[str, Any] = {f"{start}.resid_pre": recording.stream[start]}
            replaced |= {f"{layer}.{site}": mixed(layer) for layer in range(start, config.applications)}
            return patch(learner.model, learner.params, idle, replaced, read)

        return run

    branches = [from_layer(layer) for layer in range(config.applications)]
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda world: reduce(jax.lax.switch(world.start, branches, world.mask)), which)


def pieces(arguments: Any, at_once: int) -> Any:
    """[batch, …] → [piece, batch of a piece, …], where a piece is the largest divisor of the batch up to `at_once`."""
    size = jax.tree.leaves(arguments)[0].shape[0]
    each = max(n for n in range(1, min(size, at_once) + 1) if size % n == 0)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, each, *leaf.shape[1:]), arguments)


def in_pieces(function: Callable[[Any], Any], arguments: Any, at_once: int) -> Any:
    """`function` of a batch, over pieces of it one after the other, for bounded memory. Results lead with the batch."""
    found = jax.lax.map(function, pieces(arguments, at_once))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)
