"""More noise in the labels than in training."""

import jax.numpy as jnp

from icl_lab.stress.base import Perturbation, Strength
from icl_lab.tasks import Task


def _applies(task: Task) -> str:
    if type(task).noisier is Task.noisier:
        return f"{type(task).__name__} has no label noise"
    if not float(jnp.max(jnp.asarray(task.noise))) > 0:  # pyrefly: ignore[missing-attribute]
        return "noise: 0 in training, where a wrong label is impossible; train with noise"
    return ""


def _noisier(task: Task, strength: Strength) -> Task:
    return task.noisier(strength) if strength else task


LABEL_NOISE = Perturbation(
    name="label_noise",
    title="noisy labels",
    question="do mislabelled examples change the answer more than they change the posterior?",
    unit="share of labels flipped (real outcomes: noise added, in 4σ)",
    strengths=(0.0, 0.1, 0.25, 0.4),
    standard=0.25,
    applies=_applies,
    task=_noisier,
)
