"""Prompt sets that a batch can be drawn from, named as the judge names its regimes."""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.prompts import Prompts
from icl_lab.tasks import Task

Regime = Literal["in_distribution", "fresh_tasks", "shifted"]
REGIMES: tuple[Regime, ...] = get_args(Regime)
TRAINING: tuple[Regime, ...] = ("in_distribution",)


def sample_regimes(task: Task, key: Array, batch: int, regimes: Sequence[Regime] = TRAINING) -> Prompts:
    """A batch of prompts, an equal part from every regime, one after the other; the first ones take what is left over.

    in_distribution: latents of the training prior. fresh_tasks: latents the pool does not hold (`task.unseen`); without
    a pool those of the population, once more. shifted: such latents, with `shift_latent` and `shift_inputs` applied.
    A single regime is drawn with the key itself.

    Raises:
        ValueError: an unknown regime, none, or fewer prompts than regimes.
    """
    unknown = [regime for regime in regimes if regime not in REGIMES]
    if unknown or not regimes:
        raise ValueError(f"regimes: {list(regimes)} should be one or more of {', '.join(REGIMES)}")
    if batch < len(regimes):
        raise ValueError(f"batch: {batch} is too small for a prompt of each of {len(regimes)} regimes")
    share, rest = divmod(batch, len(regimes))
    keys = [key] if len(regimes) == 1 else list(jax.random.split(key, len(regimes)))
    parts = [
        (task if regime == "in_distribution" else task.unseen()).sample(
            own, share + (index < rest), shifted=regime == "shifted"
        )
        for index, (regime, own) in enumerate(zip(regimes, keys, strict=True))
    ]
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
