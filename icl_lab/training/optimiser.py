"""Optimiser step whose learning rate and weight decay are data, so that members of one program can differ in them.

Optax gives the direction (Adam's moments); rate, decay and schedule are applied outside of it.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from icl_lab.models import Params
from icl_lab.training.settings import TrainingSettings


def direction(settings: TrainingSettings) -> optax.GradientTransformation:
    """Gradient to descent direction, before learning rate and decay. Its state is what a checkpoint must hold."""
    if settings.optimiser == "sgd":
        return optax.identity()
    return optax.scale_by_adam(b1=settings.b1, b2=settings.b2, eps=settings.eps)


def rate(settings: TrainingSettings, step: Int[Array, ""]) -> Float[Array, ""]:
    """Factor on the learning rate at a step: (step+1)/(warmup+1) during warm-up, then the schedule, 0 after the end."""
    rising = (step + 1) / (settings.warmup + 1)
    done = jnp.clip((step - settings.warmup) / (settings.steps - settings.warmup), 0.0, 1.0)
    falling = {"constant": jnp.ones_like(done), "cosine": (1 + jnp.cos(jnp.pi * done)) / 2, "linear": 1 - done}
    return jnp.where(step < settings.warmup, rising, falling[settings.schedule])


def descend(
    settings: TrainingSettings,
    params: Params,
    gradient: Params,
    state: optax.OptState,
    step: Int[Array, ""],
    learning_rate: Float[Array, ""],
    weight_decay: Float[Array, ""],
) -> tuple[Params, optax.OptState]:
    """One step: θ ← θ − η_t (direction + λθ for "adamw"); for "adam" and "sgd" λθ is added to the gradient instead.

    Returns:
        New parameters, new optimiser state.
    """
    if settings.clip is not None:
        norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, settings.clip / jnp.maximum(norm, 1e-12)), gradient)
    if settings.optimiser != "adamw":
        gradient = jax.tree.map(lambda g, p: g + weight_decay * p, gradient, params)
    update, state = direction(settings).update(gradient, state, params)
    if settings.optimiser == "adamw":
        update = jax.tree.map(lambda u, p: u + weight_decay * p, update, params)
    step_size = learning_rate * rate(settings, step)
    return jax.tree.map(lambda p, u: p - step_size * u, params, update), state
