"""A probe on tasks between two of the pool: does the answer interpolate, or snap to one of the two?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to
from icl_lab.probes.behaviour.variants import expected_targets
from icl_lab.tasks import Pool, Task

SHARES = (0.25, 0.5, 0.75)


def can_interpolate(task: Task) -> bool:
    """Return whether the task can interpolate latents and has a pool of at least two (or of a traced size)."""
    size = task.prior.size if isinstance(task.prior, Pool) else 0
    if not isinstance(size, jax.core.Tracer) and int(size) < 2:
        return False
    latent = jax.tree.leaves(jax.eval_shape(task.draw_latent, jax.random.key(0)))
    real = all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in latent)
    return real or type(task).interpolate is not Task.interpolate


def vary_task_interpolation(
    task: Task, key: Array, given: Prompts
) -> tuple[Prompts, Float[Array, "end share prompt target"]]:
    """Return equally many prompts for every t, and the expected targets of both pool tasks at their queries."""
    pair_key, prompt_key = jax.random.split(key)
    pairs = jax.vmap(lambda k: _pair(task, k))(jax.random.split(pair_key, len(given.x)))
    keys = jax.random.split(prompt_key, len(given.x))

    def at(share: Array) -> tuple[Prompts, list[Array]]:
        asked = jax.vmap(lambda ends, k: _between(task, ends, share, k))(pairs, keys)
        return asked, [expected_targets(task, end, asked) for end in pairs]

    variants, ends = jax.vmap(at)(jnp.asarray(SHARES))
    return variants, jnp.stack(ends)


def task_interpolation(
    learner: Learner, task: Task, asked: tuple[Prompts, Float[Array, "end share prompt target"]]
) -> Float[Array, "prompt statistic"]:
    """Locate the answer between two pool tasks a ≠ b on prompts from (1 − t)·θ_a + t·θ_b, [prompt, 4].

    With o_a and o_b the expected targets of the two tasks at the last query, the place |t̂ − o_a|/(|t̂ − o_a| +
    |t̂ − o_b|) at t = ¼, ½, ¾: about t for a learner that interpolates, up to what the labels' noise does to its answer,
    0 or 1 for one that retrieves one of the two; of a large pool it may retrieve a third. Snapping 1 − 2·min(place,
    1 − place) at t = ½ is 0 half-way between and 1 at either end. An answer unrelated to the two lies at about ½ for
    every t. If inputs do not follow from outcomes, the query is the input of the prompt at which the two tasks differ
    most.
    """
    variants, ends = asked
    first, second = jnp.linalg.norm(answers_to(learner, variants) - ends, axis=-1)
    both = first + second
    place = jnp.where(both > 0, first / jnp.where(both > 0, both, 1.0), 0.5)
    snapping = 1 - 2 * jnp.minimum(place[1], 1 - place[1])
    return jnp.stack([*place, snapping], axis=-1)


def _pair(task: Task, key: Array) -> tuple[object, object]:
    """Draw two different members of a pool of at least two."""
    assert isinstance(task.prior, Pool)
    first_key, step_key = jax.random.split(key)
    first = jax.random.randint(first_key, (), 0, task.prior.size)
    second = (first + jax.random.randint(step_key, (), 1, task.prior.size)) % task.prior.size
    return task.pool_latent(first), task.pool_latent(second)


def _between(task: Task, ends: tuple[object, object], share: Array, key: Array) -> Prompts:
    """Sample one prompt at t = share; the same key gives all t the same inputs and noise."""
    inputs_key, outcome_key = jax.random.split(key)
    latent = task.interpolate(*ends, share)
    x = task.draw_inputs(inputs_key, latent)
    if not task.is_stream:
        first, second = (task.outcome(end, x).mean_target() for end in ends)
        best = jnp.square(first - second).sum(-1).argmax()
        x = x.at[best].set(x[-1]).at[-1].set(x[best])
    x, y = task.draw_pairs(latent, x, outcome_key)
    return Prompts(x=x, y=y, latent=latent, scored=jnp.ones(y.shape, bool))
