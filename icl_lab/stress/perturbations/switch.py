"""Task switches within a prompt: at unknown places, or once, after distractors at the head of the prompt."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.derived import Derived, undescribed
from icl_lab.stress.exact import counted, knows_weighted, since, switching_predictive
from icl_lab.stress.scoring import from_position
from icl_lab.tasks import Task, task_dataclass


@task_dataclass
class Switching(Derived):
    """The task is drawn anew with probability `hazard` before every example but the first.

    The latent consists of one latent per position, and the index of the one that is active at each position.
    """

    hazard: Any = 0.1

    def draw_latent(self, key: Array) -> dict[str, Any]:
        latent_key, switch_key = jax.random.split(key)
        latents = jax.vmap(self.base.draw_prior_latent)(jax.random.split(latent_key, self.positions))
        anew = self._anew(switch_key)
        return {"latents": latents, "current": jax.lax.cummax(jnp.where(anew, jnp.arange(self.positions), 0))}

    def _anew(self, key: Array) -> Array:
        return jax.random.bernoulli(key, self.hazard, (self.positions,))

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        return self._current(jax.vmap(lambda own: self.base.draw_inputs(key, own))(latent["latents"]), latent)

    def outcome(self, latent: Any, x: Float[Array, "position feature"]) -> Predictions:
        every = jax.vmap(lambda own: self.base.outcome(own, x))(latent["latents"])
        return jax.tree.map(lambda leaf: self._current(leaf, latent), every)

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        return self._current(jax.vmap(lambda own: self.base.input_log_prob(own, x, y))(latent["latents"]), latent)

    def _current(self, every: Array, latent: Any) -> Array:
        """Select, at each position, the value of the latent active there. `every`: [latent, position, …]."""
        return every[latent["current"], jnp.arange(self.positions)]

    def population_predictive(self, prompts: Prompts) -> Predictions:
        return switching_predictive(self.base, prompts, self.hazard)


@task_dataclass
class Distracted(Switching):
    """The first `count` examples belong to another task, and the exact learner ignores them."""

    count: Any = 0

    def _anew(self, key: Array) -> Array:
        return jnp.arange(self.positions) == self.count

    def population_predictive(self, prompts: Prompts) -> Predictions:
        return counted(self.base, prompts, since(self.positions, self.count))


def _applies(task: Task) -> str:
    if task.latent_is_by_position:
        return f"the latent of {type(task).__name__} belongs to positions; it cannot switch"
    return undescribed(task) or knows_weighted(task)


def _can_be_distracted(task: Task) -> str:
    if task.examples < 2:
        return "distractors and examples of the task need at least 2 examples"
    return _applies(task)


def _switching(task: Task, strength: Strength) -> Task:
    if not strength:
        return task
    return Switching(examples=task.examples, base=task, hazard=strength / task.examples)


def _distracted(task: Task, strength: Strength) -> Task:
    if not strength:
        return task
    return Distracted(examples=task.examples, base=task, count=_count(task, strength))


def _count(task: Task, strength: Strength) -> int:
    return round(strength * task.examples)


def _after_distractors(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    return from_position(prompts, _count(task, strength))


SWITCH = Perturbation(
    name="switch",
    title="task switches",
    question="does the subject detect a task switch within the prompt as the switching posterior does?",
    unit="expected switches per prompt",
    strengths=(0.0, 0.5, 1.0, 2.0),
    standard=1.0,
    applies=_applies,
    task=_switching,
)
DISTRACTORS = Perturbation(
    name="distractors",
    title="examples of another task first",
    question="how much do examples of another task interfere?",
    unit="share of the examples from another task",
    strengths=(0.0, 0.25, 0.5, 0.75),
    standard=0.5,
    applies=_can_be_distracted,
    task=_distracted,
    prompts=_after_distractors,
)
