"""What a read-out may look for, one vector per prompt: statistics of the examples before the last position.

Decodable is not used: see `patching` and `task_vectors` for that. Two controls stand beside them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.learners.linear import prefix_sums
from icl_lab.prompts import Prompts
from icl_lab.tasks import Pool, Task


def prefix_moment(task: Task, prompts: Prompts) -> Float[Array, "prompt statistic"]:
    """Σ φ(x_i) ⊗ t_i over the examples: Xᵀy of a regression, transition counts of a chain."""
    _, moment = prefix_sums(task.features(prompts.x), task.outcomes.targets(prompts.y))
    return moment[:, -1].reshape(moment.shape[0], -1)


def ridge_weights(task: Task, prompts: Prompts, penalty: float | Array) -> Float[Array, "prompt statistic"]:
    """(XᵀX + λI)⁻¹Xᵀ(T − neutral) of the examples, flat."""
    outcomes = task.outcomes
    gram, moment = prefix_sums(task.features(prompts.x), outcomes.targets(prompts.y) - outcomes.neutral)
    weights = jnp.linalg.solve(gram[:, -1] + penalty * jnp.eye(gram.shape[-1], dtype=gram.dtype), moment[:, -1])
    return weights.reshape(weights.shape[0], -1)


def target_sums(task: Task, prompts: Prompts) -> Float[Array, "prompt target"]:
    """Σ t_i of the examples: how often every class or state came, or the sum of the labels."""
    return task.outcomes.targets(prompts.y)[:, :-1].sum(1)


def pool_weights(task: Task, prompts: Prompts, members: int) -> Float[Array, "prompt member"]:
    """Posterior over the pool's members given the examples and the last input.

    Args:
        members: the size of the pool, as a number: it is a shape here.

    Raises:
        TypeError: the task's prior is no pool.
    """
    if not isinstance(task.prior, Pool):
        raise TypeError(f"prior: {type(task.prior).__name__} has no members; give Pool(size)")

    def log_weight(index: Array) -> Array:
        latent = task.pool_latent(index)

        def one(x: Array, y: Array) -> Array:
            return task.input_log_prob(latent, x, y).sum() + task.outcome(latent, x).log_prob(y)[:-1].sum()

        return jax.vmap(one)(prompts.x, prompts.y)

    return jax.nn.softmax(jax.lax.map(log_weight, jnp.arange(members)).T, axis=-1)


def latent_values(prompts: Prompts) -> Float[Array, "prompt statistic"]:
    """The latent itself, flat."""
    count = prompts.y.shape[0]
    leaves: list[Any] = [jnp.asarray(leaf, jnp.float32) for leaf in jax.tree.leaves(prompts.latent)]
    return jnp.concatenate([leaf.reshape(count, -1) for leaf in leaves], axis=-1)


def control_task(key: Array, prompts: Prompts, size: int) -> Float[Array, "prompt statistic"]:
    """A random function of the last input, fixed by the key: tanh(xW₁ + b)W₂ with 32 hidden units.

    A read-out strong enough to find this by itself shows nothing by finding the other (Hewitt & Liang 2019).
    """
    x = prompts.x[:, -1]
    into, shift, out = jax.random.split(key, 3)
    hidden = jnp.tanh(2 * x @ jax.random.normal(into, (x.shape[-1], 32)) + jax.random.normal(shift, (32,)))
    return hidden @ jax.random.normal(out, (32, size)) / jnp.sqrt(32.0)


def shuffled(key: Array, targets: Float[Array, "prompt statistic"]) -> Float[Array, "prompt statistic"]:
    """The targets of other prompts: nothing is left to find."""
    return jax.random.permutation(key, targets, axis=0)
