"""Comparison of attention with known patterns: previous token, nearest example, own input, parent, and others.

The patterns are computed from the prompts alone, and every head is compared with all of them. Nonnegative patterns are
never orthogonal, so compare a cosine with that of uniform attention.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.formats import Format
from icl_lab.learners.kernels import squared_distances
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import capture
from icl_lab.models.attention import visible
from icl_lab.tasks import Task


class Carriers(NamedTuple):
    """The tokens that carry x_i, and the first that reveal y_i, [position]; −1 if there is none."""

    inputs: np.ndarray
    outcomes: np.ndarray


def carriers(format: Format, positions: int) -> Carriers:
    """Read the carriers off the format's labels: "x3", "y3", "x3,y3", or "s3" in a stream (x_3, which reveals y_2).

    Other tokens, such as descriptions, separators and blanks, carry neither.
    """
    inputs, outcomes = np.full(positions, -1), np.full(positions, -1)
    for token, label in enumerate(format.labels(positions)):
        for part in label.split(","):
            kind, index = part[:1], part[1:]
            if not index.isdigit():
                continue
            if kind in "xs":
                inputs[int(index)] = token
            if kind == "y":
                outcomes[int(index)] = token
            if kind == "s" and int(index):
                outcomes[int(index) - 1] = token
    return Carriers(inputs, outcomes)


def known_patterns(
    task: Task, format: Format, prompts: Prompts, seen: Bool[np.ndarray, "token key"]
) -> dict[str, Float[Array, "prompt token key"]]:
    """Return known patterns; a row is zero if the pattern is undefined for that token.

    "uniform" over visible tokens; "previous token"; "prefix matching": tokens that followed earlier occurrences of the
    same token; "nearest example": from x_i to the outcome of the earlier example with the nearest features (ties
    share); "own input": from y_i to x_i; for a task with a graph "parent": from s_i to its parent state s_{p(i)}.

    Args:
        seen: which keys each token may attend to, `visible(config, tokens)`.
    """
    tokens = seen.shape[0]
    at = carriers(format, prompts.positions)
    encoded = format.encode(prompts, task.outcomes)
    same = (encoded[:, :, None] == encoded[:, None]).all(-1)
    earlier = np.tri(tokens, k=-1, dtype=bool)
    followed = jnp.pad((same & earlier)[:, :, :-1], ((0, 0), (0, 0), (1, 0)))

    distance = squared_distances(task.features(prompts.x))
    before = np.tri(prompts.positions, k=-1, dtype=bool)
    distance = jnp.where(before, distance, jnp.inf)
    nearest = before & (distance <= distance.min(-1, keepdims=True) * (1 + 1e-6))
    rows, keys = np.flatnonzero(at.inputs >= 0), np.flatnonzero(at.outcomes >= 0)
    to_nearest = (
        jnp.zeros(same.shape).at[:, at.inputs[rows][:, None], at.outcomes[keys]].set(nearest[:, rows][..., keys])
    )

    own = np.zeros((tokens, tokens))
    both = np.flatnonzero((at.inputs >= 0) & (at.outcomes >= 0))
    own[at.outcomes[both], at.inputs[both]] = 1
    found = {
        "uniform": np.ones((tokens, tokens)),
        "previous token": np.eye(tokens, k=-1),
        "prefix matching": followed,
        "nearest example": to_nearest,
        "own input": own,
    }
    if task.graph is not None:
        parents = np.array(task.graph[: prompts.positions])
        both = np.flatnonzero((parents >= 0) & (at.inputs >= 0))
        found["parent"] = np.zeros((tokens, tokens))
        found["parent"][at.inputs[both], at.inputs[parents[both]]] = 1
    return {name: _rows(jnp.broadcast_to(value, same.shape) * seen) for name, value in found.items()}


def _rows(weight: Array) -> Array:
    """Normalise rows to sum to one; rows of zeros stay."""
    total = weight.sum(-1, keepdims=True)
    return weight / jnp.where(total > 0, total, 1.0)


class Likeness(NamedTuple):
    """Similarity of a head's pattern and a known one, over the rows where that is defined, [layer, head].

    Attributes:
        cosine: of the patterns, as vectors over prompts, tokens and keys.
        correlation: the same after subtracting the mean over visible keys from every row: 0 for uniform attention.
            NaN if nothing remains, as for the uniform pattern.
    """

    cosine: Float[Array, "layer head"]
    correlation: Float[Array, "layer head"]


@exact
def attention_likeness(learner: TransformerLearner, task: Task, prompts: Prompts) -> dict[str, Likeness]:
    """Compare every head with every pattern of `known_patterns`. NaN if the prompts have no row for a pattern.

    Rows of tokens that see a single key are ignored, because all patterns agree there.
    """
    config, format = learner.model.config, learner.format
    inputs = format.encode(prompts, task.outcomes)
    seen = visible(config, inputs.shape[1])
    names = [f"{layer}.pattern" for layer in range(config.applications)]
    _, found = capture(learner.model, learner.params, inputs, names)
    patterns = jnp.stack([found[name] for name in names])
    several = seen.sum(-1)[:, None] > 1

    def centred(pattern: Array) -> Array:
        return jnp.where(seen, pattern - pattern.sum(-1, keepdims=True) / seen.sum(-1, keepdims=True), 0.0)

    def likeness(known: Array) -> Likeness:
        told = (known.sum(-1, keepdims=True) > 0) & several
        return Likeness(*(_cosine(part(patterns), part(known)[:, None], told[:, None]) for part in (_same, centred)))

    return {name: likeness(known) for name, known in known_patterns(task, format, prompts, seen).items()}


def _same(pattern: Array) -> Array:
    return pattern


def _cosine(first: Array, second: Array, where: Array) -> Float[Array, "layer head"]:
    """Return the cosine over prompts, tokens and keys; NaN if one of them vanishes."""

    def total(values: Array) -> Array:
        return jnp.where(where, values, 0.0).sum((-4, -2, -1))

    size = total(jnp.square(first)) * total(jnp.square(second))
    cosine = total(first * second) / jnp.sqrt(jnp.where(size > 0, size, 1.0))
    return jnp.where(size > 1e-12, cosine, jnp.nan)
