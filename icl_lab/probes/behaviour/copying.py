"""Probes of copying: is the answer a label of the prompt, or the answer of a stored task of the pool?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, last_answer
from icl_lab.probes.behaviour.variants import compiled, expected_targets, label_scale, redraw
from icl_lab.tasks import Pool, Task

COPY = 0.02  # distance to a label, in the labels' standard deviation, that counts as a copy of it
QUERIES = 4  # queries per prompt, which distinguish stored tasks
CHUNK = 64  # pool members compared at once


def label_copying(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Measure the distance of the last answer to the nearest label, and whether it is a copy, [prompt, 2].

    Distance min_i |t̂ − t_i|/std(t) between targets, without unit; a copy (1, else 0) is within .02. Learners
    that copy one example give 1, and so do confident classifiers: for classes, read it together with `label_influence`.
    By chance, a real answer is that near to one of N labels for about 2% · N of the prompts.
    """
    answer = last_answer(learner, asked)
    labels = task.outcomes.targets(asked.y[:, :-1])
    nearest = jnp.linalg.norm(labels - answer[:, None], axis=-1).min(-1) / label_scale(task, asked)
    return jnp.stack([nearest, (nearest < COPY).astype(nearest.dtype)], axis=-1)


def vary_pool_snapping(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return prompts off the pool, and the same prompts with other queries."""
    sample_key, query_key = jax.random.split(key)
    fresh = task.unseen().sample(sample_key, len(given.x))

    def ask(x: Array, y: Array) -> Prompts:
        if task.is_stream:
            return task.with_outcomes(fresh, fresh.y.at[:, -2].set(y[:, -2]))
        return fresh.replace(x=fresh.x.at[:, -1].set(x[:, -1]))

    others = jax.vmap(lambda k: redraw(task, k, fresh))(jax.random.split(query_key, QUERIES - 1))
    variants = jax.vmap(ask)(*others)
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), fresh, variants)


def pool_snapping(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Measure the distance of the answers to four queries from the nearest pool task's, off the pool, [prompt, 2].

    min_m √(Σ_q |t̂_q − t_q(θ_m)|²/4)/std(t), without unit, for the learner and for the prompt's own latent, which
    `task.unseen()` draws and the learner has no part in. A learner that retrieves one stored task is at 0 while the
    latent is not; one that follows the examples is about as near as the latent. Answers shrunk towards a mean are
    nearer without retrieving anything, especially for dense pools: read it beside `task_interpolation`. The examples
    stay, and the query changes; in a stream, the last outcome before it.
    """
    own = jax.vmap(lambda p: expected_targets(task, p.latent, p))(asked)
    distance = _to_pool(task, jnp.stack([answers_to(learner, asked), own]), asked.x)
    return jnp.sqrt(distance / QUERIES).T / label_scale(task, asked)


@compiled
def _to_pool(
    task: Task, answers: Float[Array, "learner query batch target"], x: Float[Array, "query batch position feature"]
) -> Float[Array, "learner batch"]:
    """Return min_m Σ_q |t̂_q − t_q(θ_m)|² over the pool, CHUNK members at a time, so that its size is data."""
    assert isinstance(task.prior, Pool)
    size = jnp.asarray(task.prior.size)

    def member(index: Array) -> Array:
        latent = task.pool_latent(index)
        stored = jax.vmap(jax.vmap(lambda x: task.outcome(latent, x).mean_target()[-1]))(x)
        return jnp.square(answers - stored).sum((1, 3))

    def step(chunk: Array, nearest: Array) -> Array:
        index = chunk * CHUNK + jnp.arange(CHUNK)
        distance = jnp.where((index < size)[:, None, None], jax.vmap(member)(index), jnp.inf)
        return jnp.minimum(nearest, distance.min(0))

    return jax.lax.fori_loop(0, (size + CHUNK - 1) // CHUNK, step, jnp.full((2, answers.shape[2]), jnp.inf))
