"""A probe of the prior that a learner implies, by rollouts on its own outcomes (predictive Monte Carlo).

A posterior predictive that is fed its own samples converges to one latent drawn from its prior (Doob; Fortini and
Petrone 2020, "Quasi-Bayes properties of a procedure for sequential learning"; for language models Falck et al. 2024).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, last_answer
from icl_lab.tasks import Task

ROLLOUTS = 8  # per prompt
LATENTS = 512  # pairs of latents for the estimate of the prior's spread


def vary_implied_prior(task: Task, key: Array, given: Prompts) -> tuple[Prompts, Array, Float[Array, ""]]:
    """Return every prompt ROLLOUTS times, a key for every outcome, and the spread of the task's latents."""
    tiled = jax.tree.map(lambda leaf: jnp.repeat(leaf, ROLLOUTS, axis=0), given)
    return tiled, jax.random.split(key, given.positions - 1), prior_spread(task, given)


def implied_prior(
    learner: Learner, task: Task, asked: tuple[Prompts, Array, Float[Array, ""]]
) -> Float[Array, "prompt statistic"]:
    """Measure the spread of the predictive after N own outcomes, relative to that of the task's latents, [prompt, 1].

    Eight rollouts per prompt start before the first outcome, over the same inputs; in a stream, the outcomes that the
    last query depends on are then set to the prompt's own, so that all rollouts have the same query. The spread is Σ_c
    var p(c) over the rollouts (unbiased), divided by its mean between two latents of the task's prior. 0 for a learner
    whose outcomes are independent; 1 in the limit N → ∞ for the exact posterior, before that the share of the prior's
    variance that N examples resolve: n/(n + Kα) for Dirichlet(α) rows seen n times; more for a learner that repeats
    itself.

    For classes whose inputs are no evidence about the latent. NaN for learners that answer the last position only.
    """
    tiled, keys, unit = asked
    last = tiled.positions - 1

    def turn(rolled: Prompts, now: tuple[Array, Array]) -> tuple[Prompts, Array]:
        index, key = now
        answers = learner(rolled)
        # Sampling from NaN gives some class, so keep track of missing answers.
        known = jnp.isfinite(answers.mean_target()[:, index]).all()
        here = jnp.arange(last + 1) == index
        return task.with_outcomes(rolled, jnp.where(here, answers.sample(key), rolled.y)), known

    start = task.with_outcomes(tiled, jnp.zeros_like(tiled.y))
    rolled, known = jax.lax.scan(turn, start, (jnp.arange(last), keys))
    if task.is_stream:
        asked_of = slice(last - task.memory, last)
        rolled = task.with_outcomes(rolled, rolled.y.at[:, asked_of].set(tiled.y[:, asked_of]))
    found = last_answer(learner, rolled).reshape(-1, ROLLOUTS, task.outcomes.size)
    spread = jnp.square(found - found.mean(1, keepdims=True)).sum((1, 2)) / (ROLLOUTS - 1)
    return jnp.where(known.all(), spread / unit, jnp.nan)[:, None]


def prior_spread(task: Task, given: Prompts) -> Float[Array, ""]:
    """Return Σ_c var p(c | x_N, θ) over latents θ of the prior, averaged over prompts."""
    draw = jax.vmap(task.draw_prior_latent)
    pairs = draw(jax.random.split(jax.random.key(0), 2 * LATENTS))
    x = jnp.resize(given.x, (LATENTS, *given.x.shape[1:]))
    answers = jax.vmap(lambda latent, x: task.outcome(latent, x).mean_target()[-1])(pairs, jnp.concatenate([x, x]))
    return jnp.square(answers[:LATENTS] - answers[LATENTS:]).sum(-1).mean() / 2
