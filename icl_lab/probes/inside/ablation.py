"""Ablation of heads and MLPs, and frozen attention patterns: the change of the loss.

The site chooses the experiment: "z" removes a head, "mlp_out" removes an MLP, and "pattern" freezes the attention
pattern of a head but not the values it attends to.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.interventions import (
    ALL,
    Worlds,
    asked,
    has_heads,
    in_pieces,
    pieces,
    record,
    replay,
    together,
    untouched,
    worlds,
)

BY = ("zero", "mean", "resample")
AT_ONCE = 64


@exact(static=("site", "by", "position", "at_once"))
def ablation_effect(
    learner: TransformerLearner,
    prompts: Prompts,
    site: str = "z",
    by: str = "mean",
    position: int | None = -1,
    at_once: int = AT_ONCE,
) -> Float[Array, "layer *head prompt"]:
    """Measure the change of each prompt's loss when one head or MLP of one layer is replaced at all tokens.

    Args:
        site: "z" for heads, "mlp_out" for MLPs, "pattern" for frozen patterns, or any other of `SITES`.
        by: "zero"; "mean": the mean over these prompts, token by token; "resample": the value in the next prompt of the
            batch (the batch must not be sorted by latent).
        position: of the loss; None for the mean over all answered positions.
        at_once: prompts run at the same time.

    Returns:
        Loss after minus before, squared error or nats: [layer, head, prompt] at sites with heads, else [layer, prompt].

    Raises:
        ValueError: an unknown site or kind, or a position that the format does not answer.
    """
    config = learner.model.config
    tokens = learner.format.tokens(prompts.positions)
    heads = np.arange(config.heads) if has_heads(site) else np.array([ALL])
    layer, head = np.meshgrid(np.arange(config.applications), heads, indexing="ij")
    which = worlds(config, site, tokens, layer, head, np.array(ALL))
    found = _loss_change(learner, prompts, which, site, by, position, at_once)
    return found.reshape(*(layer.shape if has_heads(site) else layer.shape[:1]), -1)


@exact(static=("site", "by", "position", "at_once"))
def joint_ablation_effect(
    learner: TransformerLearner,
    prompts: Prompts,
    sets: Bool[Array, "set layer head"],
    site: str = "z",
    by: str = "mean",
    position: int | None = -1,
    at_once: int = AT_ONCE,
) -> Float[Array, "set prompt"]:
    """Measure the change of the loss when a set of heads is replaced together; otherwise like `ablation_effect`.

    For example a set of induction heads, with `random_sets` of the same layers as controls. An empty set changes
    nothing.
    """
    tokens = learner.format.tokens(prompts.positions)
    mask = jnp.broadcast_to(sets[..., None], (*sets.shape, tokens))
    which = Worlds(sets.any(-1).argmax(-1), mask)
    return _loss_change(learner, prompts, which, site, by, position, at_once)


def random_sets(key: Array, chosen: Bool[Array, "layer head"], draws: int) -> Bool[Array, "draw layer head"]:
    """Draw random sets with as many heads per layer as the chosen one, from the other heads if there are enough."""
    order = jax.random.uniform(key, (draws, *chosen.shape)) + chosen
    rank = jnp.argsort(jnp.argsort(order, axis=-1), axis=-1)
    return rank < chosen.sum(-1, keepdims=True)


def _loss_change(
    learner: TransformerLearner,
    prompts: Prompts,
    which: Worlds,
    site: str,
    by: str,
    position: int | None,
    at_once: int,
) -> Float[Array, "world prompt"]:
    """Return the loss in every world minus that of the world that starts at the same layer and replaces nothing."""
    if by not in BY:
        raise ValueError(f"by: {by!r} is not known; choose one of {', '.join(BY)}")
    config, format, outcomes = learner.model.config, learner.format, learner.outcomes
    read, positions = asked(format, prompts.positions, position)
    inputs = format.encode(prompts, outcomes)
    everything = together(untouched(config, site, inputs.shape[1]), which)
    shared = jnp.zeros((config.applications, 1, 1, 1))
    if by == "mean":
        # Pieces are equally large, so the mean of their means is the mean.
        shared = jax.lax.map(lambda some: record(learner, some, site, read).value.mean(1), pieces(inputs, at_once))
        shared = shared.mean(0)

    def loss_of(natural: Array, y: Array) -> Array:
        return outcomes.from_natural(natural).loss(y).mean(-1)

    def piece(data: tuple[Array, Array, Array]) -> Array:
        own_inputs, next_inputs, y = data
        own = record(learner, own_inputs, site, read)
        other = record(learner, next_inputs, site, read).value if by == "resample" else shared
        return replay(learner, own, other, site, everything, read, lambda natural: loss_of(natural, y)).T

    data = (inputs, jnp.roll(inputs, -1, axis=0), prompts.y[:, positions])
    loss = in_pieces(piece, data, at_once).T
    return loss[config.applications :] - loss[which.start]
