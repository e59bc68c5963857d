"""A training batch: prompts of a task, and what a mixture of noise levels, lengths or a curriculum makes of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from icl_lab.formats import Format
from icl_lab.prompts import Prompts
from icl_lab.tasks import Task
from icl_lab.training.augmentation import changed_formats
from icl_lab.training.regimes import TRAINING, Regime, sample_regimes
from icl_lab.training.settings import TrainingSettings


def draw_batch(
    task: Task,
    settings: TrainingSettings,
    key: Array,
    other: Array,
    step: Int[Array, ""],
    regimes: Sequence[Regime] = TRAINING,
) -> Prompts:
    """The prompts of a step.

    Args:
        key: of the prompts, as the task draws them.
        other: of all that the settings add; without additions nothing is drawn with it.
    """
    length_key, outcome_key = jax.random.split(other)
    prompts = _at_noises(task, settings, key, regimes)
    if settings.first_dimensions:
        active = grown(settings, settings.first_dimensions, task.inputs_size, step)
        prompts = with_dimensions(task, prompts, active, outcome_key)
    last = task.examples
    if settings.first_examples:
        last = grown(settings, settings.first_examples, task.examples, step)
        prompts = up_to(prompts, last)
    if settings.shortest:
        least = jnp.minimum(settings.shortest, last)
        prompts = up_to(prompts, jax.random.randint(length_key, (len(prompts.y), 1), least, last + 1))
    return prompts


def _at_noises(task: Task, settings: TrainingSettings, key: Array, regimes: Sequence[Regime]) -> Prompts:
    """An equal part of the batch at every noise level; they are one program."""
    if not settings.noises:
        return sample_regimes(task, key, settings.batch, regimes)
    parts = len(settings.noises)

    def one(noise: Array, key: Array) -> Prompts:
        return sample_regimes(task.replace(noise=noise), key, settings.batch // parts, regimes)

    drawn = jax.vmap(one)(jnp.asarray(settings.noises, jnp.float32), jax.random.split(key, parts))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), drawn)


def grown(settings: TrainingSettings, first: int, most: int, step: Int[Array, ""]) -> Int[Array, ""]:
    """first + ⌊(most − first) · step/curriculum⌋, and `most` from step `curriculum` on."""
    done = jnp.minimum(step, settings.curriculum)
    return first + (most - first) * done // settings.curriculum


def with_dimensions(task: Task, prompts: Prompts, active: Int[Array, ""], key: Array) -> Prompts:
    """Only the first `active` features of the inputs are not zero; outcomes are drawn anew from what is left."""
    x = jnp.where(jnp.arange(prompts.x.shape[-1]) < active, prompts.x, 0.0)
    return prompts.replace(x=x, y=jax.vmap(task.outcome)(prompts.latent, x).sample(key))


def up_to(prompts: Prompts, last: Int[Array, "*batch"]) -> Prompts:
    """Positions with at most `last` examples before them count."""
    return prompts.replace(scored=prompts.scored & (jnp.arange(prompts.positions) <= last))


def check_options(settings: TrainingSettings, task: Task, format: Format) -> None:
    """Raises ValueError, as "field: what is wrong", for settings that a task or a format does not allow."""
    changed_formats(format, settings.formats)
    if settings.noises and not hasattr(task, "noise"):
        raise ValueError(f"noises: {type(task).__name__} has no noise; leave this list out")
    for name in ("shortest", "first_examples"):
        if getattr(settings, name) > task.examples:
            raise ValueError(f"{name}: {getattr(settings, name)} examples are more than the task's {task.examples}")
        if getattr(settings, name) and len(range(task.positions)[format.answers(task.positions)]) < task.positions:
            raise ValueError(f"{name}: shorter prompts need a format that answers every position")
    if settings.first_dimensions > task.inputs_size:
        raise ValueError(f"first_dimensions: {settings.first_dimensions} are more than the {task.inputs_size} inputs")
    if settings.first_dimensions and (task.is_stream or not task.outcomes.linear):
        raise ValueError(f"first_dimensions: inputs of {type(task).__name__} cannot be zero; it is for regressions")
