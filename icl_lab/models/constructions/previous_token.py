"""The lower half of an induction head: every token of a stream learns what came before it."""

import numpy as np
from jaxtyping import Float

from icl_lab.models.constructions.parts import matrix, vector
from icl_lab.models.constructions.units import gelu
from icl_lab.models.functional import Params

APART = 40.0  # difference of scores at which one key has all the attention: e^-40 is nothing in float32
CLOSED = 16.0  # below −CLOSED a GELU unit is exactly zero in float32


def clock(tokens: int) -> Float[np.ndarray, "token 2"]:
    """Positions as points on half a circle, (cos θt, sin θt) with θ = π/tokens; `back` turns them by one token."""
    angle = np.pi / tokens * np.arange(tokens)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def previous_token_block(
    states: int, tokens: int, at: dict[str, slice], width: int, head_size: int, hidden: int
) -> tuple[Params, Params]:
    """Attention and MLP of a block that writes the state before into `before`, and erases the first token.

    Attention: q_t is the position turned back by one, k_s the position, so that the score
    APART·cos(θ(t − 1 − s))/(1 − cos θ) has its maximum at s = t − 1, APART above its neighbours. The first token has
    none before it and finds itself. The MLP takes back its `before` and, with the same units, its `now`: one unit a
    state, gelu(now + CLOSED·(first − 1)), open at the first token only. What is left there is its position.

    Args:
        states, tokens: K, and the longest stream.
        at: channels `now` (K, one-hot state), `before` (K), `position` (2, see `clock`) and `first` (1, a flag).
        width, head_size, hidden: sizes of the model.
    """
    angle = np.pi / tokens
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    sharp = APART / (1 - np.cos(angle)) * head_size**0.5
    pair, some = slice(0, 2), slice(0, states)
    attention = {
        "query": {
            "kernel": matrix(width, head_size, (at["position"], pair, sharp * turn)),
            "bias": np.zeros(head_size),
        },
        "key": {"kernel": matrix(width, head_size, (at["position"], pair, 1.0))},
        "value": {"kernel": matrix(width, head_size, (at["now"], some, 1.0)), "bias": np.zeros(head_size)},
        "output": {"kernel": matrix(head_size, width, (some, at["before"], 1.0)), "bias": np.zeros(width)},
    }
    opened = -1.0 / float(gelu(np.ones(1))[0])
    mlp = {
        "expand": {
            "kernel": matrix(width, hidden, (at["now"], some, 1.0), (at["first"], some, np.full((1, states), CLOSED))),
            "bias": vector(hidden, (some, -CLOSED)),
        },
        "contract": {
            "kernel": matrix(hidden, width, (some, at["now"], opened), (some, at["before"], opened)),
            "bias": np.zeros(width),
        },
    }
    return attention, mlp
