"""Learners of streams that count what followed a context."""

import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.learners.neighbours import match_lengths
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sum_before


def context_counts(task: Task, prompts: Prompts, concentration: Array | float) -> Categorical:
    """p(y_i = c) = (C_c + α)/(n + Kα), C_c of the n earlier examples with the context of i having been followed by c.

    Contexts are those of one-hot `task.features`. The posterior predictive of rows ~ Dirichlet(α).
    """
    phi, targets = task.features(prompts.x), task.outcomes.targets(prompts.y)
    counts = sum_before(phi[..., :, None] * targets[..., None, :], axis=1)
    followed = jnp.einsum("bpf,bpft->bpt", phi, counts, precision="highest") + concentration
    return Categorical(jnp.log(followed) - jnp.log(followed.sum(-1, keepdims=True)))


def suffix_counts(task: Task, prompts: Prompts, length: int, concentration: Array | float) -> Categorical:
    """The same with the last `length` inputs as context, whatever the order of the chain; 0 counts everything."""
    return _smoothed(task, prompts, length, concentration, task.outcomes.neutral)


def back_off_counts(task: Task, prompts: Prompts, length: int, strength: Array | float) -> Categorical:
    """Every context's counts smoothed by the prediction of the context one shorter, down to the uniform one.

    p_m = (C_m + β p_{m−1})/(n_m + β) for contexts of m = 0..`length` inputs, as in a hierarchical Dirichlet prior.
    """
    prediction: Array | float = task.outcomes.neutral
    found = _smoothed(task, prompts, 0, strength / task.outcomes.size, prediction)
    for shorter in range(1, length + 1):
        found = _smoothed(task, prompts, shorter, strength / task.outcomes.size, jnp.exp(found.log_probs))
    return found


def _smoothed(
    task: Task, prompts: Prompts, length: int, concentration: Array | float, base: Array | float
) -> Categorical:
    """(C + Kα·base)/(n + Kα) with contexts of `length` inputs."""
    positions = prompts.positions
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
    match = ((match_lengths(prompts.x) >= length) & earlier).astype(jnp.float32)
    counts = jnp.einsum("bij,bjt->bit", match, task.outcomes.targets(prompts.y), precision="highest")
    followed = counts + task.outcomes.size * concentration * base
    return Categorical(jnp.log(followed) - jnp.log(followed.sum(-1, keepdims=True)))
