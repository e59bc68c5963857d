"""Direct logit attribution: the answer as an exact sum over parts of the model.

The stream at the answering token is the embedding plus what every head, attention bias and MLP added. The readout is
linear, and so is the normalisation before it once its scale √(variance + ε) is held fixed; so the answer is a sum over
parts (Elhage et al. 2021). Effects of a part through later layers need patching.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import TransformerConfig, capture
from icl_lab.models.layers import EPSILON
from icl_lab.models.positions import sinusoids
from icl_lab.probes.inside.interventions import asked


def parts(config: TransformerConfig) -> tuple[str, ...]:
    """Return the names of the parts, in the order of `logit_attribution`; parts that a model lacks are zero."""
    layers = [
        (*(f"{layer}.head {head}" for head in range(config.heads)), f"{layer}.attention bias", f"{layer}.mlp")
        for layer in range(config.applications)
    ]
    return ("embedding", "positions", *(name for layer in layers for name in layer), "constant")


@exact(static=("position",))
def logit_attribution(
    learner: TransformerLearner, prompts: Prompts, position: int = -1
) -> Float[Array, "part prompt output"]:
    """Return what every part in `parts(config)` adds to the natural parameters (such as logits) at a position.

    The parts sum to the answer. "constant" comes from the biases of the last normalisation and of the readout.

    Raises:
        ValueError: a position that the format does not answer.
    """
    config, params = learner.model.config, learner.params
    token = asked(learner.format, prompts.positions, position)[0].start
    layers = range(config.applications)
    wanted = ["0.resid_pre", *(f"{layer}.z" for layer in layers)]
    wanted += [f"{layer}.mlp_out" for layer in layers if config.mlp]
    wanted.append(f"{config.applications - 1}.resid_post")
    inputs = learner.format.encode(prompts, learner.outcomes)
    _, found = capture(learner.model, params, inputs, wanted)
    placed = params["positions"][token] if config.positions == "learned" else jnp.zeros(config.width)
    if config.positions == "sinusoidal":
        placed = jnp.asarray(sinusoids(token + 1, config.width)[token])
    written = [found["0.resid_pre"][:, token] - placed, jnp.broadcast_to(placed, (inputs.shape[0], config.width))]
    for layer in layers:
        output = params["layers"][str(layer % config.layers)]["attention"]["output"]
        kernel = output["kernel"].reshape(config.heads, config.size_of_head, config.width)
        written += list(jnp.einsum("bhc,hcw->hbw", found[f"{layer}.z"][:, :, token], kernel))
        written.append(jnp.broadcast_to(output.get("bias", jnp.zeros(())), written[0].shape))
        written.append(found[f"{layer}.mlp_out"][:, token] if config.mlp else jnp.zeros_like(written[0]))
    return _read(learner, jnp.stack(written), found[wanted[-1]][:, token])


def _read(learner: TransformerLearner, written: Array, stream: Array) -> Float[Array, "part prompt output"]:
    """Pass every part through the last normalisation, at the scale of the whole stream, and the readout."""
    params = learner.params
    if "readout" not in params:
        answers = -written[..., -1:]
        return jnp.concatenate([answers, jnp.zeros_like(answers[:1])])
    readout, constant = params["readout"], jnp.zeros(learner.model.config.width)
    if "norm" in params:
        rate = jax.lax.rsqrt(stream.var(-1, keepdims=True) + EPSILON)
        written = (written - written.mean(-1, keepdims=True)) * rate * params["norm"]["scale"]
        constant = params["norm"].get("bias", constant)
    last = constant @ readout["kernel"] + readout.get("bias", 0.0)
    answers = written @ readout["kernel"]
    return jnp.concatenate([answers, jnp.broadcast_to(last, answers[:1].shape)])
