"""Probes of order: a reordering must not change the answer if examples are exchangeable."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, sample, stack
from icl_lab.tasks import Task

ORDERS = 8


def inputs_say_nothing(task: Task) -> bool:
    """Return whether inputs are no evidence about the latent: equally probable under any other."""
    if type(task).input_log_prob is Task.input_log_prob:
        return True
    own, other = _input_evidence(task, sample(task, jax.random.key(0)))
    return bool((own == other).all())


@exact
def _input_evidence(task: Task, prompts: Prompts) -> tuple[Array, Array]:
    """Return log p(x) of prompts under their own latents, and under each other's."""
    other = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), prompts.latent)
    evidence = jax.vmap(task.input_log_prob)
    return evidence(prompts.latent, prompts.x, prompts.y), evidence(other, prompts.x, prompts.y)


def vary_order_variance(task: Task, key: Array, given: Prompts) -> tuple[Prompts, Float[Array, " prompt"]]:
    """Return the prompts in every order, and the unit v of their last answers."""
    orders = jax.vmap(lambda k: task.reorder(k, given))(jax.random.split(key, ORDERS))
    return orders, task.unit(given)[:, -1]


def order_variance(
    learner: Learner, task: Task, asked: tuple[Prompts, Float[Array, " prompt"]]
) -> Float[Array, "prompt statistic"]:
    """Measure the spread of the last answer over eight random orders (`task.reorder`) in nats, [prompt, 1].

    Real outcomes: variance of ŷ over the eight / 2v, with v = `task.unit`. Classes: mean
    KL(p_r ‖ mean p), at most log 8. 0 for every exchangeable learner, including the exact posterior of such tasks.
    """
    orders, unit = asked
    found = answers_to(learner, orders)
    mean = found.mean(0)
    if task.outcomes.linear:
        spread = jnp.square(found - mean).mean(0).sum(-1) / (2 * unit)
    else:
        spread = jnp.where(found > 0, found * (jnp.log(jnp.maximum(found, 1e-30)) - jnp.log(mean + 1e-30)), 0.0)
        spread = jnp.maximum(spread.sum(-1).mean(0), 0.0)
    return spread[:, None]


def vary_joint_probability(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts, and the same in another order."""
    return stack([given, task.reorder(key, given)])


def joint_probability(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Return |log P(y) − log P(y in another order)|/(N + 1) in nats, [prompt, 1], with P the product of predictives.

    0 if the learner's predictives come from any one prior over exchangeable outcomes (of chains: over outcomes whose
    counts of transitions are all that matters), right or wrong. Only the examples are reordered. For classes whose
    inputs are no evidence about the latent; NaN for learners that answer the last position only.
    """
    found = jax.lax.map(lambda p: learner(p).log_prob(p.y).sum(-1), asked)
    return jnp.abs(found[0] - found[1])[:, None] / asked.positions
