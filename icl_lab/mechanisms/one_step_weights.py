"""One gradient step in the weights of a bare head of linear attention."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.weights import interpolation_losses, weight_cosine
from icl_lab.tasks import Task

PROMPTS = 768


def weights(learner: TransformerLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Compare the head's weights with those of the construction whose answers are nearest: one step with a diagonal A.

    Statistics: `cosine`, the smaller of the cosines of W_QK and W_VO; `halfway`, minus the relative difference between
    the loss halfway from the head to the construction and the head's own loss.
    """
    prompts = task.sample(key, PROMPTS)
    x, y = prompts.x, prompts.y
    answers = learner(prompts).mean_target()[:, -1, 0]
    terms = jnp.einsum("bid,bi->bd", x[:, :-1], y[:, :-1], precision="highest") / (x.shape[1] - 1) * x[:, -1]
    normal = jnp.matmul(terms.T, terms, precision="highest")
    rates = jnp.linalg.solve(normal, jnp.matmul(terms.T, answers, precision="highest"))
    _, construction = one_step_gd(x.shape[-1], task.examples, jnp.diag(rates))
    cosine = jnp.stack([*weight_cosine(learner, construction).values()]).min()
    losses = interpolation_losses(learner, construction, prompts, jnp.array([0.0, 0.5]))
    return {"cosine": cosine, "halfway": -jnp.abs(losses[1] / losses[0] - 1)}


def one_bare_head(learner: TransformerLearner, task: Task) -> bool:
    """Return whether `weights` applies: one head of linear attention, applied once, on the inputs themselves."""
    config = learner.model.config
    bare = not (config.embedding or config.bias or config.mlp) and config.attention == "linear"
    bare &= config.normalisation == config.positions == "none" and config.width == task.inputs_size + 1
    return bare and config.applications == config.heads == 1 and type(task).features is Task.features
