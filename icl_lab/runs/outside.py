"""`icl-lab judge MODULE:CALLABLE`: the scoreboard of a learner that the user brings."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import yaml

from icl_lab.hypotheses.bank import build_bank
from icl_lab.learners.outside import Function, OutsideLearner, checked, peeks
from icl_lab.runs.analysis import Judged, analyse
from icl_lab.runs.claims import write_claims
from icl_lab.runs.config import JudgeConfig
from icl_lab.runs.directory import RunDirectory
from icl_lab.runs.environment import surroundings
from icl_lab.runs.errors import InputError
from icl_lab.runs.execute import describe_task, family_of, judge_rule
from icl_lab.runs.named import NamedSettings
from icl_lab.runs.results import write_results
from icl_lab.tasks import Described, Task

Say = Callable[[str], None]
TRIED = 4  # prompts that a callable is tried on before it is judged


class OutsideConfig(NamedSettings):
    """What is judged: decides the name of the run directory, with the source of the callable's file.

    Attributes:
        name: first part of the directory's name.
        learner: "MODULE:CALLABLE".
        source: digest of the file it comes from.
        answers: `fingerprint` of what it answers.
        task: the task's configuration.
        judge: how it is judged.
    """

    name: str = "judge"
    learner: str
    source: str
    answers: str
    task: dict[str, Any]
    judge: JudgeConfig = JudgeConfig()


def load_callable(spec: str) -> Function:
    """The callable "MODULE:NAME"; the current directory counts.

    Raises:
        InputError: no such module or name, or nothing that can be called.
    """
    module_name, separator, name = spec.partition(":")
    if not (separator and module_name and name):
        raise InputError(f"{spec}: should be MODULE:CALLABLE, such as my_model:answer")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module raises is said in one line
        raise InputError(f"{spec}: cannot import {module_name!r}: {type(error).__name__}: {error}") from None
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise InputError(f"{spec}: {name!r} is nothing that can be called; give a function answer(x, y)")
    return found


def adapted(spec: str, function: Function, task: Task, seed: int) -> tuple[OutsideLearner, np.ndarray]:
    """The callable as a learner, and its answers in a trial: of the right shape, and it does not look ahead.

    Raises:
        InputError: what is wrong, in one line.
    """
    prompts = jax.device_get(task.sample(jax.random.key(seed), TRIED))
    x, y = np.asarray(prompts.x), np.asarray(prompts.y)
    try:
        answers = np.asarray(function(x, y))
        last_only = answers.ndim == (1 if task.outcomes.linear else 2)
        checked(answers, y.shape[:1] if last_only else y.shape, task.outcomes)
        learner = OutsideLearner(function, task.outcomes, last_only)
        at = peeks(learner, prompts)
    except Exception as error:  # the user's code: its words, in one line, are the best that can be said
        reason = " ".join(str(error).split())
        raise InputError(f"{spec}: called with x {x.shape} and y {y.shape}: {type(error).__name__}: {reason}") from None
    if at is not None:
        raise InputError(
            f"{spec}: the answer at position {at} depends on what comes later; it may use only x_{at} and the {at} "
            "examples before it"
        )
    return learner, answers


def fingerprint(answers: np.ndarray) -> str:
    """Digest of the answers in a trial, to four digits: weights that a file holds show there."""
    return hashlib.sha256(np.round(answers.astype(float), 4).tobytes()).hexdigest()[:16]


def judge_outside(
    spec: str,
    task: Task,
    described: dict[str, Any],
    config: JudgeConfig,
    output: Path | str,
    say: Say = lambda line: None,
) -> RunDirectory:
    """Judge a callable, or reuse the run where neither its file nor its answers nor anything else has changed.

    Args:
        spec: "MODULE:CALLABLE".
        task: what it is judged on.
        described: the task as plain values, part of the run's hash.
        config: how it is judged.
        output: where run directories are.
        say: told in a line what is being done.

    Raises:
        InputError: the callable cannot be had, answers in another shape, or looks ahead.
    """
    if isinstance(task, Described):
        raise InputError(f"{spec}: prompts of this task begin with a name that answer(x, y) does not see; give another")
    function = load_callable(spec)
    learner, answers = adapted(spec, function, task, config.seed)
    plain = inspect.unwrap(function)
    source = inspect.getsourcefile(plain) if inspect.isfunction(plain) or inspect.ismethod(plain) else None
    source = source or getattr(sys.modules.get(spec.partition(":")[0]), "__file__", None)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else ""
    settings = OutsideConfig(learner=spec, source=digest, answers=fingerprint(answers), task=described, judge=config)
    directory = RunDirectory.create(settings, output)
    if directory.done:
        say(f"reusing {directory.path}: nothing has changed since it was made")
        return directory
    with directory.locked():
        say("computing every reference's answers")
        bank = build_bank(task, config.seed, config.prompts, config.calibration)
        answered = np.ones(task.positions, bool)
        answered[:-1] = not learner.last_only
        judged = Judged(spec, "trained", learner, bank)
        try:
            dataset = analyse([judged], answered, config.bootstrap, progress=say)
        except jax.errors.JaxRuntimeError as error:  # raised by the user's code, inside a compiled program
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise InputError(f"{spec}: called with the judge's {len(bank.prompts.y)} prompts: {reason}") from None
        title = spec.partition(":")[2]
        dataset = dataset.assign_attrs(
            title=title,
            model=f"{spec}, brought from outside",
            origin="outside",
            task=describe_task(task),
            family=family_of(task),
            unit_of_loss=task.outcomes.loss,
        )
        config_text = yaml.safe_dump(settings.resolved(), sort_keys=False)
        attributes = surroundings() | {"name": spec, "config": config_text, "judge": judge_rule()}
        write_results(directory, {"learner": dataset}, attributes)
        write_claims(directory.claims_file, [])
        directory.finish()
    return directory
