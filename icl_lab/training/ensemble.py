"""Members of an ensemble: an axis of the data, mapped within a device and sharded over devices.

Whatever changes no shape (seed, learning rate, weight decay, pool size, noise, shuffled labels, parameters of a
teacher) is data of a member; what changes shapes is another program.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.tasks import Task
from icl_lab.training.regimes import TRAINING, Regime
from icl_lab.training.settings import TrainingSettings

AXIS = "member"


@pytree_dataclass
class Member:
    """What may differ between members of one program (a pytree).

    Attributes:
        seed: of initialisation, prompts and shuffling.
        task: what is trained on; its data fields may differ, its structure may not.
        learning_rate, weight_decay: of this member.
        shuffle_labels: train on outcomes permuted across the batch, a null: x tells nothing about y. No null with a
            teacher, which answers the permuted prompts.
        teacher: a learner, a pytree, whose answers are trained on in place of the outcomes; None: the outcomes.
        regimes: where prompts are drawn from, in equal parts of a batch; structure, not data.
    """

    seed: Any
    task: Task
    learning_rate: Any = 1e-3
    weight_decay: Any = 0.0
    shuffle_labels: Any = False
    teacher: Callable[[Prompts], Predictions] | None = None
    regimes: tuple[Regime, ...] = static(default=TRAINING)


def stack(members: Sequence[Member]) -> Member:
    """One `Member` whose leaves lead with a member axis.

    Raises:
        ValueError: no members, or tasks, teachers or regimes of different structure (they need a program each).
    """
    if not members:
        raise ValueError("members: an ensemble needs at least one member")
    structures = {jax.tree.structure(member) for member in members}
    if len(structures) > 1:
        raise ValueError(
            "members: tasks differ in structure (dimension, examples, kind of prior), "
            "or teachers in their reference, or regimes; train them apart"
        )
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *members)


def count(members: Member) -> int:
    """Number of stacked members."""
    return jnp.shape(members.seed)[0]


@functools.cache
def mesh(members: int) -> Mesh:
    """The devices members are spread over: as many as divide their number."""
    devices = jax.devices()
    used = max(n for n in range(1, len(devices) + 1) if members % n == 0)
    return jax.make_mesh((used,), (AXIS,), devices=devices[:used], axis_types=(AxisType.Auto,))


def by_member(mesh: Mesh) -> NamedSharding:
    """Sharding of a leaf with a leading member axis; a checkpoint is restored onto it.

    On one device it names no axis, as compiled programs do there: another name for the same place would compile again.
    """
    return NamedSharding(mesh, PartitionSpec(AXIS) if mesh.size > 1 else PartitionSpec())


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of the step count."""
    return NamedSharding(mesh, PartitionSpec())


def over_members(settings: TrainingSettings, function: Callable) -> Callable:
    """The function over a leading member axis of every argument and result: the one switch between map and vmap.

    Small batched matrix products are slow on CPUs (vmap loses 6–15%), launches are slow on accelerators.
    """
    one_by_one = jax.default_backend() == "cpu" if settings.member_axis == "auto" else settings.member_axis == "map"
    if one_by_one:
        return lambda *arguments: jax.lax.map(lambda each: function(*each), arguments)
    return jax.vmap(function)
