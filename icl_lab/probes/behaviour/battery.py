"""The battery: behavioural probes that run on any learner, each for the tasks it applies to.

They measure the answer at the last position, unless their docstring says otherwise, and sample their own prompts from
the task's prior; pass `task.unseen()` for prompts off its pool. Learners measured with one key see the same prompts, so
differences between learners are paired over prompts. Probes return numbers, never a verdict; each documents the values
that known mechanisms give. See `probe` for how one is run.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from icl_lab.learners.answers import Learner
from icl_lab.learners.reference import has_classes, has_pool, has_real_outcomes
from icl_lab.probes.behaviour.copying import label_copying, pool_snapping, vary_pool_snapping
from icl_lab.probes.behaviour.duplication import COPIES, duplication, vary_duplication
from icl_lab.probes.behaviour.implied import implied_weights, vary_implied_weights
from icl_lab.probes.behaviour.influence import influence_statistics, interaction, vary_interaction
from icl_lab.probes.behaviour.interpolation import can_interpolate, task_interpolation, vary_task_interpolation
from icl_lab.probes.behaviour.linearity import label_linearity, label_noise, vary_label_linearity, vary_label_noise
from icl_lab.probes.behaviour.martingale import martingale, vary_martingale
from icl_lab.probes.behaviour.order import (
    inputs_say_nothing,
    joint_probability,
    order_variance,
    vary_joint_probability,
    vary_order_variance,
)
from icl_lab.probes.behaviour.probe import PROMPTS, Probe, ask, read
from icl_lab.probes.behaviour.rollout import implied_prior, vary_implied_prior
from icl_lab.probes.behaviour.shifts import input_shifts, vary_input_shifts
from icl_lab.probes.behaviour.spectrum import (
    orthogonal_query,
    spectral_filter,
    vary_orthogonal_query,
    vary_spectral_filter,
)
from icl_lab.probes.behaviour.variants import as_given
from icl_lab.tasks import Task

__all__ = ["BATTERY", "Probe", "ask", "ask_all", "has_pairs", "is_regression", "read", "read_all"]


def ask_all(task: Task, keys: Mapping[str, Array], prompts: int = PROMPTS) -> dict[str, Any]:
    """Return the prompts of every probe that has a key and applies to the task."""
    return {name: ask(BATTERY[name], task, key, prompts) for name, key in keys.items() if BATTERY[name].applies(task)}


def read_all(
    learner: Learner, task: Task, asked: Mapping[str, Any], batch: int = PROMPTS
) -> dict[str, Float[np.ndarray, "prompt statistic"]]:
    """Return the learner's statistics for every probe whose prompts are given."""
    return {name: read(BATTERY[name], learner, task, given, batch) for name, given in asked.items()}


def has_pairs(task: Task) -> bool:
    """Return whether a prompt is a set of pairs: inputs do not follow from outcomes."""
    return not task.is_stream


def is_regression(task: Task) -> bool:
    """Return whether the task is a regression of real outcomes on inputs of two features or more."""
    itself = type(task).features is Task.features
    return has_real_outcomes(task) and has_pairs(task) and itself and task.inputs_size > 1


BATTERY: dict[str, Probe] = {
    "influence": Probe(
        "influence",
        "influence of the labels",
        "how the answer's weight is spread over the examples",
        ("negative share", "sum", "concentration", "recency"),
        as_given,
        influence_statistics,
        lambda task: True,
    ),
    "interaction": Probe(
        "interaction",
        "interaction of examples",
        "whether influences keep their ratios when a third example moves",
        ("turn", "rescaling"),
        vary_interaction,
        interaction,
        lambda task: has_pairs(task) and task.examples >= 3,
    ),
    "label_linearity": Probe(
        "label_linearity",
        "linearity in the labels",
        "whether answers to summed labels are sums of answers, and what is answered to none",
        ("nonlinearity", "offset"),
        vary_label_linearity,
        label_linearity,
        lambda task: has_real_outcomes(task) and has_pairs(task),
    ),
    "label_noise": Probe(
        "label_noise",
        "noisier labels",
        "whether answers shrink when labels are noisier",
        ("growth", "departure"),
        vary_label_noise,
        label_noise,
        lambda task: True,
    ),
    "duplication": Probe(
        "duplication",
        "duplicated example",
        "whether an example's weight adds up, saturates or stays when it comes again",
        (*(f"influence of {m}" for m in COPIES), *(f"growth to {m}" for m in COPIES[1:])),
        vary_duplication,
        duplication,
        lambda task: has_pairs(task) and task.examples > max(COPIES),
    ),
    "spectral_filter": Probe(
        "spectral_filter",
        "spectral filter",
        "the gain along eigenvectors of XᵀX, of small to large eigenvalues",
        ("gain 1", "gain 2", "gain 3", "gain 4", "gain 5"),
        vary_spectral_filter,
        spectral_filter,
        is_regression,
    ),
    "orthogonal_query": Probe(
        "orthogonal_query",
        "orthogonal query",
        "what is answered to a query about which the examples say nothing",
        ("size",),
        vary_orthogonal_query,
        orthogonal_query,
        is_regression,
    ),
    "input_shifts": Probe(
        "input_shifts",
        "inputs rescaled and stretched",
        "whether the answer depends on the units of the inputs",
        ("scale: growth", "scale: departure", "stretch: growth", "stretch: departure"),
        vary_input_shifts,
        input_shifts,
        lambda task: has_real_outcomes(task) and has_pairs(task),
    ),
    "implied_weights": Probe(
        "implied_weights",
        "implied weights",
        "whether answers to many queries are one linear function, and which",
        ("unexplained", "norm", "cosine"),
        vary_implied_weights,
        implied_weights,
        is_regression,
    ),
    "task_interpolation": Probe(
        "task_interpolation",
        "between two pool tasks",
        "whether answers interpolate between two pool tasks or snap to one",
        ("place at ¼", "place at ½", "place at ¾", "snapping"),
        vary_task_interpolation,
        task_interpolation,
        can_interpolate,
    ),
    "label_copying": Probe(
        "label_copying",
        "copies of labels",
        "whether the answer is one of the prompt's labels",
        ("distance", "copies"),
        as_given,
        label_copying,
        lambda task: True,
    ),
    "pool_snapping": Probe(
        "pool_snapping",
        "copies of pool tasks",
        "whether answers off the pool are those of one stored task",
        ("distance", "distance of the truth"),
        vary_pool_snapping,
        pool_snapping,
        has_pool,
    ),
    "order_variance": Probe(
        "order_variance",
        "order of examples",
        "how far the answer varies with the order of the same evidence",
        ("nats",),
        vary_order_variance,
        order_variance,
        lambda task: task.can_reorder,
    ),
    "joint_probability": Probe(
        "joint_probability",
        "exchangeable joint probability",
        "whether the same outcomes in another order are as probable to the learner",
        ("nats",),
        vary_joint_probability,
        joint_probability,
        lambda task: has_classes(task) and task.can_reorder and inputs_say_nothing(task),
    ),
    "martingale": Probe(
        "martingale",
        "martingale",
        "whether beliefs stay what they are, on average over the learner's own next outcome",
        ("drift", "sharpening"),
        vary_martingale,
        martingale,
        lambda task: has_classes(task) and has_pairs(task) and inputs_say_nothing(task) and task.examples > 1,
    ),
    "implied_prior": Probe(
        "implied_prior",
        "implied prior",
        "how far answers spread when the learner goes on by itself, relative to the task's latents",
        ("spread",),
        vary_implied_prior,
        implied_prior,
        lambda task: has_classes(task) and inputs_say_nothing(task),
    ),
}
