"""Distillation: transformers that were taught the answers of a known learner instead of the outcomes.

What such a student computes is known by how it was made, as a function and as far as it came to its teacher; how it
computes it is not. Prompts come from every regime the judge scores, so that the student is pinned down there too.
Source: Hinton et al. 2015.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.formats import Format
from icl_lab.learners.reference import LAPSE, Reference, ReferenceLearner
from icl_lab.models import Params
from icl_lab.models.network import Network
from icl_lab.tasks import Task
from icl_lab.training.ensemble import Member, stack
from icl_lab.training.loop import init_state, train_chunk
from icl_lab.training.regimes import REGIMES, Regime
from icl_lab.training.settings import TrainingSettings

Learner = Callable[[Prompts], Predictions]


def teacher_of(task: Task, reference: Reference, parameters: Mapping[str, float]) -> ReferenceLearner:
    """A reference at these parameters as a learner, with what it learns on the task beforehand (Meta-SGD).

    Args:
        parameters: a value for each of `reference.parameters(task)`; `lapse` may be left out (no uniform guesses).

    Raises:
        ValueError: a reference that does not apply to the task, an unknown parameter or a missing one.
    """
    if not reference.applies(task):
        raise ValueError(f"reference: {reference.name!r} does not apply to {type(task).__name__}")
    names = reference.parameters(task)
    for name in parameters:
        if name not in names:
            raise ValueError(f"parameters: {reference.name!r} has no {name!r}; it has {', '.join(names) or 'none'}")
    if missing := [name for name in names if name not in parameters and name != LAPSE]:
        raise ValueError(f"parameters: {reference.name!r} needs {', '.join(missing)}")
    values = {name: jnp.asarray(value, jnp.float32) for name, value in parameters.items()}
    return ReferenceLearner(task, {**reference.prepared(task), **values}, reference)


def distil(
    task: Task,
    reference: Reference,
    parameters: Mapping[str, float],
    model: Network,
    format: Format,
    settings: TrainingSettings,
    seeds: Sequence[int] = (0,),
    regimes: Sequence[Regime] = REGIMES,
) -> Params:
    """Train a student per seed on a reference's answers, all in one program.

    Args:
        task: of the prompts; it is also what the reference knows (its pool, its noise).
        reference, parameters: the teacher, see `teacher_of`.
        model, format, settings: of the students.
        seeds: one member each.
        regimes: where prompts come from, in equal parts of every batch.

    Returns:
        Parameters after the last step, every array with a leading member axis. Other parameter values of the same
        reference, and other task data, reuse the program.

    Raises:
        ValueError: as `teacher_of`, or no seeds.
    """
    teacher = teacher_of(task, reference, parameters)
    rates = (settings.learning_rate, settings.weight_decay)
    members = [Member(seed, task, *rates, teacher=teacher, regimes=tuple(regimes)) for seed in seeds]
    return _trained(stack(members), model, format, settings)


def _trained(members: Member, model: Network, format: Format, settings: TrainingSettings) -> Params:
    """Parameters after the last step."""
    state = init_state(model, settings, members)
    for done in range(0, settings.steps, settings.chunk):
        steps = min(settings.chunk, settings.steps - done)
        state, _ = train_chunk(model, format, settings, members, state, steps)
    return state.params


@pytree_dataclass
class Panel:
    """One of several teachers, chosen by a number: data, so that students of all of them share a program.

    Attributes:
        teachers: learners with the same kind of outcome.
        chosen: which of them answers.
    """

    teachers: tuple[Learner, ...]
    chosen: Any

    def __call__(self, prompts: Prompts) -> Predictions:
        """Its answers; where members are mapped one after another, the others are not worked out."""
        asked = [lambda given, teacher=teacher: teacher(given).answer() for teacher in self.teachers]
        return jax.lax.switch(self.chosen, asked, prompts)


def distil_from_panel(
    task: Task,
    teachers: Sequence[Learner],
    students: Sequence[tuple[int, int]],
    model: Network,
    format: Format,
    settings: TrainingSettings,
    regimes: Sequence[Regime] = REGIMES,
) -> Params:
    """Train students of several teachers in one program.

    Args:
        students: (teacher's index, seed) of each member.
        task, model, format, settings, regimes: as of `distil`.

    Returns:
        As `distil`.
    """
    rates = (settings.learning_rate, settings.weight_decay)
    members = [
        Member(seed, task, *rates, teacher=Panel(tuple(teachers), chosen), regimes=tuple(regimes))
        for chosen, seed in students
    ]
    return _trained(stack(members), model, format, settings)
