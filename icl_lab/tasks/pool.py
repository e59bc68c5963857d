"""The exact posterior over finitely many latents, a pool of tasks or an enumerable population, in bounded memory.

With latents θ_m (m < M), the weight of θ_m at position i counts its prior, equal in a pool, the prompt's description if
it has one, the inputs up to and including x_i, which have been seen, and the outcomes before y_i:

    log w_m(i) = log π_m + log p(description | θ_m) + Σ_{j≤i} log p(x_j | θ_m, …) + Σ_{j<i} log p(y_j | x_j, θ_m)

The predictive is the mixture Σ_m w_m p(y_i | x_i, θ_m) / Σ_m w_m; its mean is Raventós et al.'s (2023) dMMSE. Members
are regenerated CHUNK at a time with a running log-sum-exp, so memory is CHUNK·batch·positions whatever M is, and M is
data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from icl_lab.core.prompts import Categorical, Mixture, Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.tasks.base import Pool, Task
from icl_lab.tasks.sequential import sum_before

CHUNK = 16


@pytree_dataclass
class PoolPosterior:
    """Everything one pass over the pool gives.

    Attributes:
        predictive: the exact posterior predictive (a Mixture, or a Categorical, which is closed under mixing).
        log_predictive: log of that predictive at the outcomes of the prompts themselves, [batch, position], nats.
        log_evidence: log Σ_m w_m(i) / Σ_m π_m, the evidence of all that has been seen before y_i, nats.
        map_index: the pool member of greatest weight, [batch, position]; ties go to the lowest index.
        map_predictive: that member's own prediction.
    """

    predictive: Predictions
    log_predictive: Float[Array, "batch position"]
    log_evidence: Float[Array, "batch position"]
    map_index: Int[Array, "batch position"]
    map_predictive: Predictions


def latents_of(task: Task) -> tuple[Any, Callable[[Array], Any], Callable[[Array], Array]]:
    """How many latents the prior consists of, the function that gives each of them, and their log prior.

    Raises:
        TypeError: the prior is neither a pool nor an enumerable population.
    """
    if isinstance(task.prior, Pool):
        return task.prior.size, task.pool_latent, lambda index: jnp.zeros(jnp.shape(index))
    if not task.support:
        raise TypeError(f"prior: {type(task.prior).__name__} has no members to stream over; give Pool(size)")
    return task.support, task.latent_at, task.log_prior


def _fold(
    task: Task,
    prompts: Prompts,
    exponent: Array | float,
    initial: Any,
    step: Callable[[Any, Array, Array, Predictions], Any],
) -> Any:
    """Fold `step(carry, index [c], log_weight [c, batch, position], outcome [c, batch, position])` over pool chunks."""
    size, latent_at, log_prior = latents_of(task)

    counts = jnp.tril(exponent, -1) if jnp.ndim(exponent) == 3 else None

    def member(index: Array) -> tuple[Array, Predictions]:
        latent, prior = latent_at(index), log_prior(index)

        def one(x: Array, y: Array, counts: Array | None, description: Any) -> tuple[Array, Predictions]:
            outcome = task.outcome(latent, x)
            inputs, outcomes = task.input_log_prob(latent, x, y), outcome.log_prob(y)
            if counts is None:
                seen = exponent * (jnp.cumsum(inputs) + sum_before(outcomes))
            else:
                seen = inputs + jnp.matmul(counts, inputs + outcomes, precision="highest")
            if description is not None:
                seen = seen + task.description_log_prob(latent, description)
            return prior + seen, outcome

        return jax.vmap(one)(prompts.x, prompts.y, counts, prompts.description)

    def body(chunk: Array, carry: Any) -> Any:
        index = chunk * CHUNK + jnp.arange(CHUNK)
        log_weight, outcome = jax.vmap(member)(index)
        log_weight = jnp.where((index < size)[:, None, None], log_weight, -jnp.inf)
        return step(carry, index, log_weight, outcome)

    return jax.lax.fori_loop(0, (jnp.asarray(size) + CHUNK - 1) // CHUNK, body, initial)


def pool_posterior(task: Task, prompts: Prompts, exponent: Array | float = 1.0) -> PoolPosterior:
    """One pass over the pool of `task.prior`, or over the support of an enumerable population.

    Args:
        task: whose prior and outcomes.
        prompts: what has been seen.
        exponent: β of the tempered posterior, whose weights are π_m L_m^β for a likelihood L_m: 1 is Bayes, β → ∞ the
            MAP member, β → 0 forgets the prompt. Or how often example j counts at position i, [batch, position,
            example], entries of j ≥ i ignored. `log_evidence` is that of the tempered likelihood. A description counts
            once, whatever the exponent.

    Raises:
        TypeError: the task's prior is neither.
    """
    shape = prompts.y.shape
    some = task.draw_latent(jax.random.key(0))
    template = jax.eval_shape(jax.vmap(lambda x: task.outcome(some, x)), prompts.x)
    kind: Any = type(template)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), template)
    lowest = jnp.full(shape, -jnp.inf)

    def step(carry: tuple, index: Array, log_weight: Array, outcome: Predictions) -> tuple:
        log_total, mixed, log_joint, best, best_index, best_outcome = carry
        log_chunk = jax.nn.logsumexp(log_weight, axis=0)
        both = jnp.stack([log_total, log_chunk])
        # Two stages, both means of parts: within the chunk, then of all before it and the chunk.
        chunk = kind.mix(_shares(log_weight), outcome)
        mixed = kind.mix(_shares(both), jax.tree.map(lambda *parts: jnp.stack(parts), mixed, chunk))
        log_total = jax.nn.logsumexp(both, axis=0)
        joint = log_weight + jax.vmap(jax.vmap(lambda o, y: o.log_prob(y)), (0, None))(outcome, prompts.y)
        log_joint = jnp.logaddexp(log_joint, jax.nn.logsumexp(joint, axis=0))
        winner = log_weight.argmax(0)
        better = log_weight.max(0) > best

        def take(new: Array, old: Array) -> Array:
            chosen = jnp.take_along_axis(new, winner.reshape((1, *shape) + (1,) * (new.ndim - 3)), axis=0)[0]
            return jnp.where(better.reshape(shape + (1,) * (old.ndim - 2)), chosen, old)

        best_outcome = jax.tree.map(take, outcome, best_outcome)
        best_index = jnp.where(better, index[winner], best_index)
        return log_total, mixed, log_joint, jnp.maximum(best, log_weight.max(0)), best_index, best_outcome

    initial = (lowest, zeros, lowest, lowest, jnp.zeros(shape, int), zeros)
    log_total, mixed, log_joint, _, map_index, map_outcome = _fold(task, prompts, exponent, initial, step)
    if kind is Categorical:
        predictive: Predictions = mixed
    else:
        predictive = Mixture(
            mixed.mean,
            mixed.variance,
            jax.tree_util.Partial(_mixture_log_prob, task, prompts, exponent),
            jax.tree_util.Partial(_mixture_sample, task, prompts, exponent),
        )
    return PoolPosterior(
        predictive=predictive,
        log_predictive=log_joint - log_total,
        log_evidence=log_total - _log_mass(task),
        map_index=map_index,
        map_predictive=map_outcome,
    )


def _log_mass(task: Task) -> Array:
    """log Σ_m π_m."""
    if isinstance(task.prior, Pool):
        return jnp.log(jnp.asarray(task.prior.size, jnp.result_type(float)))
    return jax.nn.logsumexp(task.log_prior(jnp.arange(task.support)))


def _shares(log_weight: Float[Array, "part batch position"]) -> Float[Array, "part batch position"]:
    """Softmax over the leading axis; zero everywhere where every weight is zero."""
    peak = log_weight.max(0)
    weight = jnp.exp(log_weight - jnp.where(jnp.isfinite(peak), peak, 0.0))
    return weight / jnp.maximum(weight.sum(0), 1.0)


def _mixture_log_prob(task: Task, prompts: Prompts, exponent: Array | float, y: Array) -> Array:
    """log Σ_m w_m p(y | θ_m) − log Σ_m w_m at outcomes y, streamed."""
    lowest = jnp.full(prompts.y.shape, -jnp.inf)

    def step(carry: tuple, index: Array, log_weight: Array, outcome: Predictions) -> tuple:
        top, bottom = carry
        joint = log_weight + jax.vmap(jax.vmap(lambda o, v: o.log_prob(v)), (0, None))(outcome, y)
        return (
            jnp.logaddexp(top, jax.nn.logsumexp(joint, axis=0)),
            jnp.logaddexp(bottom, jax.nn.logsumexp(log_weight, axis=0)),
        )

    top, bottom = _fold(task, prompts, exponent, (lowest, lowest), step)
    return top - bottom


def _mixture_sample(task: Task, prompts: Prompts, exponent: Array | float, key: Array) -> Array:
    """One outcome per position: a member by the Gumbel trick while streaming, then its outcome."""
    shape = prompts.y.shape

    def step(carry: tuple, index: Array, log_weight: Array, outcome: Predictions) -> tuple:
        best, value = carry
        member_key = jax.random.fold_in(key, index[0])
        gumbel_key, draw_key = jax.random.split(member_key)
        score = log_weight + jax.random.gumbel(gumbel_key, log_weight.shape)
        drawn = outcome.sample(draw_key)
        winner = score.argmax(0)
        chosen = jnp.take_along_axis(drawn, winner[None], axis=0)[0]
        return jnp.maximum(best, score.max(0)), jnp.where(score.max(0) > best, chosen, value)

    _, value = _fold(task, prompts, exponent, (jnp.full(shape, -jnp.inf), jnp.zeros(shape, prompts.y.dtype)), step)
    return value
