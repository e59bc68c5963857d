"""An induction head that counts: two layers that answer with the smoothed bigram frequencies of a stream."""

import numpy as np

from icl_lab.models.config import TransformerConfig
from icl_lab.models.constructions.parts import add, channels, finished, set_head, silent
from icl_lab.models.constructions.previous_token import APART, clock, set_previous_token_block
from icl_lab.models.constructions.units import logarithm
from icl_lab.models.functional import Model, Params


def bigram_counts(states: int, tokens: int, concentration: float) -> tuple[Model, Params]:
    """p(next = c) = (C_c + α)/(n + Kα) of a chain of one-hot states, C_c of the n earlier visits went on to c.

    Layer 0, previous-token head: token s learns the state before it, the first is erased (`set_previous_token_block`).
    Layer 1, prefix matching: token t attends to all s ≤ t whose state before is its own. With B = 40,

        score(t, s) = B·[before_s = now_t] + (B + log Kα)·[s = 0],

    so that the pattern is 1/(n + Kα) at each of the n matches and Kα/(n + Kα) at the first token. That one is a sink
    and holds the prior: its value is 1/K for every state, the values of the others are their one-hot states, and z is
    the posterior predictive. At the first token it is the prior.
    The MLP of layer 1 turns shares into logits: `units.logarithm` for each state, exact to 1e-5 for shares down to
    α/(T − 1 + Kα), the smallest there are.

    No positions but absolute ones can do this: in the chain 0 0 0 … all tokens would be alike, and softmax attention
    over equal values cannot tell how many there are.

    Args:
        states, tokens: K, and the longest stream T.
        concentration: α > 0.

    Raises:
        ValueError: a concentration that is not positive.

    Source: Olsson et al. 2022; Edelman et al. 2024.
    """
    if not concentration > 0:
        raise ValueError(f"concentration: {concentration} must be above 0: a share of zero has no logarithm")
    sizes = {"now": states, "before": states, "share": states, "logit": states, "position": 2, "first": 1}
    at, width = channels(**sizes)
    slopes, offsets, coefficients, rise = logarithm(concentration / (tokens - 1 + states * concentration))
    head_size = states + 1
    config = TransformerConfig(
        channels=states,
        tokens=tokens,
        layers=2,
        width=width,
        head_size=head_size,
        mlp=-(-states * len(slopes) // width),
        normalisation="none",
        positions="learned",
        mask="causal",
        outputs=states,
    )
    model = Model(config)
    params = silent(model)
    every = slice(0, states)
    add(params["embed"]["kernel"], (every, at["now"], 1.0))
    params["positions"][:, at["position"]] = clock(tokens)
    params["positions"][0, at["first"]] = 1.0
    lower, upper = params["layers"]["0"], params["layers"]["1"]
    set_previous_token_block(lower, states, tokens, at)

    root, sink = head_size**0.5, slice(states, states + 1)
    set_head(
        upper["attention"],
        query=[(at["now"], every, root * APART)],
        key=[(at["before"], every, 1.0), (at["first"], sink, 1.0)],
        value=[(at["now"], every, 1.0), (at["first"], every, np.full((1, states), 1 / states))],
        output=[(every, at["share"], 1.0)],
    )
    upper["attention"]["query"]["bias"][sink] = root * (APART + np.log(states * concentration))
    units, one = slice(0, states * len(slopes)), np.eye(states)
    add(upper["mlp"]["expand"]["kernel"], (at["share"], units, np.kron(one, slopes)))
    upper["mlp"]["expand"]["bias"][units] = np.tile(offsets, states)
    add(upper["mlp"]["contract"]["kernel"], (units, at["logit"], np.kron(one, coefficients[:, None])))
    add(params["readout"]["kernel"], (at["logit"], every, 1.0), (at["share"], every, rise))
    return model, finished(params)
