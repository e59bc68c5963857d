"""Planted learners: subjects whose function is known, judged like any other. The positive and negative controls."""

from collections.abc import Mapping
from typing import Any

from icl_lab.analysis.scores import Judged
from icl_lab.calibration.planted import between_grid_points, learner_at
from icl_lab.calibration.truth import KEYS
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank
from icl_lab.learners.decoys import label_median
from icl_lab.tasks import Task


@pytree_dataclass
class UnlistedDecoy:
    """A learner the judge's references do not contain: the median of the labels."""

    task: Task

    def __call__(self, prompts: Prompts) -> Predictions:
        return label_median(self.task, prompts)


def planted_learners(bank: Bank, seed: int = 0) -> list[Judged]:
    """Every reference of the bank at parameters between two points of its grid, and a decoy the judge does not know.

    Decoys that are variations of a reference are left out: which of the two they are depends on the parameter.
    """
    planted = []
    for name in bank.references:
        owner, reference = REFERENCES[name]
        if reference.yields_to:
            continue
        learner = learner_at(bank, name, between_grid_points(bank, name, seed, margin=0.1))
        coordinates = {"expected": owner if owner in KEYS else ""}
        planted.append(Judged(reference.title, "planted", learner, bank, coordinates))
    planted.append(Judged("median label", "planted", UnlistedDecoy(bank.task), bank, {"expected": ""}))
    return planted


def recognised(expected: str, verdict: Mapping[str, Any]) -> bool:
    """Whether a verdict names the planted hypothesis, or supports none where the learner belongs to none."""
    if not expected:
        return not verdict["supported"]
    return expected in (*verdict["supported"], *verdict["coincides"])
