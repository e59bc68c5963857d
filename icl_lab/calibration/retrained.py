"""Retrained constructions: hand-built transformers, every weight disturbed, then trained on a reference's answers.

A transformer trained from random weights for half a minute is far from the posterior over a pool of regression tasks,
more than 20 δ; one that starts near a construction of it gets near. Weights that are zero in the construction stay
zero, and the others move at one relative rate (`training/retrain.py`). Like every student it is ground truth for its
*function* alone, within δ of its teacher in every regime (`distilled.apart`); before training it is a hundred δ away.
It has its own task, with a pool no larger than the construction can hold.

Not included, after one seed each: from 5% noise the posterior was 1.5 δ away after 4,000 steps. The most probable pool
member, from a posterior of exponent 4, was 12 to 13 δ away after 4,000; bigram counts were 31 δ away after 1,000; the
most recent match, which has no useful gradient, had not moved after 500.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from icl_lab.calibration.distilled import Teacher, student_answers
from icl_lab.calibration.planted import answers_at, learner_at
from icl_lab.calibration.subjects import KnownSubject
from icl_lab.judging.bank import Bank
from icl_lab.learners import TransformerLearner
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models import Params
from icl_lab.tasks import Pool, Task

NOISE = 0.02  # relative noise of every weight


@dataclasses.dataclass(frozen=True)
class Start:
    """A construction to retrain.

    Attributes:
        construction: a row of `CONSTRUCTIONS`, built for the task.
        teacher: the reference that it equals.
        task: the family's task → a task that the construction can hold.
    """

    construction: str
    teacher: Teacher
    task: Callable[[Task], Task]

    def built(self, task: Task) -> TransformerLearner:
        """Return the construction without noise."""
        return CONSTRUCTIONS[self.construction].build(task)


def few_members(task: Task) -> Task:
    """Return the task with one pool member for every example of a prompt: each token stores one."""
    return task.replace(prior=Pool(task.examples, seed=task.prior.seed))  # pyrefly: ignore[missing-attribute]


STARTS: Mapping[str, tuple[Start, ...]] = {
    "linear_regression": (Start("pool_posterior", Teacher("pool_bayes", {}), few_members),),
}
"""Family → what is retrained on it."""


def known_retrained(bank: Bank, start: Start, params: Params, name: str) -> KnownSubject:
    """Return a retrained construction as a subject whose function is its teacher's, on the positions it answers."""
    learner = dataclasses.replace(start.built(bank.task), params=jax.tree.map(jnp.asarray, params))
    return KnownSubject(
        kind="retrained",
        name=name,
        group=f"{start.teacher.hypothesis} retrained",
        answers=functools.partial(student_answers, learner, bank.prompts),
        noises=("none",),
        reference=start.teacher.reference,
        function=functools.partial(answers_at, bank, start.teacher.reference, dict(start.teacher.parameters)),
    )


def teacher_learner(bank: Bank, start: Start) -> ReferenceLearner:
    """Return its teacher on the bank's task."""
    return learner_at(bank, start.teacher.reference, dict(start.teacher.parameters))
