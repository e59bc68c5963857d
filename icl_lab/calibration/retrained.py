"""Retrained constructions: hand-built transformers, every weight disturbed, then trained on a reference's answers.

A transformer that starts at random is far from a posterior after half a minute of training, more than 20 δ on a pool of
regression tasks; one that starts near a construction of it gets near. The wiring is the construction's: a weight that
is zero there stays zero, and the others move at one relative rate (`training/retrain.py`). Such a student is known, as
every other, for its *function*, and only within δ of its teacher in every regime (`distilled.apart`); disturbed and not
yet trained it is a hundred δ away. It has its own task, a pool no larger than the construction can hold.

Tried, one seed each, and not here: from 5% noise the posterior was 1.5 δ away after 4,000 steps. The most probable pool
member, from a posterior of exponent 4, was 12 to 13 δ away after 4,000; bigram counts were 31 δ away after 1,000, and
the most recent match, which no gradient follows, as far after 500 as before.
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

NOISE = 0.02  # relative, of every weight


@dataclasses.dataclass(frozen=True)
class Start:
    """What is retrained.

    Attributes:
        construction: a row of `CONSTRUCTIONS`, built for the task.
        teacher: the reference that it equals.
        task: family's task → one that the construction can hold.
    """

    construction: str
    teacher: Teacher
    task: Callable[[Task], Task]

    def built(self, task: Task) -> TransformerLearner:
        """The construction before it is disturbed."""
        return CONSTRUCTIONS[self.construction].build(task)


def few_members(task: Task) -> Task:
    """The task with a pool of as many members as prompts have examples: one is stored at every token."""
    return task.replace(prior=Pool(task.examples, seed=task.prior.seed))  # pyrefly: ignore[missing-attribute]


STARTS: Mapping[str, tuple[Start, ...]] = {
    "linear_regression": (Start("pool_posterior", Teacher("pool_bayes", {}), few_members),),
}
"""Family → what is retrained on it."""


def known_retrained(bank: Bank, start: Start, params: Params, name: str) -> KnownSubject:
    """A retrained construction as a subject that is known by its teacher, on the bank of the positions it answers."""
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
    """Who teaches it, on the bank's task."""
    return learner_at(bank, start.teacher.reference, dict(start.teacher.parameters))
