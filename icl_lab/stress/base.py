"""What a stress test is: a change of the task, of its prompts or of their format, by a strength that is swept.

Four learners meet on the changed prompts, in nats of `Predictions.divergence` D with the unit v = `task.unit`:

    c  the exact learner whose prior is the changed one       bias      D(c‖s) − D(c‖t)   what s loses on top
    t  the exact learner whose prior is that of training      mismatch  D(c‖t)            what t itself loses
    s  the subject                                            distance  D(t‖s)            from what its prior asks for

bias + mismatch = D(c‖s): what the subject loses on the changed prompts against the best that can be done there, in
expectation over c's own predictive. The bias may be negative: a mechanism may be wrong in a way that helps, or know
more than the training prior. It compares two losses, not two answers: 0 does not mean s = t, `distance` does. Where a
change keeps the outcome asked for, its answer to the unchanged prompt can be compared with the other: moved = D(s
before ‖ s after), which is all there is where the changed prompt has no likelihood under training (`likelihood` False).
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
        name, title: identifier, and what figures call it.
        question: what it asks, in a line.
        unit: what a strength is, for axes: "share of labels flipped".
        strengths: increasing, the first of them no change at all (or the reference case).
        standard: the strength that the profile shows.
        applies: task → "" or why it makes no sense for the task, in a line.
        task: (task, strength) → the task whose prior the changed prompts are drawn from; its exact predictive is c.
        prompts: (task, prompts, key, strength) → the prompts changed; they may also choose what is scored.
        format: (format, strength) → the format changed: what the subject reads, never what the exact learners see.
        aligned: the outcome asked for stays what it is, so that answers before and after can be compared.
        likelihood: changed prompts are possible under training; else only `moved` counts.
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
    """Several changes at once, at the strengths given; strength 1 is all of them, 0 none.

    Tasks change in the order given, then prompts, then formats. c is the exact learner of the last task: right wherever
    prompts change after tasks in a way that keeps the evidence (order, format) or is drawn from the changed task.
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
