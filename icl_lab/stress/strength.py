"""Estimate the strength of a subject's bias: the member of a family of biased learners nearest to its answers."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline, PchipInterpolator

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.answers import exact_answers
from icl_lab.stress.biased import Bias, mixed
from icl_lab.stress.exact import counted
from icl_lab.tasks import Task

RESAMPLES, FINE = 500, 50


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The strength at which a family is nearest to a subject.

    Attributes:
        strength, low, high: minimum of the mean distance, interpolated by a spline, and its 95% bootstrap interval over
            prompts.
        left: mean distance there over mean distance at strength 0: 1 explains nothing, 0 everything.
    """

    strength: float
    low: float
    high: float
    left: float


def family_answers(bias: Bias, task: Task, prompts: Prompts) -> Predictions:
    """Return the family's answers at every strength of its grid, [strength, prompt, position]; compiled."""
    grid = jnp.asarray(bias.grid)
    if bias.weights is not None:  # one program for all families that weight the evidence
        return _counted(task, prompts, jax.vmap(functools.partial(bias.weights, prompts.positions))(grid))
    if bias.other is not None:
        return _mixed(bias.other, task, prompts, exact_answers(task, prompts), grid)
    return _any(bias, task, prompts, grid)


@exact(effort="quick")
def _counted(task: Task, prompts: Prompts, weights: Array) -> Predictions:
    return jax.lax.map(lambda each: counted(task, prompts, each).answer(), weights)


@exact(effort="quick", static=("other",))
def _mixed(other: Any, task: Task, prompts: Prompts, unbiased: Predictions | None, grid: Array) -> Predictions:
    found = other(task, prompts)
    return jax.lax.map(lambda strength: mixed(task, unbiased, found, strength).answer(), grid)


@exact(effort="quick", static=("bias",))
def _any(bias: Bias, task: Task, prompts: Prompts, grid: Array) -> Predictions:
    return jax.lax.map(lambda strength: bias.answers(task, prompts, strength).answer(), grid)


def fit_strength(
    bias: Bias, family: Predictions, answer: Predictions, unit: Array, scored: np.ndarray, seed: int = 0
) -> Fitted:
    """Fit the strength of a bias to a subject.

    Args:
        bias: the family.
        family: returned by `family_answers`.
        answer: the subject's answers to the same prompts.
        unit: `task.unit` of the prompts.
        scored: scored positions, [prompt, position].
        seed: of the bootstrap.
    """
    apart = np.asarray(_apart(family, answer, unit))  # [strength, prompt, position]
    per_prompt = np.where(scored, apart, 0.0).sum(-1) / np.maximum(scored.sum(-1), 1)
    grid = np.asarray(bias.grid)
    counts = np.random.default_rng(seed).multinomial(per_prompt.shape[1], _even(per_prompt), RESAMPLES)
    drawn = _least(grid, counts @ per_prompt.T / per_prompt.shape[1])[0]
    strength, least = _least(grid, per_prompt.mean(1)[None])
    low, high = np.quantile(drawn, [0.025, 0.975])
    none = per_prompt[0].mean()
    left = float(least[0] / none) if none > 0 else 1.0
    return Fitted(float(strength[0]), float(low), float(high), min(max(left, 0.0), 1.0))


def _even(per_prompt: np.ndarray) -> np.ndarray:
    return np.full(per_prompt.shape[1], 1 / per_prompt.shape[1])


@exact
def _apart(family: Predictions, answer: Predictions, unit: Array) -> Array:
    return jax.vmap(lambda part: part.divergence(answer, unit))(family)


def _least(
    grid: Float[np.ndarray, " strength"], distance: Float[np.ndarray, "row strength"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return position and value of each row's minimum along a cubic spline with FINE points per interval."""
    place = np.arange(len(grid))
    between = np.linspace(0, len(grid) - 1, FINE * (len(grid) - 1) + 1)
    strengths = PchipInterpolator(place, grid)(between)
    values = CubicSpline(place, distance, axis=1)(between)
    least = values.argmin(1)
    return strengths[least], np.maximum(values[np.arange(len(values)), least], 0.0)
