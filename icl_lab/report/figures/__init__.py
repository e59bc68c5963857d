"""One file per figure. Each has `draw(subject) -> Drawing | LeftOut`; this table says how they are headed and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from icl_lab.report.figures import attention, learning, loss, maps, near_set, predictions, sensitivity, stress, training
from icl_lab.report.figures.layout import Drawing, LeftOut
from icl_lab.report.subject import Subject


@dataclass(frozen=True)
class Entry:
    """A figure of every subject: its function, its heading on the page, and one line on how to read it."""

    draw: Callable[[Subject], Drawing | LeftOut]
    heading: str
    reading: str


SUBJECT_FIGURES: dict[str, Entry] = {
    "loss": Entry(loss.draw, "Loss against position", loss.READING),
    "near_set": Entry(near_set.draw, "Which references are near", near_set.READING),
    "predictions": Entry(predictions.draw, "Probes: seen against predicted", predictions.READING),
    "stress": Entry(stress.draw, "Stress profile: what changed prompts do", stress.READING),
    "training": Entry(training.draw, "Distance to the references during training", training.READING),
    "sensitivity": Entry(sensitivity.draw, "Sensitivity alignment", sensitivity.READING),
    "attention": Entry(attention.draw, "Attention maps", attention.READING),
    "maps": Entry(maps.draw, "Inside: what carries the answer, and what heads and MLPs do", maps.READING),
    "learning": Entry(learning.draw, "Training loss", learning.READING),
}
