"""More noise in the labels than in training."""

import math
from typing import Any

import jax.numpy as jnp

from icl_lab.stress.base import Perturbation, Strength
from icl_lab.tasks import BooleanRules, LinearRegression, ModularRules, Task


def _applies(task: Task) -> str:
    if not isinstance(task, BooleanRules | LinearRegression | ModularRules):
        return f"{type(task).__name__} has no label noise"
    if not float(jnp.max(jnp.asarray(task.noise))) > 0:
        return "noise: 0 in training, so that a wrong label is impossible there; train with some"
    return ""


def _noisier(task: Any, strength: Strength) -> Task:
    """Classes: a share of all labels is flipped (or drawn anew); real outcomes: σ² grows by (4·strength·σ)²."""
    if not strength:
        return task
    if isinstance(task, LinearRegression):
        return task.replace(noise=task.noise * math.sqrt(1 + (4 * strength) ** 2))
    if isinstance(task, ModularRules):
        return task.replace(noise=task.noise + strength - task.noise * strength)
    return task.replace(noise=task.noise + strength - 2 * task.noise * strength)


LABEL_NOISE = Perturbation(
    name="label_noise",
    title="noisy labels",
    question="what do more mislabelled examples do than the posterior makes of them?",
    unit="share of labels flipped (real outcomes: noise added, in 4σ)",
    strengths=(0.0, 0.1, 0.25, 0.4),
    standard=0.25,
    applies=_applies,
    task=_noisier,
)
