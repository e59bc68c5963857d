"""An induction head that copies: two layers that answer with what followed the most recent match."""

import numpy as np

from icl_lab.models.config import TransformerConfig
from icl_lab.models.constructions.parts import add, channels, finished, set_head, silent
from icl_lab.models.constructions.previous_token import APART, clock, set_previous_token_block
from icl_lab.models.functional import Model, Params


def most_recent_match(states: int, tokens: int, floor: float = 1e-4) -> tuple[Model, Params]:
    """Build a model that copies the state that followed the most recent earlier visit to the present state of a chain.

    Layer 0 is the previous-token head of `set_previous_token_block`. Layer 1 attends from token t to one token s ≤ t,

        score(t, s) = 40·(T·[before_s = now_t] + s),

    the latest whose state before is the present one, and copies its state; where there is none, that is t itself, which
    is the outcome of the most recent example. The first token, erased in layer 0, is seen by itself only: all logits 0.
    Logits are log(1/floor) at the state copied, so that every other has `floor` of its probability.

    Args:
        states, tokens: K, and the longest stream T.
        floor: share of a state that was not copied, before all are normalised.

    Source: Olsson et al. 2022.
    """
    sizes = {"now": states, "before": states, "logit": states, "position": 2, "first": 1, "age": 1}
    at, width = channels(**sizes)
    head_size = states + 1
    config = TransformerConfig(
        channels=states,
        tokens=tokens,
        layers=2,
        width=width,
        head_size=head_size,
        mlp=1,
        normalisation="none",
        positions="learned",
        mask="causal",
        outputs=states,
    )
    model = Model(config)
    params = silent(model)
    every, order = slice(0, states), slice(states, states + 1)
    add(params["embed"]["kernel"], (every, at["now"], 1.0))
    params["positions"][:, at["position"]] = clock(tokens)
    params["positions"][0, at["first"]] = 1.0
    params["positions"][:, at["age"]] = np.arange(tokens)[:, None]
    lower, upper = params["layers"]["0"], params["layers"]["1"]
    set_previous_token_block(lower, states, tokens, at)
    unit = APART * head_size**0.5
    set_head(
        upper["attention"],
        query=[(at["now"], every, tokens * unit)],
        key=[(at["before"], every, 1.0), (at["age"], order, 1.0)],
        value=[(at["now"], every, 1.0)],
        output=[(every, at["logit"], 1.0)],
    )
    upper["attention"]["query"]["bias"][order] = unit
    add(params["readout"]["kernel"], (at["logit"], every, np.log(1 / floor)))
    return model, finished(params)
