"""Two examples with the query's input and contradicting labels."""

import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.perturbations.recency import exchangeable_pairs
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import Task


def _applies(task: Task) -> str:
    if not hasattr(task, "noise") or not float(jnp.max(jnp.asarray(task.noise))) > 0:
        return f"labels of {type(task).__name__} without noise cannot contradict each other; give it some"
    if task.examples < 2:
        return "two contradicting labels need at least 2 examples"
    return exchangeable_pairs(task)


def contradicting(task: Task, prompts: Prompts, gap: int) -> Prompts:
    """Give the query's input to the last example and to the one `gap` places before it, with contradicting labels.

    The later example gets the query's outcome; the earlier one another label: the next class, or the outcome minus two
    standard deviations of the noise.
    """
    late = prompts.positions - 2
    early = late - gap
    x = prompts.x.at[:, jnp.array([early, late])].set(prompts.x[:, -1:])
    label = prompts.y[:, -1]
    other = label - 2 * task.noise if task.outcomes.linear else task.outcomes.altered(label)  # pyrefly: ignore
    return last_only(prompts.replace(x=x, y=prompts.y.at[:, late].set(label).at[:, early].set(other)))


def _conflict(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    """Set the gap, from 1 example to the whole prompt; the exact answer does not depend on it."""
    return contradicting(task, prompts, max(1, round(strength * (prompts.positions - 2))))


CONFLICT = Perturbation(
    name="conflict",
    title="contradicting labels",
    question="of two labels of one input, does the later one count more?",
    unit="gap between the two (share of the prompt)",
    strengths=(0.0, 0.25, 0.5, 1.0),
    standard=1.0,
    applies=_applies,
    prompts=_conflict,
)
