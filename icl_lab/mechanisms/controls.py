"""Controls of mechanism verdicts: networks in which what is true of a learner must not be found."""

import dataclasses
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.compiling import exact
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import Params

Trained = TypeVar("Trained", bound=TransformerLearner | RecurrentLearner)


def random_control(learner: Trained, key: Array) -> Trained:
    """Return the same model with random weights: every matrix and vector is normal with its root mean square.

    This is the negative control of internal probes: what they find in a construction must be absent here. A matrix of
    zeros stays as it is, and so does a scalar, such as a step size, because its sign matters.
    """
    return dataclasses.replace(learner, params=_scrambled(learner.params, key))


def reversed_control(learner: TransformerLearner) -> TransformerLearner:
    """Return the same network with the output of the last layer's heads multiplied by −3.

    This is a near miss: activations before that output and attention patterns are unchanged, but the answer is wrong.
    In a looped model every pass through the layer is reversed.
    """
    last = str(max(int(name) for name in learner.params["layers"]))

    def turned(path: tuple, leaf: Array) -> Array:
        names = [getattr(part, "key", part) for part in path]
        return -3 * leaf if names[:4] == ["layers", last, "attention", "output"] else leaf

    return dataclasses.replace(learner, params=jax.tree_util.tree_map_with_path(turned, learner.params))


@exact(effort="once")
def _scrambled(params: Params, key: Array) -> Params:
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    drawn = jnp.split(jax.random.normal(key, (int(ends[-1]),)), ends[:-1])

    def scaled(leaf: Array, noise: Array) -> Array:
        ratio = jnp.mean(jnp.square(leaf)) / jnp.mean(jnp.square(noise))
        return (jnp.sqrt(ratio) * noise).reshape(leaf.shape).astype(leaf.dtype) if leaf.ndim else leaf

    return jax.tree.unflatten(structure, [scaled(*pair) for pair in zip(leaves, drawn, strict=True)])
