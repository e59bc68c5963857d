"""A posterior over a pool of tasks that is stored in the weights, and the retrieval it sharpens into."""

import numpy as np
from jaxtyping import Array, Float

from icl_lab.models.config import TransformerConfig
from icl_lab.models.constructions.parts import add, channels, finished, set_head, silent
from icl_lab.models.constructions.units import square
from icl_lab.models.functional import Model, Params

LARGEST_RESIDUAL = 24.0  # |y − w·x| up to which squares are right
LARGEST_FACTOR = 12.0  # |w_f ± x_f| up to which products are
FAR = 1e4  # mean squared residual that stands for "no member of the pool"
SHARP = 1e4  # exponent of the posterior at which only its mode is left


def pool_posterior(
    pool: Float[Array | np.ndarray, "member feature"], examples: int, noise: float, exponent: float = 1.0
) -> tuple[Model, Params]:
    """ŷ = Σ_m p_m w_m·x_q with p_m ∝ exp(−β Σ_i (y_i − w_m·x_i)²/2σ²), on paired tokens with N examples: dMMSE.

    The pool is in the weights: in layer 0's MLP, and in the position vector of token m, for member m < M.

    Layer 0, MLP: at every example the squared residuals of all members, (y_i − w_m·x_i)² by `units.square`.
    Layer 1, attention: uniform over the examples, so the query has every member's mean squared residual, `energy`.
    Layer 2, attention: the query attends to token m with score −β(N/2σ²)·energy_m, by the mark of its position, so that
        the pattern at the query is the posterior p, and reads w_m: `weights` are the posterior mean Σ_m p_m w_m.
    Layer 2, MLP: the product with the query, Σ_f weights_f x_f = Σ_f [(weights_f + x_f)² − (weights_f − x_f)²]/4.

    Squares are fitted, |y − w·x| ≤ 24 and |w_f ± x_f| ≤ 12, and float32 leaves answers right to a few times 1e-5 of
    their scale.

    Args:
        pool: w_m, no more members than examples.
        examples: N. Prompts must have N examples.
        noise: σ > 0.
        exponent: β, 1 for Bayes, less or more for a tempered posterior; β → ∞ is its mode.

    Raises:
        ValueError: more members than examples, or no noise.

    Source: the answer is dMMSE of Raventós et al. 2023; the circuit is this lab's.
    """
    members, dimension = pool.shape
    if members > examples:
        raise ValueError(f"pool: {members} members need as many examples to be stored at, not {examples}")
    if not noise > 0:
        raise ValueError(f"noise: {noise} must be above 0: without noise a posterior has no temperature")
    sizes = {"x": dimension, "y": 1, "mark": members, "vacant": 1, "stored": dimension}
    at, width = channels(**sizes, squares=members, energy=members, weights=dimension, answer=1)
    needed = max(members * len(square(LARGEST_RESIDUAL)[0]), 2 * dimension * len(square(LARGEST_FACTOR)[0]))
    head_size = max(members + 1, dimension)
    config = TransformerConfig(
        channels=dimension + 1,
        tokens=examples + 1,
        layers=3,
        width=width,
        head_size=head_size,
        mlp=-(-needed // width),
        normalisation="none",
        positions="learned",
        mask="context",
    )
    model = Model(config)
    params = silent(model)
    inputs, label = slice(0, dimension), slice(dimension, dimension + 1)
    add(params["embed"]["kernel"], (inputs, at["x"], 1.0), (label, at["y"], 1.0))
    params["positions"][:members, at["mark"]] = np.eye(members)
    params["positions"][members:examples, at["vacant"]] = 1.0
    params["positions"][:members, at["stored"]] = pool
    add(params["readout"]["kernel"], (at["answer"], slice(0, 1), 1.0))
    first, second, third = (params["layers"][str(layer)] for layer in range(3))
    _square_residuals(first["mlp"], at, np.asarray(pool))
    every = slice(0, members)
    set_head(second["attention"], [], [], [(at["squares"], every, 1.0)], [(every, at["energy"], 1.0)])
    sharpness = exponent * examples / (2 * noise**2) * head_size**0.5
    vacant = slice(members, members + 1)
    set_head(
        third["attention"],
        query=[(at["energy"], every, -sharpness)],
        key=[(at["mark"], every, 1.0), (at["vacant"], vacant, 1.0)],
        value=[(at["stored"], inputs, 1.0)],
        output=[(inputs, at["weights"], 1.0)],
    )
    third["attention"]["query"]["bias"][vacant] = -sharpness * FAR
    _multiply_by_query(third["mlp"], at, dimension)
    return model, finished(params)


def _square_residuals(mlp: Params, at: dict[str, slice], pool: Float[np.ndarray, "member feature"]) -> None:
    """Write (y − w_m·x)² of every member. Hidden units count scales fastest: unit (m, j) is e_j (y − w_m·x)."""
    (scales, shares), members = square(LARGEST_RESIDUAL), len(pool)
    units = slice(0, members * len(scales))
    residual = (at["y"], units, np.tile(scales, members)[None])
    add(mlp["expand"]["kernel"], residual, (at["x"], units, np.kron(-pool.T, scales[None])))
    add(mlp["contract"]["kernel"], (units, at["squares"], np.kron(np.eye(members), shares[:, None])))


def _multiply_by_query(mlp: Params, at: dict[str, slice], dimension: int) -> None:
    """Write Σ_f weights_f x_f. Units (f, j) are e_j (weights_f + x_f), followed by those of weights_f − x_f."""
    scales, shares = square(LARGEST_FACTOR)
    units = slice(0, 2 * dimension * len(scales))
    spread = np.kron(np.eye(dimension), scales[None])
    weights = (at["weights"], units, np.concatenate([spread, spread], axis=1))
    add(mlp["expand"]["kernel"], weights, (at["x"], units, np.concatenate([spread, -spread], axis=1)))
    quarter = np.tile(shares, dimension)[:, None] / 4
    add(mlp["contract"]["kernel"], (units, at["answer"], np.concatenate([quarter, -quarter])))


def pool_retrieval(
    pool: Float[Array | np.ndarray, "member feature"], examples: int, noise: float
) -> tuple[Model, Params]:
    """Build a model that answers with the most probable member of the pool: `pool_posterior` with exponent 10⁴.

    The pattern at the query of layer 2 is one-hot unless two members are within 1e-3 nats of each other.
    """
    return pool_posterior(pool, examples, noise, exponent=SHARP)
