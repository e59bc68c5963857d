"""A probe of the linear function that the answers to many queries imply, given the same examples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, last_answer
from icl_lab.probes.behaviour.variants import ratio, redraw
from icl_lab.tasks import Task

QUERIES = 4  # per feature, at least


def vary_implied_weights(
    task: Task, key: Array, given: Prompts
) -> tuple[Prompts, Float[Array, "query prompt feature"]]:
    """Return the prompts, and queries for each: all inputs of other prompts under the same latents."""
    prompts, size = len(given.x), given.x.shape[-1]
    rounds = -(-QUERIES * size // given.positions)
    drawn = jax.vmap(lambda k: redraw(task, k, given)[0])(jax.random.split(key, rounds))
    return given, jnp.moveaxis(drawn, 2, 1).reshape(-1, prompts, size)


def implied_weights(
    learner: Learner, task: Task, asked: tuple[Prompts, Float[Array, "query prompt feature"]]
) -> Float[Array, "prompt statistic"]:
    """Fit weights ŵ to the answers to at least 4d queries on the same examples, [prompt, 3], without unit.

    Unexplained Σ(ŷ − x·ŵ)²/Σŷ², 0 for learners linear in the query: ridge, gradient descent from any starting
    point, and a posterior over linear tasks, whose weights the query does not move; positive for smoothers and copiers.
    It is measured on the fitted queries, where it is a little smaller: times 3/4 if nothing is linear. Norm |ŵ|/|w|,
    with w least squares (of minimum norm) on the examples: shrinkage, at most 1 for ridge. Cosine between the two.
    Source: Akyürek et al. 2022.

    For regressions on the inputs themselves.
    """
    given, queries = asked
    last = given.positions - 1

    def ask(query: Array) -> Array:
        return last_answer(learner, given.replace(x=given.x.at[:, last].set(query)))[:, 0]

    answers = jax.lax.map(ask, queries).T  # [prompt, query]
    queries = jnp.moveaxis(queries, 0, 1)
    weights, own = _least_squares(queries, answers), _least_squares(given.x[:, :last], given.y[:, :last])
    rest = answers - jnp.einsum("bqf,bf->bq", queries, weights, precision="highest")
    unexplained = ratio(jnp.square(rest).sum(-1), jnp.square(answers).sum(-1))
    norm, other = jnp.linalg.norm(weights, axis=-1), jnp.linalg.norm(own, axis=-1)
    return jnp.stack([unexplained, ratio(norm, other), ratio((weights * own).sum(-1), norm * other)], axis=-1)


def _least_squares(x: Float[Array, "batch row feature"], y: Float[Array, "batch row"]) -> Float[Array, "batch feature"]:
    """Return X⁺y of every row of the batch."""
    return jnp.einsum("bfr,br->bf", jnp.linalg.pinv(x), y, precision="highest")
