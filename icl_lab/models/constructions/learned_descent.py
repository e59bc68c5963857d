"""Linear attention that takes gradient steps from a learned starting point with learned step sizes (Meta-SGD)."""

import numpy as np
from jaxtyping import Array, Float

from icl_lab.models.constructions.gradient_descent import one_layer_config
from icl_lab.models.constructions.parts import add, finished, set_head, silent
from icl_lab.models.functional import Model, Params


def learned_descent(
    examples: int, initial: Float[Array | np.ndarray, " feature"], rates: Float[Array | np.ndarray, "step feature"]
) -> tuple[Model, Params]:
    """K gradient steps θ_{k+1} = θ_k + diag(a_k) Xᵀ(y − Xθ_k)/n from θ_0, on paired tokens, exactly, for any n.

    The embedding holds the starting point: it turns (x_i, y_i) into (x_i, y_i − θ_0·x_i), and the query (x_q, 0) into
    (x_q, −θ_0·x_q). Layer k takes step k: q = a_k x, k = x, v = residual, written back with weight −1. The answer is
    minus the query's residual.

    Args:
        examples: N, the longest prompt.
        initial: θ_0.
        rates: a_k; the model has K layers.

    Source: Meta-SGD, Li et al. 2017, on the construction of von Oswald et al. 2022.
    """
    steps, dimension = rates.shape
    width = dimension + 1
    x, residual = slice(0, dimension), slice(dimension, width)
    model = Model(one_layer_config(dimension, examples, layers=steps, embedding=True))
    params = silent(model)
    every, start = slice(0, width), -np.asarray(initial)[:, None]
    add(params["embed"]["kernel"], (every, every, 1.0), (x, residual, start))
    add(params["readout"]["kernel"], (residual, slice(0, 1), -1.0))
    for step in range(steps):
        set_head(
            params["layers"][str(step)]["attention"],
            query=[(x, x, np.diag(rates[step]))],
            key=[(x, x, 1.0)],
            value=[(residual, residual, 1.0)],
            output=[(residual, residual, -1.0)],
        )
    return model, finished(params)
