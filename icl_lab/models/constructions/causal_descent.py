"""Linear attention under a causal mask that takes gradient steps: every example knows the examples up to itself."""

from icl_lab.models.config import TransformerConfig
from icl_lab.models.constructions.parts import add, channels, finished, set_head, silent
from icl_lab.models.functional import Model, Params


def causal_gd(dimension: int, examples: int, learning_rate: float, steps: int) -> tuple[Model, Params]:
    """Build causal gradient descent from zero on paired tokens with N examples, exactly.

        f_j ← f_j + (η/(j+1)) Σ_{l≤j} (y_l − f_l) x_l·x_j  of examples j,      f_q ← f_q + (η/N) Σ_l (y_l − f_l) x_l·x_q

    A causal mask lets the query see itself among N + 1 keys; it must be none of them, and divide by N. So layer 0 has
    the query attend to itself alone, found by the vector of its position: it takes x_q out of its key and adds x_q/N to
    its query. The K layers above, all alike, hold q = query, k = key, v = residual and write −η z to the residual.
    Channels: key (d), query (d), residual y_j − f_j (the query's: −f_q), and a flag that is 1 at token N.

    Args:
        dimension, examples: d and N. Prompts must have N examples.
        learning_rate: η.
        steps: K; the model has K + 1 layers.

    Source: von Oswald et al. 2022, under the mask of a language model.
    """
    at, width = channels(key=dimension, query=dimension, residual=1, flag=1)
    config = TransformerConfig(
        channels=dimension + 1,
        tokens=examples + 1,
        layers=steps + 1,
        width=width,
        head_size=dimension,
        mlp=0,
        attention="linear",
        normalisation="none",
        positions="learned",
        mask="causal",
        bias=False,
    )
    model = Model(config)
    params = silent(model)
    x, y, first = slice(0, dimension), slice(dimension, dimension + 1), slice(0, 1)
    add(params["embed"]["kernel"], (x, at["key"], 1.0), (x, at["query"], 1.0), (y, at["residual"], 1.0))
    params["positions"][examples, at["flag"]] = 1.0
    add(params["readout"]["kernel"], (at["residual"], first, -1.0))
    # The pattern of layer 0 is 1 at (N, N), where N + 1 keys are visible, and 0 everywhere else.
    set_head(
        params["layers"]["0"]["attention"],
        query=[(at["flag"], first, examples + 1.0)],
        key=[(at["flag"], first, 1.0)],
        value=[(at["key"], x, 1.0)],
        output=[(x, at["key"], -1.0), (x, at["query"], 1.0 / examples)],
    )
    for layer in range(1, steps + 1):
        set_head(
            params["layers"][str(layer)]["attention"],
            query=[(at["query"], x, 1.0)],
            key=[(at["key"], x, 1.0)],
            value=[(at["residual"], first, 1.0)],
            output=[(first, at["residual"], -learning_rate)],
        )
    return model, finished(params)
