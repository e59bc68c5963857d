"""The same examples in another order."""

import jax
from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import Task


def _applies(task: Task) -> str:
    return "" if task.can_reorder else f"another order of {type(task).__name__} is another prompt"


def _reordered(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    """Apply `strength` random orders one after another. For a set of pairs, one is equivalent to any number."""
    for turn in range(int(strength)):
        prompts = task.reorder(jax.random.fold_in(key, turn), prompts)
    return last_only(prompts)


ORDER = Perturbation(
    name="order",
    title="another order",
    question="does the order of the same evidence change the answer?",
    unit="random orders applied",
    strengths=(0.0, 1.0, 4.0),
    standard=1.0,
    applies=_applies,
    prompts=_reordered,
    aligned=True,
)
