"""Descriptions of the task that are missing, wrong, or name another task than the demonstrations show."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.tasks import Described, Pool, Task


def _applies(task: Task) -> str:
    if not isinstance(task, Described):
        return f"prompts of {type(task).__name__} have no description"
    return "" if isinstance(task.prior, Pool) else "a description names a member of a pool; give pool"


def withheld(prompts: Prompts, key: Array, share: float) -> Prompts:
    """Remove the descriptions of a random share of the prompts."""
    gone = jax.random.bernoulli(key, share, prompts.y.shape[:1])
    return prompts.replace(description=jnp.where(gone[:, None], 0.0, prompts.description))


def _withheld(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    return withheld(prompts, key, strength)


def _said(task: Any, strength: Strength) -> Task:
    """Give every prompt a description, and make a share `strength` of the right ones wrong."""
    error = task.error + strength * (1 - task.error)
    return task.replace(error=error, dropout=0.0)


def share_followed(
    answer: Float[Array, "*batch target"],
    described: Float[Array, "*batch target"],
    shown: Float[Array, "*batch target"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Locate answers between the demonstrated task (0) and the described task (1).

    With the answer f and the mean targets a of the described and b of the demonstrated task, the share w that brings
    b + w(a − b) nearest to f over many prompts is Σ (f − b)·(a − b) / Σ |a − b|². This is least squares: pairs of tasks
    that agree have no weight.

    Returns:
        Numerator and denominator for every answer, to be summed over prompts.
    """
    apart = described - shown
    return ((answer - shown) * apart).sum(-1), jnp.square(apart).sum(-1)


WITHHELD = Perturbation(
    name="description_withheld",
    title="no description",
    question="does the subject fall back to the demonstrations without a description?",
    unit="share of descriptions withheld",
    strengths=(0.0, 0.5, 1.0),
    standard=1.0,
    applies=_applies,
    prompts=_withheld,
)
NOISY = Perturbation(
    name="description_noisy",
    title="unreliable description",
    question="does the subject trust descriptions as much as training warrants, and no more?",
    unit="share of right descriptions made wrong",
    strengths=(0.0, 0.25, 0.5, 0.75),
    standard=0.5,
    applies=_applies,
    task=_said,
)
CONTRADICTING = Perturbation(
    name="description_contradicting",
    title="description against demonstrations",
    question="which wins where the description names another task than the demonstrations show?",
    unit="descriptions as in training (0) or all wrong (1)",
    strengths=(0.0, 1.0),
    standard=1.0,
    applies=_applies,
    task=_said,
)

DESCRIPTION_PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation for perturbation in (WITHHELD, NOISY, CONTRADICTING)
}
