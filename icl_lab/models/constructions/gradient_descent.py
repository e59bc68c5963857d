"""Linear attention that takes gradient steps on all examples: plain, preconditioned and GD++."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.models.config import TransformerConfig
from icl_lab.models.functional import Model, Params


def one_layer_config(dimension: int, examples: int, **changes: object) -> TransformerConfig:
    """One bare linear-attention head on paired tokens: no embedding, normalisation, MLP, positions or biases.

    The examples are the keys, the query is none. `changes` override fields: loops=2, mask="causal", layers=5, …
    Source: von Oswald et al. 2022.
    """
    fields = {
        "channels": dimension + 1,
        "tokens": examples + 1,
        "width": dimension + 1,
        "mlp": 0,
        "attention": "linear",
        "normalisation": "none",
        "positions": "none",
        "mask": "context",
        "embedding": False,
        "bias": False,
        "initialisation": "normal",
    }
    return TransformerConfig(**(fields | changes))  # type: ignore[arg-type]


def one_step_gd(
    dimension: int,
    examples: int,
    learning_rate: float | Float[Array, ""] | Float[Array, "feature feature"],
    steps: int = 1,
    gamma: float | Float[Array, ""] = 0.0,
) -> tuple[Model, Params]:
    """Linear attention that answers with gradient descent from zero, exactly.

    For paired prompts with n examples (any n), A = η I or a given d×d matrix,

        f_0 = 0,   f_{k+1}(x) = f_k(x) + (1/n) Σ_i (y_i − f_k(x_i)) (A x_i)·x,

    which for one step is ŷ = (η/n) Σ y_i x_i·x_q. GD++ (gamma ≠ 0) also moves all inputs before the next step,
    x ← x − γ Σ_i x_i x_i·x. The last channel of token i holds the residual y_i − f_k(x_i), that of the query −f_k(x_q).
    Weights of the one layer: q = x (or Aᵀ x), k = x, v = token, output = −(γ·N for inputs, η for the residual) times z.

    Args:
        dimension, examples: d and N; GD++ is exact for prompts with N examples only.
        learning_rate: η, or the matrix A of preconditioned gradient descent.
        steps: K; the layer is applied K times with tied weights.
        gamma: γ of GD++; with a scalar learning rate only.

    Returns:
        The model of `one_layer_config` and its parameters.

    Raises:
        ValueError: gamma together with a matrix.

    Source: von Oswald et al. 2022, Proposition 1 and Section 3 (GD++).
    """
    matrix = jnp.ndim(learning_rate) == 2
    if matrix and gamma:
        raise ValueError(f"gamma: {gamma} needs a scalar learning_rate; leave it 0 with a matrix")
    inputs = jnp.eye(dimension + 1).at[dimension, dimension].set(0.0)
    rates = jnp.full(dimension + 1, gamma * examples).at[dimension].set(1.0 if matrix else learning_rate)
    kernels = {
        "query": inputs.at[:dimension, :dimension].set(jnp.asarray(learning_rate)) if matrix else inputs,
        "key": inputs,
        "value": jnp.eye(dimension + 1),
        "output": -jnp.diag(rates),
    }
    attention = {name: {"kernel": kernel} for name, kernel in kernels.items()}
    return Model(one_layer_config(dimension, examples, loops=steps)), {"layers": {"0": {"attention": attention}}}
