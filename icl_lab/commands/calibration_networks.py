"""Networks that a calibration trains, students, retrained constructions and delta-rule networks: none twice.

networks/NAME/step-N.safetensors   the parameters of one network after its last step
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from icl_lab.calibration.distilled import answered, known_student, student_network, teachers
from icl_lab.calibration.inner_loops import FORMAT, INNER_LOOPS, InnerLoop, network
from icl_lab.calibration.planted import learner_at
from icl_lab.calibration.retrained import NOISE, STARTS, known_retrained, teacher_learner
from icl_lab.calibration.subjects import KnownSubject
from icl_lab.judging.bank import Bank, build_bank
from icl_lab.models import Model, Params
from icl_lab.store.snapshots import Snapshots
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk
from icl_lab.training.distil import distil_from_panel
from icl_lab.training.retrain import retrain

Say = Callable[[str], None]
Key = TypeVar("Key")
TOKENS = 2400  # about as many in a batch of softmax students, whatever the length of prompts
PROMPTS = 24  # a batch is a multiple of so many: three regimes, in pieces that fit the cache
SCHEDULE: Any = {"schedule": "cosine", "clip": 1.0, "chunk": 500}
RETRAINED = TrainingSettings(steps=4000, batch=192, learning_rate=1e-3, warmup=100, **SCHEDULE)  # a minute and a half
LOOP = TrainingSettings(steps=1500, batch=512, learning_rate=3e-2, warmup=50, **SCHEDULE)
Judgeable = list[tuple[Bank, KnownSubject]]


def student_training(model: Model, patience: int = 1) -> TrainingSettings:
    """How students of that kind are trained: an amount that a core does in about half a minute, times the patience."""
    if model.config.attention == "linear":
        return TrainingSettings(steps=1000 * patience, batch=256, learning_rate=5e-3, warmup=100, **SCHEDULE)
    batch = PROMPTS * max(1, round(TOKENS / (PROMPTS * model.config.tokens)))
    return TrainingSettings(steps=3000 * patience, batch=batch, learning_rate=3e-3, warmup=200, **SCHEDULE)


def students(bank: Bank, count: int, seed: int, folder: Path, say: Say, patience: int = 1) -> Judgeable:
    """`count` students of a teacher per hypothesis, trained or loaded, each with the bank that judges it.

    Students of one kind of network share one compiled program, whoever teaches them. They are trained as many at a time
    as there are devices, and then stored.

    Args:
        bank: of the task they are trained on.
        count: seeds per teacher; 0: none, and nothing is trained.
        seed: of the first of them.
        folder: where they are kept.
        say: told what is being trained.
        patience: of `student_training`.
    """
    taught = teachers(bank) if count else []
    learners = [learner_at(bank, teacher.reference, dict(teacher.parameters)) for teacher in taught]
    networks = [student_network(bank.task, teacher) for teacher in taught]
    found = []
    for model, format in dict.fromkeys(networks):
        own = [index for index, kind in enumerate(networks) if kind == (model, format)]
        settings = student_training(model, patience)
        plan = {
            f"{taught[index].reference} student {draw}": (place, seed + draw)
            for place, index in enumerate(own)
            for draw in range(count)
        }

        def train(group: Sequence[tuple[int, int]], own=own, model=model, format=format, settings=settings) -> Params:
            return distil_from_panel(bank.task, [learners[index] for index in own], group, model, format, settings)

        scored = answered(bank, format)
        for name, params in _trained(plan, train, settings.steps, folder, say).items():
            found.append((scored, known_student(scored, taught[own[plan[name][0]]], params, name)))
    return found


def retrained(bank: Bank, family: str, count: int, seed: int, prompts: int, folder: Path, say: Say) -> Judgeable:
    """`count` retrained constructions of every start of the family, trained or loaded, each with the bank of its task.

    Args:
        bank: of the family; its task's shapes are those of every start, so that no reference is compiled again.
        family: whose `STARTS`.
        prompts: per regime.
        count, seed, folder, say: as of `students`.
    """
    found = []
    for start in STARTS.get(family, ()) if count else ():
        own = build_bank(start.task(bank.task), seed, prompts, prompts)
        built = start.built(own.task)
        scored = answered(own, built.format)
        teacher = teacher_learner(own, start)

        def train(seeds: Sequence[int], built=built, teacher=teacher) -> Params:
            each = (retrain(built, teacher, RETRAINED, seed, NOISE) for seed in seeds)
            return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

        plan = {f"{start.construction} retrained {draw}": seed + draw for draw in range(count)}
        for name, params in _trained(plan, train, RETRAINED.steps, folder, say, together=1).items():
            found.append((scored, known_retrained(scored, start, params, name)))
    return found


def inner_loops(
    banks: dict[float, Bank], count: int, seed: int, folder: Path, say: Say
) -> dict[str, tuple[Bank, InnerLoop, Params]]:
    """Name → one of `count` delta-rule networks of every kind, trained or loaded, with the bank that judges it.

    Args:
        banks: mean of the regression weights → bank of that task, scored where paired prompts are answered.
        count, seed, folder, say: as of `students`.
    """
    found = {}
    for loop in INNER_LOOPS:
        bank = banks[loop.mean]
        model, task = network(loop, bank.task), bank.task

        def train(seeds: Sequence[int], model=model, task=task) -> Params:
            members = stack([Member(number, task, LOOP.learning_rate) for number in seeds])
            state = init_state(model, LOOP, members)
            for done in range(0, LOOP.steps, LOOP.chunk):
                state, _ = train_chunk(model, FORMAT, LOOP, members, state, min(LOOP.chunk, LOOP.steps - done))
            return state.params

        plan = {f"{loop.name} {draw}": seed + draw for draw in range(count)}
        trained = _trained(plan, train, LOOP.steps, folder, say)
        found |= {name: (bank, loop, params) for name, params in trained.items()}
    return found


def _trained(
    plan: dict[str, Key],
    train: Callable[[Sequence[Key]], Params],
    steps: int,
    folder: Path,
    say: Say,
    together: int | None = None,
) -> dict[str, Params]:
    """The parameters of everything planned; what is stored is loaded, the rest trained in groups of one size.

    `together`: that size; None: as many as there are devices.
    """
    kept = {name: Snapshots(folder / name.replace(" ", "-")) for name in plan}
    missing = [name for name in plan if not kept[name].readable(steps)]
    size = together or jax.device_count()
    for first in range(0, len(missing), size):
        group = missing[first : first + size]
        say(f"training {', '.join(group)}")
        # A last group that is too small is filled up: another size would be another program.
        filled = (group * size)[:size]
        params = jax.device_get(train([plan[name] for name in filled]))
        for index, name in enumerate(group):
            kept[name].save(steps, jax.tree.map(lambda leaf, index=index: leaf[index], params))
    return {name: kept[name].load(steps) for name in plan}
