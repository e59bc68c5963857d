"""Soft prompts: the best vector for a task, found by gradient descent; an upper bound for task vectors.

Lester et al. 2021, here one vector added to the stream instead of tokens put before the prompt.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.task_vectors import recorded, with_vectors


@exact(static=("tasks", "steps"))
def soft_prompts(
    learner: TransformerLearner, dummies: Prompts, tasks: int, steps: int = 60, rate: float | Array = 0.1
) -> Float[Array, "layer task width"]:
    """For every layer and task the vector that, added to `resid_post` at the query, makes the loss of dummies small.

    Adam from zero on the mean loss of the last position over the dummies of each task, of every layer and task at once.
    Score the vectors on other dummies, by `task_vector_losses(…, mode="add")`.

    Args:
        dummies: uninformative prompts, sorted by task, as many of each.
        steps: Adam steps.
        rate: their size, in units of the mean size of a coordinate of the stream.
    """
    run = recorded(learner, dummies)
    each = dummies.y.shape[0] // tasks
    unit = jnp.sqrt(jnp.square(run.value).mean((1, 2, 3)))[:, None, None]

    def loss(vectors: Array) -> Array:
        moved = jnp.repeat(unit * vectors, each, axis=1)
        # A sum over layers and tasks: none of the vectors has a part in another's term.
        return with_vectors(learner, dummies, run, moved, "add").loss(dummies.y[:, -1]).sum() / each

    optimiser = optax.adam(rate)

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        vectors, state = carry
        update, state = optimiser.update(jax.grad(loss)(vectors), state)
        return (optax.apply_updates(vectors, update), state), None

    start = jnp.zeros((run.value.shape[0], tasks, run.value.shape[-1]), run.value.dtype)
    (vectors, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, length=steps)
    return unit * vectors
