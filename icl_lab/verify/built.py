"""Transformers built by hand, against the algorithms that they are said to compute."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.claims import Claim
from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.learners.constructions import CONSTRUCTIONS, Construction
from icl_lab.learners.reference import has_pool
from icl_lab.tasks import Task
from icl_lab.verify import check

PROMPTS = 64


@exact
def _answers(learner: check.Learner, prompts: Prompts) -> jax.Array:
    """Means, or log probabilities, [prompt, position, ...]."""
    answer: Any = learner(prompts).answer()
    return answer.log_probs if isinstance(answer, Categorical) else answer.mean


@exact
def _draw(task: Task) -> Prompts:
    """Compiled once for all tasks of one structure, which is most of the time here."""
    return task.sample(jax.random.key(check.SEED), PROMPTS)


def transformers() -> list[Claim]:
    """One claim for every construction: it answers what its algorithm does, off its pool too if it has one."""
    return [_same_answers(construction) for construction in CONSTRUCTIONS.values()]


def _same_answers(construction: Construction) -> Claim:
    task = construction.task
    drawn = [_draw(each) for each in ((task, task.fresh()) if has_pool(task) else (task,))]
    prompts = jax.tree.map(lambda *parts: jnp.concatenate(parts), *drawn)
    transformer = construction.build(task)
    found, expected = (_answers(learner, prompts) for learner in (transformer, construction.algorithm(task)))
    answered = transformer.format.answers(task.positions)
    return check.same(
        f"construction.{construction.name}",
        f"{construction.title} ({construction.hypothesis}), in weights set by hand and as an algorithm",
        "construction",
        np.asarray(found)[:, answered],
        np.asarray(expected)[:, answered],
        1e-4,
    )
