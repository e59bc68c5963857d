"""Exact answers to changed prompts: weighted examples, and tasks that switch within the prompt."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Gaussian, Mixture, Predictions, Prompts
from icl_lab.tasks import Pool, Task, pool_posterior


def knows_weighted(task: Task) -> str:
    """Return "" if the task has a `weighted_predictive`, else the reason why not."""
    found = jax.eval_shape(lambda: task.weighted_predictive(task.sample(jax.random.key(0), 1), _ones(task)))
    return "" if found is not None else f"the posterior of {type(task).__name__} over its population has no closed form"


def _ones(task: Task) -> Array:
    return jnp.ones((1, task.positions, task.positions))


def counted(task: Task, prompts: Prompts, counts: Float[Array, "position example"]) -> Predictions:
    """Return `task.weighted_predictive` with the same counts in every prompt.

    Raises:
        TypeError: the task has no such predictive.
    """
    found = task.weighted_predictive(prompts, jnp.broadcast_to(counts, (len(prompts.y), *counts.shape)))
    if found is None:
        raise TypeError(f"weighted_predictive: {knows_weighted(task)}")
    return found


def since(positions: int, start: Array | int) -> Float[Array, "position example"]:
    """Return counts that ignore all examples before `start`."""
    return jnp.broadcast_to(jnp.arange(positions) >= start, (positions, positions)).astype(float)


def switching_predictive(task: Task, prompts: Prompts, hazard: Array | float) -> Predictions:
    """Return the exact predictive if the task is drawn anew before every example with probability h = `hazard`.

    Let r_s(i) be the joint probability of all pairs before i and of the last switch at s (Adams and MacKay 2007,
    "Bayesian online changepoint detection"):

        r_s(i) = (1 − h) r_s(i−1) p(pair i−1 | pairs s..i−2),    r_i(i) = h Σ_s r_s(i−1) p(pair i−1 | pairs s..i−2),

    The predictive is the mixture over s of the predictives that start at s, weighted by r_s(i) and the evidence of x_i.
    Cost: `positions` exact predictives.

    Returns:
        A Categorical, which is exact, or a Gaussian with the exact mean and variance of the mixture.
    """
    size = prompts.positions
    starts = jnp.arange(size)

    def run(start: Array) -> tuple[Predictions, Array, Array]:
        return _run(task, prompts, since(size, start))

    answers, before, after = jax.lax.map(run, starts)  # [start, batch, position]
    # Evidence of pair i in the run from s: log evidence with the pair minus log evidence without it.
    gained = after - jnp.pad(after[..., :-1], ((0, 0), (0, 0), (1, 0)))
    gained = jnp.where((starts[:, None] <= starts)[:, None], gained, -jnp.inf)
    inputs = before - jnp.pad(after[..., :-1], ((0, 0), (0, 0), (1, 0)))
    hazard = jnp.asarray(hazard, gained.dtype)

    def step(joint: Array, position: Array) -> tuple[Array, Array]:
        weight = joint + jnp.where((starts <= position)[:, None], inputs[..., position], -jnp.inf)
        moved = joint + gained[..., position]
        new = jnp.log(hazard) + jax.nn.logsumexp(moved, axis=0)
        kept = jnp.log1p(-hazard) + moved
        return jnp.where((starts == position + 1)[:, None], new, kept), weight

    first = jnp.where((starts == 0)[:, None], 0.0, -jnp.inf) * jnp.ones(len(prompts.y))
    _, weight = jax.lax.scan(step, first, starts)  # [position, start, batch]
    share = jax.nn.softmax(jnp.moveaxis(weight, 0, -1), axis=0)
    return type(answers).mix(share, answers)  # pyrefly: ignore[missing-attribute]


def _run(task: Task, prompts: Prompts, counts: Array) -> tuple[Predictions, Array, Array]:
    """Return the predictive and the log evidence before and after every outcome, inputs included, [batch, position].

    Before the run begins, the evidence after an outcome is 0.
    """
    began = counts[-1] > 0
    every = jnp.broadcast_to(counts, (len(prompts.y), *counts.shape))
    if isinstance(task.prior, Pool) or task.support:
        found = pool_posterior(task, prompts, every)
        before, after = found.log_evidence, found.log_evidence + found.log_predictive
        predictive = found.predictive
    else:
        predictive = counted(task, prompts, counts)
        outcomes = jnp.where(began, predictive.log_prob(prompts.y), 0.0)
        after = jnp.cumsum(outcomes, -1)
        before = after - outcomes
    return _plain(predictive), before, jnp.where(began, after, 0.0)


def _plain(predictive: Predictions) -> Predictions:
    """Replace a mixture by the Gaussian with its mean and variance."""
    return Gaussian(predictive.mean, predictive.variance) if isinstance(predictive, Mixture) else predictive
