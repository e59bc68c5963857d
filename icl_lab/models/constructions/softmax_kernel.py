"""One head of softmax attention that averages labels by similarity of inputs, and its sharp limit, which copies."""

from icl_lab.models.constructions.gradient_descent import one_layer_config
from icl_lab.models.constructions.parts import finished, set_head, silent
from icl_lab.models.functional import Model, Params

SHARP = 1e6  # inverse temperature at which only the nearest example counts


def softmax_kernel(dimension: int, examples: int, inverse_temperature: float) -> tuple[Model, Params]:
    """Nadaraya-Watson regression with kernel exp(β x·x'), on paired tokens of any number, exactly.

        ŷ = Σ_i a_i y_i,   a_i ∝ exp(β x_i·x_q)

    The only head has q = β√h x, k = x, v = label (h channels a head, whose root softmax attention divides by), and
    writes −z to the label channel, which the query starts with 0 in. Its pattern at the query is a. On inputs of equal
    norm a is that of the Gaussian kernel of bandwidth 1/√β.

    Args:
        dimension, examples: d and N.
        inverse_temperature: β.

    Source: Han et al. 2023.
    """
    width = dimension + 1
    x, label = slice(0, dimension), slice(dimension, width)
    model = Model(one_layer_config(dimension, examples, attention="softmax"))
    params = silent(model)
    set_head(
        params["layers"]["0"]["attention"],
        query=[(x, x, inverse_temperature * width**0.5)],
        key=[(x, x, 1.0)],
        value=[(label, label, 1.0)],
        output=[(label, label, -1.0)],
    )
    return model, finished(params)


def nearest_example(dimension: int, examples: int) -> tuple[Model, Params]:
    """The label of the example with the largest x_i·x_q: the nearest one where all inputs have one norm.

    `softmax_kernel` with β = 10⁶: the pattern is one-hot unless two inner products are within 1e-5 of each other, which
    is the resolution that float32 leaves them anyway.
    """
    return softmax_kernel(dimension, examples, SHARP)
