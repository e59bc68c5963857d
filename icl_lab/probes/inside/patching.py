"""Interchange patching: what one place of a run carries, seen by putting another prompt's value there.

Vig et al. 2020; Geiger et al. 2021; Wang et al. 2023.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.interventions import (
    ALL,
    Worlds,
    asked,
    has_heads,
    in_pieces,
    record,
    replay,
    together,
    untouched,
    worlds,
)

AT_ONCE = 64


@exact(static=("site", "position", "at_once"))
def interchange_effect(
    learner: TransformerLearner,
    source: Prompts,
    target: Prompts,
    site: str = "resid_post",
    position: int | None = -1,
    at_once: int = AT_ONCE,
) -> Float[Array, "layer *head token pair"]:
    """How far the answer moves from the target's to the source's when one value comes from the source.

        effect = (patched − target)·(source − target) / |source − target|²

    of mean targets (ŷ, or the probabilities of all classes), per pair of prompts, for every layer, head (at sites with
    heads) and token. 1: this place alone carries the difference; 0: nothing of it, or the two answers are the same. Of
    `resid_pre/mid/post` all tokens together give 1; effects of several places need not add up.

    Args:
        source, target: as many prompts, in pairs; such as `counterpart(task, target, key)` and target.
        site: any of `SITES`, such as "resid_post", "z" or "pattern" (the row of a token).
        position: whose answer is looked at; None: the answers at all positions, as one vector.
        at_once: prompts run at the same time.

    Raises:
        ValueError: an unknown site, one that the model lacks, or a position that the format does not answer.
    """
    config, format, outcomes = learner.model.config, learner.format, learner.outcomes
    tokens = format.tokens(target.positions)
    layer, head, token = every_place(learner, site, tokens)
    which = together(untouched(config, site, tokens), worlds(config, site, tokens, layer, head, token))
    read, _ = asked(format, target.positions, position)

    def of(natural: Array) -> Array:
        found = outcomes.from_natural(natural).mean_target()
        return found.reshape(*found.shape[:-2], -1)

    def piece(inputs: Array) -> Array:
        own, other = recorded_pair(learner, inputs[:, 0], inputs[:, 1], site, read)
        answers = replay(learner, own, other.value, site, which, read, of)
        before, after = answers[: config.applications], answers[config.applications :]
        before = before[layer.ravel()]
        apart = of(other.answers) - of(own.answers)
        size = jnp.square(apart).sum(-1)
        effect = ((after - before) * apart).sum(-1) / jnp.where(size > 0, size, 1.0)
        return effect.T

    inputs = jnp.stack([format.encode(prompts, outcomes) for prompts in (target, source)], axis=1)
    found = in_pieces(piece, inputs, at_once).T
    shape = layer.shape if has_heads(site) else (layer.shape[0], layer.shape[2])
    return found.reshape(*shape, -1)


def every_place(learner: TransformerLearner, site: str, tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Layer, head and token of every single place of a site, each [layer, head, token]; without heads, one and ALL."""
    config = learner.model.config
    heads = np.arange(config.heads) if has_heads(site) else np.array([ALL])
    layer, head, token = np.meshgrid(np.arange(config.applications), heads, np.arange(tokens), indexing="ij")
    return layer, head, token


def recorded_pair(learner: TransformerLearner, target: Array, source: Array, site: str, read: slice) -> tuple:
    """Recordings of two batches by the same compiled code, so that equal prompts give equal bits."""
    both = jax.lax.map(lambda inputs: record(learner, inputs, site, read), jnp.stack([target, source]))
    return tuple(jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2))


@exact(static=("site", "position"))
def patched_answers(
    learner: TransformerLearner, source: Prompts, target: Prompts, which: Worlds, site: str, position: int | None = -1
) -> Float[Array, "world pair read output"]:
    """Natural parameters answered to the targets in worlds of the caller's, masked values from the sources.

    Patching nothing, or equal prompts, gives the target's answers bit for bit, and patching all tokens of `resid_pre`
    or `resid_post` those of the source: that is, of worlds that are taken up at the same layer and replace nothing. A
    plain run agrees to rounding.
    """
    read, _ = asked(learner.format, target.positions, position)
    target_inputs, source_inputs = (learner.format.encode(prompts, learner.outcomes) for prompts in (target, source))
    own, other = recorded_pair(learner, target_inputs, source_inputs, site, read)
    return replay(learner, own, other.value, site, which, read)
