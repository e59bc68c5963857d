"""Attention as a kernel: the softmax kernel over the inputs that is nearest to a head's pattern.

A softmax head whose scores are β x·x' + (anything that depends on the row alone) is a kernel smoother with the kernel
exp(β x·x') (Han et al. 2023). The fit regresses row-centred scores on row-centred similarities.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.kernels import inner_products, squared_distances
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import capture
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.tasks import Task


class KernelFit(NamedTuple):
    """The best kernel of one form for every head.

    Attributes:
        slope: β, the inverse temperature of exp(β φ·φ') or the inverse square bandwidth of exp(−β|φ − φ'|²/2).
        explained: R² of the log pattern around its mean over the examples, row by row. The sign of β is not in it.
    """

    slope: Float[Array, "layer head"]
    explained: Float[Array, "layer head"]


@exact
def attention_kernels(learner: TransformerLearner, task: Task, prompts: Prompts) -> dict[str, KernelFit]:
    """Fit dot-product and Gaussian kernels to the attention from x_i to inputs or outcomes of examples.

    Keys are "dot product to inputs" and so on: from the token that carries x_i at every answered position to the tokens
    that carry x_j, or y_j, of the examples j < i. The log of a softmax pattern is its scores up to a constant in each
    row; for linear attention the scores themselves are fitted.
    """
    config, format, positions = learner.model.config, learner.format, prompts.positions
    at = carriers(format, positions)
    names = [f"{layer}.scores" for layer in range(config.applications)]
    _, found = capture(learner.model, learner.params, format.encode(prompts, task.outcomes), names)
    scores = jnp.stack([found[name] for name in names])
    phi = task.features(prompts.x)
    kernels = {"dot product": inner_products(phi), "gaussian": -squared_distances(phi) / 2}
    answered = np.arange(positions)[format.answers(positions)]
    fits = {}
    for carrier, tokens in at._asdict().items():
        examples = np.flatnonzero(tokens >= 0)
        mask = jnp.asarray(examples < answered[:, None])
        chosen = scores[..., at.inputs[answered][:, None], tokens[examples]]
        for kernel, similarity in kernels.items():
            fits[f"{kernel} to {carrier}"] = _fit(chosen, similarity[:, None, answered][..., examples], mask)
    return fits


def _fit(scores: Array, similarity: Array, mask: Array) -> KernelFit:
    """Fit scores [layer, prompt, head, row, key] on similarity [prompt, 1, row, key], row-centred."""
    count = jnp.maximum(mask.sum(-1, keepdims=True), 1)

    def centred(values: Array) -> Array:
        return jnp.where(mask, values - jnp.where(mask, values, 0.0).sum(-1, keepdims=True) / count, 0.0)

    y, x = centred(scores), centred(similarity)
    product, size, spread = ((a * b).sum((-4, -2, -1)) for a, b in ((x, y), (x, x), (y, y)))
    both = size * spread
    return KernelFit(product / size, jnp.where(both > 0, jnp.square(product) / jnp.where(both > 0, both, 1.0), 0.0))
