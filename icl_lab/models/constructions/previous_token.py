"""The lower half of an induction head: every token of a stream learns what came before it."""

import numpy as np
from jaxtyping import Float

from icl_lab.models.constructions.parts import add, set_head
from icl_lab.models.constructions.units import gelu
from icl_lab.models.functional import Params

APART = 40.0  # difference of scores at which one key has all the attention: e^-40 is nothing in float32
CLOSED = 16.0  # below −CLOSED a GELU unit is exactly zero in float32


def clock(tokens: int) -> Float[np.ndarray, "token 2"]:
    """Return positions as points on half a circle, (cos θt, sin θt) with θ = π/tokens."""
    angle = np.pi / tokens * np.arange(tokens)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def set_previous_token_block(layer: Params, states: int, tokens: int, at: dict[str, slice]) -> None:
    """Fill a layer so that it writes the state before into `before`, and erases the first token.

    Attention: q_t is the position turned back by one, k_s the position, so that the score
    APART·cos(θ(t − 1 − s))/(1 − cos θ) has its maximum at s = t − 1, APART above its neighbours. The first token has
    none before it and finds itself. The MLP takes back its `before` and, with the same units, its `now`: one unit a
    state, gelu(now + CLOSED·(first − 1)), open at the first token only. What is left there is its position.

    Args:
        layer: silent parameters.
        states, tokens: K, and the longest stream.
        at: channels `now` (K, one-hot state), `before` (K), `position` (2, see `clock`) and `first` (1, a flag).
    """
    angle = np.pi / tokens
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pair, some = slice(0, 2), slice(0, states)
    attention, mlp = layer["attention"], layer["mlp"]
    sharp = APART / (1 - np.cos(angle)) * attention["query"]["kernel"].shape[1] ** 0.5
    set_head(
        attention,
        query=[(at["position"], pair, sharp * turn)],
        key=[(at["position"], pair, 1.0)],
        value=[(at["now"], some, 1.0)],
        output=[(some, at["before"], 1.0)],
    )
    opened = -1.0 / float(gelu(np.ones(1))[0])
    add(mlp["expand"]["kernel"], (at["now"], some, 1.0), (at["first"], some, np.full((1, states), CLOSED)))
    mlp["expand"]["bias"][some] = -CLOSED
    add(mlp["contract"]["kernel"], (some, at["now"], opened), (some, at["before"], opened))
