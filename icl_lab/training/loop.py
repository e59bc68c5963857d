"""The training loop: one compiled program per chunk of steps, prompts sampled on the device inside it.

Step t of a member draws its prompts with fold_in(fold_in(key(seed), DATA), t): resuming needs the step count alone.
Math only: no disk, no printing. A non-finite loss shows in the metrics; the caller stops.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.formats import Format
from icl_lab.models import Params
from icl_lab.models.network import Network
from icl_lab.training import ensemble
from icl_lab.training.augmentation import drawn
from icl_lab.training.batches import draw_batch
from icl_lab.training.ensemble import Member
from icl_lab.training.objective import loss_and_gradient, taught
from icl_lab.training.optimiser import descend, direction
from icl_lab.training.settings import TrainingSettings

INITIAL, DATA, SHUFFLE, FORMAT, ADDED = 0, 1, 2, 3, 4


@pytree_dataclass
class TrainState:
    """All that a checkpoint must hold. Every leaf leads with the member axis, but `step`, the number of steps done.

    The leaves are arrays, or what stands for them: shapes, shardings.
    """

    params: Params
    optimiser: optax.OptState
    step: Any


Metrics = dict[str, Float[Array, "member ..."]]


def init_state(model: Network, settings: TrainingSettings, members: Member) -> TrainState:
    """Fresh parameters from each member's seed, spread over the devices."""
    state = _init(model, _program(settings), members.seed)
    return place(state)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _init(model: Network, settings: TrainingSettings, seeds: Int[Array, " member"]) -> TrainState:
    params = jax.vmap(lambda seed: model.init(_stream(seed, INITIAL)))(seeds)
    return TrainState(params, jax.vmap(direction(settings).init)(params), jnp.zeros((), jnp.int32))


def shardings(state: TrainState) -> TrainState:
    """The sharding of every leaf; what a checkpoint is restored onto (leaves may be shapes)."""
    mesh = ensemble.mesh(jax.tree.leaves(state.params)[0].shape[0])
    leaves = jax.tree.map(lambda _: ensemble.by_member(mesh), state)
    return dataclasses.replace(leaves, step=ensemble.replicated(mesh))


def place(state: TrainState) -> TrainState:
    """The state on its devices; does nothing, and fast, where it is there already."""
    wanted = shardings(state)
    there = jax.tree.map(lambda leaf, sharding: getattr(leaf, "sharding", None) == sharding, state, wanted)
    return state if all(jax.tree.leaves(there)) else jax.device_put(state, wanted)


def train_chunk(
    model: Network, format: Format, settings: TrainingSettings, members: Member, state: TrainState, steps: int
) -> tuple[TrainState, Metrics]:
    """Train for `steps` further steps.

    One program serves every `steps` up to `settings.chunk`, any learning rate, and all data of the members. The state
    is donated: use the one returned.

    Returns:
        The new state, and metrics: "loss" [member, steps], that of `objective.loss_and_gradient` before each update.
    """
    capacity = -(-steps // settings.chunk) * settings.chunk
    mesh = ensemble.mesh(ensemble.count(members))
    arguments = (members, place(state), jnp.asarray(steps, jnp.int32))
    state, metrics = _chunk(model, format, _program(settings), capacity, mesh, *arguments)
    return state, {name: values[:, :steps] for name, values in metrics.items()}


def _program(settings: TrainingSettings) -> TrainingSettings:
    """Settings without what is data of the members, so that a sweep over it shares one program."""
    return dataclasses.replace(settings, learning_rate=1.0, weight_decay=0.0)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4), donate_argnums=6)
def _chunk(
    model: Network,
    format: Format,
    settings: TrainingSettings,
    capacity: int,
    mesh: Mesh,
    members: Member,
    state: TrainState,
    steps: Int[Array, ""],
) -> tuple[TrainState, Metrics]:
    """All members, `steps` ≤ `capacity` steps; every device loops over its own members."""

    def run(members: Member, params: Params, optimiser: optax.OptState, first: Array, steps: Array) -> tuple:
        def one(member: Member, params: Params, optimiser: optax.OptState) -> tuple:
            return _member_chunk(model, format, settings, capacity, member, (params, optimiser), first, steps)

        return ensemble.over_members(settings, one)(members, params, optimiser)

    split, whole = PartitionSpec(ensemble.AXIS), PartitionSpec()
    spread = jax.shard_map(
        run, mesh=mesh, in_specs=(split, split, split, whole, whole), out_specs=split, check_vma=False
    )
    (params, optimiser), metrics = spread(members, state.params, state.optimiser, state.step, steps)
    return TrainState(params, optimiser, state.step + steps), metrics


def _member_chunk(
    model: Network,
    format: Format,
    settings: TrainingSettings,
    capacity: int,
    member: Member,
    trained: tuple[Params, optax.OptState],
    first: Int[Array, ""],
    steps: Int[Array, ""],
) -> tuple[tuple[Params, optax.OptState], dict[str, Array]]:
    """`steps` steps of one member: a loop with as many turns as asked for, metrics in buffers of fixed size."""

    def turn(index: Array, carry: tuple) -> tuple:
        trained, metrics = carry
        trained, now = train_step(model, format, settings, member, trained, first + index)
        return trained, jax.tree.map(lambda values, value: values.at[index].set(value), metrics, now)

    return jax.lax.fori_loop(0, steps, turn, (trained, {"loss": jnp.zeros(capacity)}))


def train_step(
    model: Network,
    format: Format,
    settings: TrainingSettings,
    member: Member,
    trained: tuple[Params, optax.OptState],
    step: Int[Array, ""],
) -> tuple[tuple[Params, optax.OptState], dict[str, Array]]:
    """One step of one member: draw prompts, have the teacher answer them if there is one, gradient, update."""
    params, optimiser = trained
    data_key = jax.random.fold_in(_stream(member.seed, DATA), step)
    added_key = jax.random.fold_in(_stream(member.seed, ADDED), step)
    prompts = draw_batch(member.task, settings, data_key, added_key, step, member.regimes)
    order_key = jax.random.fold_in(_stream(member.seed, SHUFFLE), step)
    shuffled = jax.lax.cond(member.shuffle_labels, jax.random.permutation, lambda _, y: y, order_key, prompts.y)
    prompts = prompts.replace(y=shuffled)
    lesson = None if member.teacher is None else taught(member.teacher, prompts)
    choice = None
    if settings.formats:
        choice_key = jax.random.fold_in(_stream(member.seed, FORMAT), step)
        choice = drawn(settings.formats, choice_key, settings.batch)
    with jax.default_matmul_precision(settings.precision):
        loss, gradient = loss_and_gradient(
            model, format, member.task.outcomes, settings, params, prompts, lesson, choice
        )
    rates: tuple[Any, Any] = (member.learning_rate, member.weight_decay)
    return descend(settings, params, gradient, optimiser, step, *rates), {"loss": loss}


def _stream(seed: Any, stream: int) -> Array:
    """The key of one of a member's independent random streams."""
    return jax.random.fold_in(jax.random.key(seed), stream)
