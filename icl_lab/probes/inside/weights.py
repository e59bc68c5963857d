"""Weights against a construction: is a trained layer of linear attention the hand-built gradient step, scale apart?

Of one head only the products W_QK = W_Q W_Kᵀ and W_VO = W_V W_O act, and their scale may move from one to the other
(von Oswald et al. 2022). The only direct evidence for implicit gradient descent.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import Model, Params


def products(model: Model, params: Params) -> dict[str, Float[Array, "width width"]]:
    """{"qk": W_Q W_Kᵀ, "vo": W_V W_O} of one head of linear attention.

    Raises:
        ValueError: more than one layer or head, softmax attention, biases, an embedding, positions, a normalisation.
    """
    config = model.config
    wanted = {"layers": 1, "heads": 1, "attention": "linear", "bias": False, "embedding": False, "mlp": 0}
    wanted |= {"normalisation": "none", "positions": "none"}
    for name, value in wanted.items():
        if getattr(config, name) != value:
            raise ValueError(f"{name}: {getattr(config, name)!r} cannot be compared with the construction's {value!r}")
    kernel = {name: part["kernel"] for name, part in params["layers"]["0"]["attention"].items()}
    with jax.default_matmul_precision("highest"):
        return {"qk": kernel["query"] @ kernel["key"].T, "vo": kernel["value"] @ kernel["output"]}


def acting_blocks(found: dict[str, Float[Array, "width width"]]) -> dict[str, Float[Array, "..."]]:
    """What of the products takes part in the answer of a layer applied once: W_QK[:d] and W_VO[:, d].

    The query's label channel is 0 and only the last channel is read, so training leaves the rest as it was.
    """
    return {"qk": found["qk"][:-1], "vo": found["vo"][:, -1]}


def weight_cosine(learner: TransformerLearner, construction: Params) -> dict[str, Float[Array, ""]]:
    """Cosine between acting blocks, {"qk", "vo"}. 1 in both: the same function up to one positive factor.

    Flipping the sign of both products changes nothing, so both are taken at the sign that makes that of "qk" positive.
    Construction: the parameters of `one_step_gd`.

    Raises:
        ValueError: as `products`.
    """
    ours, built = (acting_blocks(products(learner.model, params)) for params in (learner.params, construction))
    cosine = {name: (ours[name] * built[name]).sum() / (_norm(ours[name]) * _norm(built[name])) for name in ours}
    sign = jnp.where(cosine["qk"] < 0, -1.0, 1.0)
    return {name: sign * value for name, value in cosine.items()}


def interpolated(learner: TransformerLearner, construction: Params, share: float | Array) -> TransformerLearner:
    """The learner on the straight line from a trained layer (share 0) to a construction (1), in products.

    The trained products are first brought to the construction's scale, W_QK/s and W_VO·s where s =
    ⟨W_QK, W_QK'⟩/|W_QK'|², which changes no answer. Keys and outputs of the result are identities.

    Raises:
        ValueError: as `products`.
    """
    ours, built = (products(learner.model, params) for params in (learner.params, construction))
    scale = (ours["qk"] * built["qk"]).sum() / jnp.square(built["qk"]).sum()
    aligned = {"qk": ours["qk"] / scale, "vo": ours["vo"] * scale}
    mixed = {name: (1 - share) * aligned[name] + share * built[name] for name in built}
    identity = jnp.eye(mixed["qk"].shape[0], dtype=mixed["qk"].dtype)
    kernels = {"query": mixed["qk"], "key": identity, "value": mixed["vo"], "output": identity}
    params = {"layers": {"0": {"attention": {name: {"kernel": kernel} for name, kernel in kernels.items()}}}}
    model = Model(dataclasses.replace(learner.model.config, head_size=None))
    return dataclasses.replace(learner, params=params, model=model)


@exact
def interpolation_losses(
    learner: TransformerLearner, construction: Params, prompts: Prompts, shares: Float[Array, " share"]
) -> Float[Array, " share"]:
    """Mean loss of the last position along the line of `interpolated`, e.g. at shares 0, ½ and 1."""

    def loss(share: Array) -> Array:
        return interpolated(learner, construction, share)(prompts).loss(prompts.y)[:, -1].mean()

    return jax.lax.map(loss, shares)


def _norm(matrix: Array) -> Array:
    return jnp.sqrt(jnp.square(matrix).sum())
