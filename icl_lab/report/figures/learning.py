"""Training loss of every member: who has learned, and who is still on a plateau."""

from __future__ import annotations

import numpy as np

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, panel, scale_for
from icl_lab.report.numbers.reductions import last, mean
from icl_lab.report.subject import Subject, evenly
from icl_lab.report.text.vocabulary import SUBJECT, number

READING = (
    "Mean loss on the prompts trained on, every member thin, their mean thick. A member on a plateau has "
    "not learned the task."
)
COLUMNS_SHOWN = 4


def draw(subject: Subject) -> Drawing | LeftOut:
    """One panel per condition."""
    loss = subject.values("train_loss", "member", "log_step")
    if loss is None:
        return LeftOut("no training loss is stored")
    steps = subject.coordinate("log_step")
    steps = np.arange(loss.shape[1]) if steps is None else steps.astype(float)
    conditions = [c for c in subject.trained or subject.conditions if np.isfinite(loss[list(c.members)]).any()]
    if not conditions:
        return LeftOut("no training loss of trained members is stored")
    conditions = evenly(conditions, COLUMNS_SHOWN)
    every = [member for condition in conditions for member in condition.members]
    ends = [last(loss[member]) for member in every]
    takeaway = (
        f"{subject.title}: training loss ends between {number(min(ends))} and {number(max(ends))}, {len(ends)} members."
        if len(ends) > 1
        else f"{subject.title}: training loss ends at {number(ends[0])}."
    )
    unit = subject.text("unit_of_loss") or "squared error"
    left, gap = 0.75, 0.35
    width = min(4.5, (WIDTH - left - 0.3 - gap * (len(conditions) - 1)) / len(conditions))
    figure, top = canvas(takeaway, 2.55)
    for column, condition in enumerate(conditions):
        axes = panel(figure, left + column * (width + gap), top + 0.25, width, 1.7)
        own = loss[list(condition.members)]
        axes.plot(steps, own.T, color=SUBJECT, linewidth=0.6, alpha=0.5)
        axes.plot(steps, mean(own), color=SUBJECT, linewidth=2.0)
        scale_for(axes, loss[every])
        axes.set_xlim(float(steps.min()), float(max(steps.max(), steps.min() + 1)))
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(condition.label or f"{len(own)} members")
        axes.set_xlabel("training step")
        axes.set_ylabel(f"training loss: {unit}" if column == 0 else "")
        if column:
            axes.tick_params(axis="y", labelleft=False)
    return Drawing(figure, takeaway)
