"""The most informative example, which has the query's input, moved away from the query."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.derived import Derived, undescribed
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import Task, task_dataclass
from icl_lab.tasks.base import reordered


@task_dataclass
class RepeatedQuery(Derived):
    """The task whose last example has the query's input.

    The posterior is the base's: the change is measured against the training prior alone (mismatch 0).
    """

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        x = self.base.draw_inputs(key, latent)
        return x.at[-2].set(x[-1])

    def population_predictive(self, prompts: Prompts) -> Predictions | None:
        return self.base.posterior_predictive(prompts)


def exchangeable_pairs(task: Task) -> str:
    """Return "" if examples are pairs whose inputs can take any place, else the reason why not."""
    return "" if task.inputs_are_free else f"the inputs of {type(task).__name__} cannot move to another place"


def _repeat(task: Task, strength: Strength) -> Task:
    return RepeatedQuery(examples=task.examples, base=task)


def _moved(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    """Move the last example back by a share `strength` of the prompt; the others move up."""
    examples = prompts.positions - 1
    place = round((examples - 1) * (1 - strength))
    order = [*range(place), examples - 1, *range(place, examples - 1), examples]
    return last_only(reordered(prompts, jnp.broadcast_to(jnp.array(order), prompts.y.shape)))


def _applies(task: Task) -> str:
    return undescribed(task) or exchangeable_pairs(task)


RECENCY = Perturbation(
    name="recency",
    title="informative example far back",
    question="does an example count less the farther it is from the query?",
    unit="distance from the query (share of the prompt)",
    strengths=(0.0, 0.25, 0.5, 0.75, 1.0),
    standard=1.0,
    applies=_applies,
    task=_repeat,
    prompts=_moved,
    aligned=True,
)
