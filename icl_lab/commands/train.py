"""The host's part of training: chunk by chunk, with checkpoints, snapshots and a bar, resumable at any moment.

Chunks end at steps fixed by the configuration (multiples of training.chunk, and the snapshots), so a run that was
killed goes through the same chunks as one left alone. When a checkpoint is written depends on time and changes nothing.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.commands.progress import watch
from icl_lab.config.subject import PlannedMember, Subject
from icl_lab.core.errors import InputError, RunError
from icl_lab.formats import Format
from icl_lab.learners.recurrent import network_learner
from icl_lab.models import Params
from icl_lab.store.checkpoints import Checkpoints
from icl_lab.store.directory import RunDirectory
from icl_lab.store.snapshots import Snapshots, named_leaves, snapshot_steps
from icl_lab.training import TrainingSettings, TrainState, init_state, shardings, stack, train_chunk
from icl_lab.training.loop import place

# Seconds between checkpoints: at most this much work is lost. Set by the environment for tests and slow disks.
CHECKPOINT_SECONDS = "ICL_LAB_CHECKPOINT_SECONDS"
DEFAULT_CHECKPOINT_SECONDS = 20.0
History = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainedSubject:
    """What training leaves for analysis.

    Attributes:
        name, subject: from the configuration.
        members: what each index of the member axis is.
        model, format: to make a learner of parameters; the model is a `Network`.
        params: after the last step, every array with a leading member axis.
        history: "loss" [member, step], before each update: squared error, or nats where outcomes are classes.
        snapshots: parameters at `steps`, the first of which are those training began with (step 0), the last `params`.
        steps: steps of the snapshots.
    """

    name: str
    subject: Subject
    members: list[PlannedMember]
    model: Any
    format: Format
    params: Params
    history: History
    snapshots: Snapshots
    steps: list[int]

    def learner(self, member: int, params: Params | None = None) -> Any:
        """One member as a learner, after its last step or with the stacked parameters of a snapshot.

        Of a transformer a `TransformerLearner`, of other networks a `RecurrentLearner`.
        """
        own = jax.tree.map(lambda leaf: jnp.asarray(leaf[member]), self.params if params is None else params)
        return network_learner(self.model, own, self.format, self.members[member].member.task.outcomes)

    def training_log(self, points: int = 300) -> tuple[np.ndarray, np.ndarray]:
        """Training loss, thinned: at most `points` steps spaced evenly in the logarithm, and [member, point] the mean
        loss of the steps after the point before, up to and with that one (counted from 1).
        """
        loss = self.history["loss"]
        ends = np.unique(np.geomspace(1, loss.shape[1], min(points, loss.shape[1])).round().astype(int))
        total = np.concatenate([np.zeros((len(loss), 1)), np.cumsum(loss, axis=1, dtype=np.float64)], axis=1)
        starts = np.concatenate([[0], ends[:-1]])
        return ends, ((total[:, ends] - total[:, starts]) / (ends - starts)).astype(np.float32)


def train_subjects(
    subjects: Mapping[str, Subject], directory: RunDirectory, seed: int = 0, snapshots: int = 12
) -> dict[str, TrainedSubject]:
    """Train all subjects of a run, see `train_subject`; who starts from another, after it."""
    trained: dict[str, TrainedSubject] = {}

    def train(name: str) -> TrainedSubject:
        if name not in trained:
            subject = subjects[name]
            begin = None if subject.start_from is None else train(subject.start_from).params
            trained[name] = train_subject(name, subject, directory.subject(name), seed, snapshots, begin=begin)
        return trained[name]

    return {name: train(name) for name in subjects}


def untrained_params(trained: Mapping[str, TrainedSubject], name: str) -> Params:
    """The fresh parameters that a subject, or the one it started from, began with."""
    while (earlier := trained[name].subject.start_from) is not None:
        name = earlier
    return trained[name].snapshots.load(0)


def train_subject(
    name: str,
    subject: Subject,
    directory: Path,
    seed: int = 0,
    snapshots: int = 12,
    checkpoint_seconds: float | None = None,
    watcher: Callable[..., Any] = watch,
    begin: Params | None = None,
) -> TrainedSubject:
    """Train a subject, or go on from its newest readable checkpoint, or load it if it is finished.

    Args:
        name: shown beside the bar.
        subject: what to train.
        directory: of this subject's checkpoints/ and snapshots/; the caller holds the run's lock.
        seed: of the run.
        snapshots: number of log-spaced snapshots.
        checkpoint_seconds: least time between checkpoints; 0: at the end of every chunk.
        watcher: makes the progress display.
        begin: stacked parameters to start with; None: fresh ones.

    Raises:
        RunError: the loss or a parameter is no longer finite.
    """
    model, format, settings = subject.build_model(), subject.build_format(), subject.build_training()
    members = subject.members(seed)
    stacked = stack([planned.member for planned in members])
    kept, steps = Snapshots(directory / "snapshots"), snapshot_steps(settings.steps, snapshots)
    checkpoints = Checkpoints(directory / "checkpoints")
    least = _checkpoint_seconds() if checkpoint_seconds is None else checkpoint_seconds
    told: list[str] = []

    def first() -> TrainState:
        fresh = init_state(model, settings, stacked)
        if begin is None:
            return fresh
        return place(dataclasses.replace(fresh, params=jax.tree.map(jnp.asarray, begin)))

    state, chunks = _resume(first, checkpoints, kept, steps, told.append)
    done, saved = int(state.step), time.monotonic()
    with watcher(name, settings.steps, done) as display:
        for line in told:
            display.say(f"{name}: {line}")
        for end in boundaries(settings, steps):
            if end <= done:
                continue
            state, metrics = train_chunk(model, format, settings, stacked, state, end - done)
            chunks.append(jax.device_get(metrics))
            due = end == settings.steps or time.monotonic() - saved >= least
            trouble = _not_finite(chunks[-1]["loss"], done, state.params if due or end in steps else {})
            if trouble:
                raise RunError(f"{name}: {_diverged(*trouble, members, checkpoints)}")
            if end in steps:
                kept.save(end, state.params)
            if due:  # after the snapshot, so that a checkpoint never skips one
                checkpoints.save(end, named_leaves(state), _join(chunks))
                saved = time.monotonic()
            done = end
            display.update(done, float(chunks[-1]["loss"].mean()))
    params = jax.device_get(state.params)  # whole, wherever the members were trained
    return TrainedSubject(name, subject, members, model, format, params, _join(chunks), kept, steps)


def boundaries(settings: TrainingSettings, snapshots: list[int]) -> list[int]:
    """Steps after which a chunk ends: multiples of settings.chunk, snapshots, the last step."""
    return sorted({*range(settings.chunk, settings.steps, settings.chunk), *snapshots, settings.steps} - {0})


def _resume(
    begin: Callable[[], TrainState],
    checkpoints: Checkpoints,
    kept: Snapshots,
    steps: list[int],
    say: Callable[[str], None],
) -> tuple[TrainState, list[History]]:
    """State and history of the newest readable checkpoint whose snapshots are all there, or of step 0."""
    shapes = jax.eval_shape(begin)
    target = jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings(shapes),
    )
    names = named_leaves(target)
    while (restored := checkpoints.restore(names, say)) is not None:
        state = jax.tree.unflatten(jax.tree.structure(target), [restored.state[name] for name in names])
        lost = [step for step in steps if step <= restored.step and not kept.readable(step)]
        if lost == [restored.step]:  # the checkpoint holds what the snapshot held
            kept.save(restored.step, state.params)
        elif lost:
            checkpoints.clear(after=lost[0])
            before = checkpoints.steps()
            then = f"going on from step {before[-1]}" if before else "training again from the beginning"
            say(f"the snapshot of step {lost[0]} is missing or damaged; {then}")
            continue
        return state, [restored.history]
    state = begin()
    kept.save(0, state.params)
    return state, []


def _join(chunks: list[History]) -> History:
    """One history of many, and the list shortened to it."""
    joined = {name: np.concatenate([chunk[name] for chunk in chunks], axis=1) for name in chunks[-1]}
    chunks[:] = [joined]
    return joined


def _not_finite(loss: np.ndarray, first: int, params: Params) -> tuple[int, int, str] | None:
    """(step, member, what) of the first value that is not finite. A step's loss is that before its update."""
    bad = ~np.isfinite(loss)
    if bad.any():
        index = int(np.flatnonzero(bad.any(axis=0))[0])
        return first + index, int(np.flatnonzero(bad[:, index])[0]), "the loss"
    for name, value in named_leaves(params).items():
        bad = ~np.isfinite(np.asarray(value)).reshape(len(value), -1).all(axis=1)
        if bad.any():
            return first + loss.shape[1], int(np.flatnonzero(bad)[0]), f"parameter {name}"
    return None


def _diverged(step: int, member: int, what: str, members: list[PlannedMember], checkpoints: Checkpoints) -> str:
    planned, before = members[member], checkpoints.steps()
    good = f"step {before[-1]} ({checkpoints.path(before[-1])})" if before else "none yet"
    return (
        f"{what} is not finite at step {step}, member {member} ({planned.label}); last good checkpoint: {good}; "
        f"lower learning_rate {planned.learning_rate:g} or set training.clip"
    )


def _checkpoint_seconds() -> float:
    given = os.environ.get(CHECKPOINT_SECONDS, "")
    with contextlib.suppress(ValueError):
        seconds = float(given) if given else DEFAULT_CHECKPOINT_SECONDS
        if seconds >= 0:  # which "nan" is not
            return seconds
    raise InputError(f"{CHECKPOINT_SECONDS}: {given!r} should be a number of seconds")
