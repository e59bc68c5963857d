"""Planted learners: subjects whose function is known, judged like any other. The positive and negative controls."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from icl_lab.hypotheses import HYPOTHESES, REFERENCES
from icl_lab.hypotheses.bank import Bank
from icl_lab.hypotheses.judge import owner_of
from icl_lab.learners.decoys import label_median
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.prompts import Predictions, Prompts
from icl_lab.pytrees import pytree_dataclass
from icl_lab.runs.analysis import Judged
from icl_lab.tasks import Task

UNLISTED = "label_median"


@pytree_dataclass
class UnlistedDecoy:
    """A learner the judge's references do not contain: the median of the labels."""

    task: Task

    def __call__(self, prompts: Prompts) -> Predictions:
        return label_median(self.task, prompts)


def planted_learners(bank: Bank, seed: int = 0) -> list[Judged]:
    """Every reference of the bank at parameters between two points of its grid, and a decoy the judge does not know."""
    rng = np.random.default_rng(seed)
    keys = {hypothesis.key for hypothesis in HYPOTHESES}
    planted = []
    for name in bank.references:
        owner = owner_of(name)
        learner = ReferenceLearner(bank.task, {**bank.prepared[name], **_between(bank, name, rng)}, REFERENCES[name][1])
        coordinates = {"expected": owner if owner in keys else ""}
        planted.append(Judged(REFERENCES[name][1].title, "planted", learner, bank, coordinates))
    planted.append(Judged("median label", "planted", UnlistedDecoy(bank.task), bank, {"expected": ""}))
    return planted


def _between(bank: Bank, name: str, rng: np.random.Generator) -> Mapping[str, Any]:
    """Geometric midpoints of random neighbouring grid points; the ends of a grid of five or more are left out."""
    chosen = {}
    for parameter, values in bank.grids[name].items():
        margin = 1 if len(values) >= 5 else 0
        low = int(rng.integers(margin, len(values) - 1 - margin))
        chosen[parameter] = jnp.float32(np.sqrt(values[low] * values[low + 1]))
    return chosen


def recognised(expected: str, verdict: Mapping[str, Any]) -> bool:
    """Whether a verdict names the planted hypothesis, or supports none where the learner belongs to none."""
    if not expected:
        return not verdict["supported"]
    return expected in (*verdict["supported"], *verdict["coincides"])
