"""Weights that exist, disturbed, and trained on a teacher's answers: every weight moves relative to its own size.

    θ = θ_0 (1 + u),   u ~ N(0, noise²) at the start,

and u is trained, so that weights of size 10⁻² and 10⁵ move at one relative rate and a weight that is zero stays zero.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from icl_lab.learners import TransformerLearner
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models import Params
from icl_lab.training.objective import loss_and_gradient, taught
from icl_lab.training.optimiser import descend, direction
from icl_lab.training.regimes import REGIMES, sample_regimes
from icl_lab.training.settings import TrainingSettings


def retrain(
    built: TransformerLearner, teacher: ReferenceLearner, settings: TrainingSettings, seed: int, noise: float
) -> Params:
    """Parameters of a construction that was disturbed and then trained on a teacher's answers.

    Prompts come from every regime, in equal parts, and the loss is (ŷ − teacher's mean)², or KL(teacher ‖ student).

    Args:
        built: the construction.
        teacher: whose task the prompts are of.
        settings: of the training; rates are relative to the weights.
        seed: of disturbance and prompts.
        noise: relative size of the disturbance.
    """
    start_key, data_key = jax.random.split(jax.random.key(seed))
    change = disturbance(built.params, start_key, noise)
    state = (change, direction(settings).init(change))
    for first in range(0, settings.steps, settings.chunk):
        steps = min(settings.chunk, settings.steps - first)
        state = _chunk(built, teacher, settings, data_key, state, jnp.int32(first), jnp.int32(steps))
    return moved(built.params, state[0])


def disturbance(params: Params, key: Array, noise: float) -> Params:
    """u of every weight, N(0, noise²)."""
    leaves, structure = jax.tree.flatten(params)
    ends = np.cumsum([leaf.size for leaf in leaves])
    drawn = jnp.split(noise * jax.random.normal(key, (int(ends[-1]),)), ends[:-1])
    return jax.tree.unflatten(structure, [u.reshape(leaf.shape) for u, leaf in zip(drawn, leaves, strict=True)])


def moved(params: Params, change: Params) -> Params:
    """θ_0 (1 + u)."""
    return jax.tree.map(lambda weight, u: weight * (1 + u), params, change)


@functools.partial(jax.jit, static_argnames="settings")
def _chunk(
    built: TransformerLearner,
    teacher: ReferenceLearner,
    settings: TrainingSettings,
    key: Array,
    state: tuple,
    first: Int[Array, ""],
    steps: Int[Array, ""],
) -> tuple:
    """(u, the optimiser's state) after so many further steps."""
    rates = (jnp.float32(settings.learning_rate), jnp.float32(settings.weight_decay))

    def turn(step: Array, state: tuple) -> tuple:
        change, optimiser = state
        prompts = sample_regimes(teacher.task, jax.random.fold_in(key, step), settings.batch, REGIMES)
        lesson, params = taught(teacher, prompts), moved(built.params, change)
        outcomes = (built.model, built.format, built.outcomes, settings)
        _, gradient = loss_and_gradient(*outcomes, params, prompts, lesson)
        relative = jax.tree.map(jnp.multiply, built.params, gradient)
        return descend(settings, change, relative, optimiser, step, *rates)

    return jax.lax.fori_loop(first, first + steps, turn, state)
