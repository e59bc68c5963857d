"""A training batch: prompts of a task, and what a mixture of noise levels, lengths or a curriculum makes of them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from icl_lab.core.prompts import Prompts
from icl_lab.formats import Format
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
    prompts = _at_noises(task, settings, key, outcome_key, step, regimes)
    last = task.examples
    if settings.first_examples:
        last = grown(settings, settings.first_examples, task.examples, step)
        prompts = up_to(prompts, last)
    if settings.shortest:
        least = jnp.minimum(settings.shortest, last)
        prompts = up_to(prompts, jax.random.randint(length_key, (len(prompts.y), 1), least, last + 1))
    return prompts


def _at_noises(
    task: Task, settings: TrainingSettings, key: Array, other: Array, step: Int[Array, ""], regimes: Sequence[Regime]
) -> Prompts:
    """An equal part of the batch at every noise level; they are one program. `other`: of outcomes drawn anew."""

    def drawn(task: Task, key: Array, other: Array, count: int) -> Prompts:
        prompts = sample_regimes(task, key, count, regimes)
        if not settings.first_dimensions:
            return prompts
        active = grown(settings, settings.first_dimensions, task.inputs_size, step)
        return with_dimensions(task, prompts, active, other)

    if not settings.noises:
        return drawn(task, key, other, settings.batch)
    parts = len(settings.noises)

    def one(noise: Array, key: Array, other: Array) -> Prompts:
        return drawn(task.replace(noise=noise), key, other, settings.batch // parts)

    keys = (jax.random.split(each, parts) for each in (key, other))
    found = jax.vmap(one)(jnp.asarray(settings.noises, jnp.float32), *keys)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


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
    formats = changed_formats(format, settings.formats)
    for name, other in zip(settings.formats, formats, strict=True):
        try:
            jax.eval_shape(lambda other=other: other.encode(task.sample(jax.random.key(0), 2), task.outcomes))
        except ValueError as error:
            reason = str(error).partition(": ")[2] or str(error)
            raise ValueError(f"formats: {name!r} cannot be: {reason}") from None
    if settings.noises and not hasattr(task, "noise"):
        raise ValueError(f"noises: {type(task).__name__} has no noise; leave this list out")
    for name in ("shortest", "first_examples"):
        if getattr(settings, name) > task.examples:
            raise ValueError(f"{name}: {getattr(settings, name)} examples are more than the task's {task.examples}")
        answered = [len(range(task.positions)[other.answers(task.positions)]) for other in formats or (format,)]
        if getattr(settings, name) and min(answered) < task.positions:
            raise ValueError(f"{name}: shorter prompts need formats that answer every position")
    if settings.first_dimensions > task.inputs_size:
        raise ValueError(f"first_dimensions: {settings.first_dimensions} are more than the {task.inputs_size} inputs")
    if settings.first_dimensions and (task.is_stream or not task.outcomes.linear):
        raise ValueError(f"first_dimensions: inputs of {type(task).__name__} cannot be zero; it is for regressions")
