"""The definition of a stress test: a change of the task, of its prompts or of their format, swept over a strength.

Three learners are compared on the changed prompts, in nats of `Predictions.divergence` D with the unit v = `task.unit`:

    c  the exact learner under the changed prior        bias      D(c‖s) − D(c‖t)   the subject's additional loss
    t  the exact learner under the training prior       mismatch  D(c‖t)            the loss of t itself
    s  the subject                                      distance  D(t‖s)            between subject and t

bias + mismatch = D(c‖s) is the subject's excess loss on the changed prompts over the best possible learner, in
expectation over c's own predictive. The bias is negative if the subject's errors help, or if it knows more than the
training prior. It compares two losses, not two answers: only distance 0 means s = t. If the change keeps the outcome of
the query, the answers before and after can be compared: moved = D(s before ‖ s after). This is the only measure if the
changed prompt has no likelihood under training (`likelihood` is False).
"""

import dataclasses
from collections.abc import Callable, Sequence

from jaxtyping import Array

from icl_lab.core.prompts import Prompts
from icl_lab.formats import Format
from icl_lab.tasks import Task

Strength = float


def _same_task(task: Task, strength: Strength) -> Task:
    return task


def _same_prompts(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
    return prompts


def _same_format(format: Format, strength: Strength) -> Format:
    return format


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """One stress test.

    Attributes:
        name, title: identifier, and name in figures.
        question: the question it answers, in a line.
        unit: of a strength, for axes: "share of labels flipped".
        strengths: increasing; the first is no change (or the reference case).
        standard: the strength shown in the profile.
        applies: task → "", or the reason in a line why the test does not apply to the task.
        task: (task, strength) → the task whose prior the changed prompts are drawn from; its exact predictive is c.
        prompts: (task, prompts, key, strength) → the changed prompts, which may also score other positions.
        format: (format, strength) → the changed format, which the subject reads and the exact learners do not see.
        aligned: the outcome of the query stays the same, so that answers before and after can be compared.
        likelihood: changed prompts are possible under training; otherwise only `moved` counts.
    """

    name: str
    title: str
    question: str
    unit: str
    strengths: tuple[Strength, ...]
    standard: Strength
    applies: Callable[[Task], str] = lambda task: ""
    task: Callable[[Task, Strength], Task] = _same_task
    prompts: Callable[[Task, Prompts, Array, Strength], Prompts] = _same_prompts
    format: Callable[[Format, Strength], Format] = _same_format
    aligned: bool = False
    likelihood: bool = True

    def __post_init__(self) -> None:
        if self.standard not in self.strengths:
            raise ValueError(f"standard: {self.standard} is none of the strengths {self.strengths} of {self.name!r}")
        if not (self.likelihood or self.aligned):
            raise ValueError(f"likelihood: without one {self.name!r} can only say what moved; it must be aligned")


def composed(name: str, title: str, parts: Sequence[tuple[Perturbation, Strength]]) -> Perturbation:
    """Combine several changes, each at its own strength; strength 1 applies all of them, 0 none.

    Tasks change in the given order, then prompts, then formats. c is the exact learner of the last task. It is right if
    the changes of prompts keep the evidence (order, format) or draw from the changed task.
    """

    def reason(task: Task) -> str:
        return next((why for part, _ in parts if (why := part.applies(task))), "")

    def change(task: Task, strength: Strength) -> Task:
        for part, own in parts if strength else ():
            task = part.task(task, own)
        return task

    def transform(task: Task, prompts: Prompts, key: Array, strength: Strength) -> Prompts:
        import jax

        for place, (part, own) in enumerate(parts if strength else ()):
            prompts = part.prompts(task, prompts, jax.random.fold_in(key, place), own)
        return prompts

    def encode(format: Format, strength: Strength) -> Format:
        for part, own in parts if strength else ():
            format = part.format(format, own)
        return format

    return Perturbation(
        name=name,
        title=title,
        question="; ".join(part.question for part, _ in parts),
        unit="all at once",
        strengths=(0.0, 1.0),
        standard=1.0,
        applies=reason,
        task=change,
        prompts=transform,
        format=encode,
        aligned=all(part.aligned for part, _ in parts),
        likelihood=all(part.likelihood for part, _ in parts),
    )
