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
    """The prompts with the descriptions of a share of them taken away."""
    gone = jax.random.bernoulli(key, share, prompts.y.shape[:1])
    return prompts.replace(description=jnp.where(gone[:, None], 0.0, prompts.description))


def _withheld(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    return withheld(prompts, key, strength)


def _said(task: Any, strength: Strength) -> Task:
    """Every prompt has a description, and of those that were right a share `strength` is made wrong."""
    error = task.error + strength * (1 - task.error)
    return task.replace(error=error, dropout=0.0)


def share_followed(
    answer: Float[Array, "*batch target"],
    described: Float[Array, "*batch target"],
    shown: Float[Array, "*batch target"],
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """How far answers stand on the way from what the demonstrations' task to what the described one says.

    With f the answer and a, b the mean targets of the described and of the demonstrated task, the share w for which
    b + w(a − b) is nearest to f over many prompts is Σ (f − b)·(a − b) / Σ |a − b|²: 1 follows the description, 0 the
    demonstrations. It is least squares, so pairs of tasks that agree weigh nothing.

    Returns:
        Numerator and denominator of every answer, to be summed over prompts.
    """
    apart = described - shown
    return ((answer - shown) * apart).sum(-1), jnp.square(apart).sum(-1)


WITHHELD = Perturbation(
    name="description_withheld",
    title="no description",
    question="does the subject fall back to the demonstrations when nothing is said?",
    unit="share of descriptions withheld",
    strengths=(0.0, 0.5, 1.0),
    standard=1.0,
    applies=_applies,
    prompts=_withheld,
)
NOISY = Perturbation(
    name="description_noisy",
    title="unreliable description",
    question="does the subject trust descriptions as much as training taught, and no more?",
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
