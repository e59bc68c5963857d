"""Distilled subjects: transformers that were taught the answers of a reference. They are known as far as they came.

A student is ground truth for its *function* alone, and only where it is close to its teacher. δ was fixed before any
student was looked at: in every regime r of the judge,

    D(student, teacher)(r) ≤ δ(r) = max(2% · D_0(r), 3 · .002 nats),

D_0 the distance of the teacher to the zero predictor. These are the judge's own numbers: what it lets a nearest
reference leave unexplained, and what it takes for no difference. Others are reported with their distance and are not
counted. Source of distillation: Hinton et al. 2015.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.hypotheses.bank import CALIBRATION, Bank
from icl_lab.hypotheses.judge import THRESHOLDS, owner_of, zero_predictor
from icl_lab.prompts import Predictions

# Who teaches, by hypothesis: the first of a row that applies to the task.
TEACHERS: Mapping[str, tuple[str, ...]] = {
    "H1": ("pool_bayes", "population_bayes"),
    "H2": ("nadaraya_watson",),
    "H3": ("meta_sgd_2",),
    "H4": ("pool_map", "population_map"),
    "H5": ("gd_1",),
}


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A reference at the parameters with which it does best on the task.

    Attributes:
        reference: its name.
        parameters: of it; between grid points, as a fit is.
    """

    reference: str
    parameters: Mapping[str, float]

    @property
    def hypothesis(self) -> str:
        """The hypothesis it speaks for."""
        return owner_of(self.reference)


def teachers(bank: Bank) -> list[Teacher]:
    """One teacher of every hypothesis that has one on the bank's task, fitted to the outcomes of the training prior."""
    outcomes = jax.tree.map(np.asarray, bank.task.outcomes.certain(jnp.asarray(bank.prompts.y)))
    half = slice(0, bank.slices[CALIBRATION].stop // 2)
    chosen = [next((name for name in names if name in bank.references), None) for names in TEACHERS.values()]
    return [Teacher(name, bank.fit(name, outcomes, half).parameters) for name in chosen if name is not None]


def apart(bank: Bank, student: Predictions, teacher: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Mean distance of a student from its teacher, and δ, in nats: two arrays [regime]."""
    distance, zero = bank.distances(student, teacher), bank.distances(teacher, zero_predictor(teacher))
    rows = [bank.slices[regime] for regime in bank.regimes]
    limit = [max(THRESHOLDS.remainder * zero[r].mean(), THRESHOLDS.near * THRESHOLDS.floor) for r in rows]
    return np.array([distance[r].mean() for r in rows]), np.array(limit)
