"""What a read-out may look for, one vector per prompt: statistics of the examples before the last position.

`sufficient_statistics` has all that make sense for a task. Decodable is not used: see `patching` and `task_vectors` for
that. Two controls stand beside them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.linear import prefix_sums
from icl_lab.tasks import Pool, Task
from icl_lab.tasks.pool import latents_of

MOST_LATENTS = 512  # of which a posterior is a statistic


def prefix_moment(task: Task, prompts: Prompts) -> Float[Array, "prompt statistic"]:
    """Σ φ(x_i) ⊗ t_i over the examples: Xᵀy of a regression, transition counts of a chain."""
    _, moment = prefix_sums(task.features(prompts.x), task.outcomes.targets(prompts.y))
    return moment[:, -1].reshape(moment.shape[0], -1)


def ridge_weights(task: Task, prompts: Prompts, penalty: float | Array) -> Float[Array, "prompt statistic"]:
    """(XᵀX + λI)⁻¹Xᵀ(T − neutral) of the examples, flat.

    Args:
        penalty: λ, or one per feature; it counts as 1e-5 of the mean of XᵀX's diagonal at least.
    """
    outcomes = task.outcomes
    gram, moment = prefix_sums(task.features(prompts.x), outcomes.targets(prompts.y) - outcomes.neutral)
    gram, moment = gram[:, -1], moment[:, -1]
    least = 1e-5 * jnp.trace(gram, axis1=-2, axis2=-1) / gram.shape[-1]
    penalties = jnp.maximum(penalty, least[:, None, None])
    weights = jnp.linalg.solve(gram + penalties * jnp.eye(gram.shape[-1], dtype=gram.dtype), moment)
    return weights.reshape(weights.shape[0], -1)


def target_sums(task: Task, prompts: Prompts) -> Float[Array, "prompt target"]:
    """Σ t_i of the examples: how often every class or state came, or the sum of the labels."""
    return task.outcomes.targets(prompts.y)[:, :-1].sum(1)


def pool_weights(task: Task, prompts: Prompts, members: int) -> Float[Array, "prompt member"]:
    """Posterior over the pool's members, or an enumerable population's latents, given all but the last outcome.

    Args:
        members: the size of the pool, or the support, as a number: it is a shape here.

    Raises:
        TypeError: the task's prior is neither.
    """
    _, latent_at, log_prior = latents_of(task)

    def log_weight(index: Array) -> Array:
        latent = latent_at(index)

        def one(x: Array, y: Array, description: Any) -> Array:
            seen = task.input_log_prob(latent, x, y).sum() + task.outcome(latent, x).log_prob(y)[:-1].sum()
            return seen if description is None else seen + task.description_log_prob(latent, description)

        return log_prior(index) + jax.vmap(one)(prompts.x, prompts.y, prompts.description)

    return jax.nn.softmax(jax.lax.map(log_weight, jnp.arange(members)).T, axis=-1)


def latent_values(task: Task, prompts: Prompts) -> Float[Array, "prompt statistic"]:
    """The latent itself, as `task.latent_features` says it: of a rule what it says, not its number."""
    return jax.vmap(task.latent_features)(prompts.latent)


def countable(task: Task) -> int:
    """How many latents the prior consists of: members of the pool, or an enumerable population's; else 0.

    0 also where the size of the pool is traced: it is no shape then.
    """
    if not isinstance(task.prior, Pool):
        return task.support
    return 0 if isinstance(task.prior.size, jax.core.Tracer) else int(task.prior.size)


def sufficient_statistics(task: Task, prompts: Prompts) -> dict[str, Float[Array, "prompt statistic"]]:
    """All that can be looked for in prompts of this task, by name.

    "moment", `prefix_moment`; "target sums", `target_sums`; "weights", `ridge_weights` with the task's own penalty, of
    a regression; "posterior", `pool_weights`, of a prior of at most `MOST_LATENTS` latents (give the task as it is, not
    traced: its size is a shape); "latent", `latent_values`, where the prompts have one. The last two tell a rule.
    """
    found = {"moment": prefix_moment(task, prompts), "target sums": target_sums(task, prompts)}
    if task.ridge_penalty is not None:
        found["weights"] = ridge_weights(task, prompts, task.ridge_penalty)
    if 0 < countable(task) <= MOST_LATENTS:
        found["posterior"] = pool_weights(task, prompts, countable(task))
    if prompts.latent is not None:
        found["latent"] = latent_values(task, prompts)
    return found


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
