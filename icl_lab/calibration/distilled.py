"""Distilled subjects: transformers trained on the answers of a reference.

A student is ground truth for its *function* alone, and only if it is close to its teacher. δ was fixed before any
student was seen: in every regime r of the judge,

    D(student, teacher)(r) ≤ δ(r) = max(2% · D_0(r), 3 · .002 nats),

with D_0 the distance of the teacher to the zero predictor. These are the judge's thresholds for the unexplained share
and for the same function. Other students are reported with their distance and not counted. Source of distillation:
Hinton et al. 2015.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.calibration.planted import answers_at
from icl_lab.calibration.subjects import KnownSubject
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.formats import Format, Interleaved, Paired, Stream
from icl_lab.judging.bank import CALIBRATION, Bank
from icl_lab.judging.comparison import zero_predictor
from icl_lab.judging.judge import owner_of
from icl_lab.learners import TransformerLearner
from icl_lab.learners.answers import answers_of
from icl_lab.models import Model, Params, TransformerConfig
from icl_lab.models.constructions import one_layer_config
from icl_lab.tasks import Task

LINEAR: Any = {"width": 16, "embedding": True, "initialisation": "lecun"}

# Teachers by hypothesis: the first one in a row that applies to the task.
TEACHERS: Mapping[str, tuple[str, ...]] = {
    "H1": ("pool_bayes", "population_bayes"),
    "H2": ("nadaraya_watson",),
    "H3": ("meta_sgd_2",),
    "H4": ("pool_map", "population_map"),
    "H5": ("gd_1",),
}


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A reference at the parameters with the least loss on the task.

    Attributes:
        reference: its name.
        parameters: fitted, between grid points.
    """

    reference: str
    parameters: Mapping[str, float]

    @property
    def hypothesis(self) -> str:
        """Key of its hypothesis."""
        return owner_of(self.reference)


def teachers(bank: Bank) -> list[Teacher]:
    """Return one teacher for every hypothesis that has one on the task, fitted to outcomes of the training prior."""
    outcomes = jax.tree.map(np.asarray, bank.task.outcomes.certain(jnp.asarray(bank.prompts.y)))
    half = slice(0, bank.slices[CALIBRATION].stop // 2)
    chosen = [next((name for name in names if name in bank.references), None) for names in TEACHERS.values()]
    return [Teacher(name, bank.fit(name, outcomes, half).parameters) for name in chosen if name is not None]


def student_network(task: Task, teacher: Teacher) -> tuple[Model, Format]:
    """Return the network of a teacher's students: two layers of a kind that can represent the function.

    Gradient steps on real outcomes are polynomials in the prompt, which softmax transformers learn slowly (10 δ away
    after 3,000 steps). Their students are bare linear attention on paired tokens, which answers the last position. All
    others are usual transformers, which answer every position.
    """
    outcomes = task.outcomes
    if outcomes.linear and teacher.hypothesis in ("H3", "H5"):
        return Model(one_layer_config(task.inputs_size, task.examples, layers=2, **LINEAR)), Paired()
    format = Stream() if task.is_stream else Interleaved()
    channels, tokens = format.channels(task.inputs_size, outcomes.size), format.tokens(task.positions)
    return Model(TransformerConfig(channels, tokens, layers=2, heads=2, width=32, outputs=outcomes.size)), format


def answered(bank: Bank, format: Format) -> Bank:
    """Return the bank scored at the positions that a format answers."""
    positions = bank.task.positions
    scored = np.zeros(positions, bool)
    scored[format.answers(positions)] = True
    return bank.score(scored)


def student_answers(learner: TransformerLearner, prompts: Prompts) -> Predictions:
    """Return a network's answers at full precision, as numpy arrays."""
    return jax.tree.map(np.asarray, answers_of(learner, prompts))


def known_student(bank: Bank, teacher: Teacher, params: Params, name: str) -> KnownSubject:
    """Return a student as a subject whose function is its teacher's, on the bank of the positions it answers."""
    model, format = student_network(bank.task, teacher)
    learner = TransformerLearner(jax.tree.map(jnp.asarray, params), model, format, bank.task.outcomes)
    return KnownSubject(
        kind="distilled",
        name=name,
        group=f"{teacher.hypothesis} student",
        answers=functools.partial(student_answers, learner, bank.prompts),
        noises=("none",),
        reference=teacher.reference,
        function=functools.partial(answers_at, bank, teacher.reference, dict(teacher.parameters)),
    )


def apart(bank: Bank, student: Predictions, teacher: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean distance of a student from its teacher, and δ, in nats: two arrays [regime]."""
    distance, zero = bank.distances(student, teacher), bank.distances(teacher, zero_predictor(teacher))
    rows = [bank.slices[regime] for regime in bank.regimes]
    limit = [max(THRESHOLDS.remainder * zero[r].mean(), THRESHOLDS.near * THRESHOLDS.floor) for r in rows]
    return np.array([distance[r].mean() for r in rows]), np.array(limit)
