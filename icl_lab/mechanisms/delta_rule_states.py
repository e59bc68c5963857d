"""The fast weights of a delta-rule network, and its answers after some of its values were replaced."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel


def config_of(learner: RecurrentLearner) -> DeltaRuleConfig:
    """Return the configuration of a delta-rule network."""
    assert isinstance(learner.model, DeltaRuleModel)
    return learner.model.config


def inside(learner: RecurrentLearner, prompts: Prompts) -> dict[str, Array]:
    """Return the values at `RECURRENT_SITES`, and S "before" and "after" each token, [prompt, token, value, key]."""
    found: dict[str, Array] = {}

    def tap(site: str, value: Array) -> Array:
        found[site.partition(".")[2]] = value
        return value

    learner.model.apply(learner.params, learner.format.encode(prompts, learner.outcomes), tap=tap)
    state = found["state"]
    if config_of(learner).order == "write_read":
        return found | {"before": jnp.concatenate([found["initial_state"][:, None], state[:, :-1]], 1), "after": state}
    return found | {"before": state, "after": jnp.concatenate([state[:, 1:], state[:, -1:]], 1)}


def held(learner: RecurrentLearner, own: Mapping[str, Array], keys: Array) -> Float[Array, "prompt token value"]:
    """Return values v' with which other keys k' write the same errors: v' − S'k' = v − Sk at every token.

    A network may subtract its prediction from a label in the values as well as in the state; held values keep both.

    Args:
        learner: the network.
        own: its values (`inside`).
        keys: the other keys k', [prompt, token, key].
    """
    tokens = np.arange(keys.shape[1])
    first = tokens - tokens % config_of(learner).mini_batch

    def read(before: Array, keys: Array) -> Array:
        return jnp.einsum("btvk,btk->btv", before[:, first], keys)

    errors = own["v"] - read(own["before"], own["k"])
    written = jnp.cumsum(jnp.einsum("bt,btv,btk->btvk", own["beta"], errors, keys), axis=1)
    start = own["initial_state"][:, None]
    return errors + read(jnp.concatenate([start, start + written[:, :-1]], axis=1), keys)


def answer_with(learner: RecurrentLearner, prompts: Prompts, values: Mapping[str, Array]) -> Float[Array, " prompt"]:
    """Return the last answer with the values at some sites replaced."""

    def tap(site: str, value: Array) -> Array:
        return values.get(site.partition(".")[2], value)

    inputs = learner.format.encode(prompts, learner.outcomes)
    read = learner.format.read(prompts.positions)
    answers = learner.format.read_back(learner.model.apply(learner.params, inputs, read=read, tap=tap))
    return learner.outcomes.from_natural(answers).mean_target()[:, -1, 0]


def examples_per_batch(learner: RecurrentLearner, positions: int) -> int:
    """Return the size of the network's mini-batch in examples: all of them if one batch holds every example token."""
    size, tokens = config_of(learner).mini_batch, learner.format.tokens(positions)
    return positions - 1 if size >= tokens - 1 else size
