"""Batches that hold prompts of several regimes."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.regimes import REGIMES as REGIMES
from icl_lab.tasks.regimes import Regime as Regime
from icl_lab.tasks.regimes import drawn_from

TRAINING: tuple[Regime, ...] = ("in_distribution",)


def sample_regimes(task: Task, key: Array, batch: int, regimes: Sequence[Regime] = TRAINING) -> Prompts:
    """A batch of prompts, an equal part from every regime, one after the other; the first ones take what is left over.

    What each draws: `tasks.regimes.drawn_from`. A single regime is drawn with the key itself.

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
    parts = []
    for index, (regime, own) in enumerate(zip(regimes, keys, strict=True)):
        source, shifted = drawn_from(task, regime)
        parts.append(source.sample(own, share + (index < rest), shifted=shifted))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
