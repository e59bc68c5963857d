"""More examples than in training."""

from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.scoring import from_position
from icl_lab.tasks import Task


def _applies(task: Task) -> str:
    if task.latent_is_by_position or task.graph is not None:
        return f"longer prompts of {type(task).__name__} have other latents"
    return ""


def _longer(task: Task, strength: Strength) -> Task:
    return task.replace(examples=round(strength * task.examples)) if strength != 1 else task


def _beyond(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    """Score positions beyond the training length only; at strength 1, the last one."""
    last = round((prompts.positions - 1) / strength)
    return from_position(prompts, last + 1 if strength > 1 else last)


LENGTH = Perturbation(
    name="length",
    title="longer than in training",
    question="does the subject continue to learn beyond its training length?",
    unit="examples (training: 1)",
    strengths=(1.0, 2.0, 4.0),
    standard=2.0,
    applies=_applies,
    task=_longer,
    prompts=_beyond,
)
