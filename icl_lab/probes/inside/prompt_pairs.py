"""Prompts made for interventions: same inputs under another latent, many of one latent, and some that tell nothing."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.probes.behaviour.variants import draw_pairs
from icl_lab.tasks import Task


def counterpart(task: Task, prompts: Prompts, key: Array) -> Prompts:
    """Prompts with the same inputs whose outcomes come from the latent of the next prompt of the batch.

    Source and target of an interchange then differ in the task alone; where tasks are described, the description is
    that of the outcomes' task. A stream keeps its first input.
    """
    latent, description = jax.tree.map(lambda leaf: jnp.roll(leaf, -1, axis=0), (prompts.latent, prompts.description))
    x, y = jax.vmap(task.draw_pairs)(latent, prompts.x, jax.random.split(key, prompts.y.shape[0]))
    return prompts.replace(x=x, y=y, latent=latent, description=description)


def prompts_of(task: Task, latents: Any, key: Array, each: int) -> Prompts:
    """`each` prompts of every latent (a pytree with a leading axis), those of one latent next to each other."""
    latents = jax.tree.map(lambda leaf: jnp.repeat(leaf, each, axis=0), latents)
    x, y = draw_pairs(task, latents, key)
    return Prompts(x=x, y=y, latent=latents, scored=jnp.ones(y.shape, bool))


def uninformative(task: Task, prompts: Prompts, key: Array) -> Prompts:
    """Dummy prompts: the outcomes of every position dealt out anew among the prompts, so that examples tell nothing.

    Every outcome keeps its distribution over prompts, but those of one prompt belong to different latents. The last
    outcome, the one asked for, is drawn again from the prompt's own latent. The inputs stay, except of a stream, whose
    inputs follow from its outcomes. The batch must hold several latents.
    """
    order_key, outcome_key = jax.random.split(key)
    y = jax.random.permutation(order_key, prompts.y, axis=0, independent=True)
    dealt = task.with_outcomes(prompts, y)
    keys = jax.random.split(outcome_key, y.shape[0])
    asked = jax.vmap(lambda latent, x, key: task.outcome(latent, x).sample(key)[-1])(prompts.latent, dealt.x, keys)
    return dealt.replace(y=dealt.y.at[:, -1].set(asked))
