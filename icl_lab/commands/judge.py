"""`icl-lab judge MODULE:CALLABLE`: the scoreboard of a learner that the user brings."""

import hashlib
import importlib
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from icl_lab.analysis.battery import PROMPTS, seen_and_predicted
from icl_lab.analysis.scores import Judged, analyse
from icl_lab.commands.environment import surroundings
from icl_lab.commands.run import describe_task, family_of, judge_rule
from icl_lab.config.config import JudgeConfig
from icl_lab.config.named import NamedSettings
from icl_lab.config.yaml_file import dump_yaml
from icl_lab.core.errors import InputError
from icl_lab.core.streams import stream
from icl_lab.judging.bank import build_bank
from icl_lab.learners.outside import Function, OutsideLearner, checked, peeks
from icl_lab.probes.behaviour.battery import BATTERY, ask, read_all
from icl_lab.store.claims import write_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import write_results
from icl_lab.tasks import Described, Task

if TYPE_CHECKING:
    import xarray

Say = Callable[[str], None]
TRIED = 4  # prompts that a callable is tried on before it is judged
ELSEWHERE = ("joint_probability", "martingale", "implied_prior")  # probes that read more than the last answer
WITHIN = dict.fromkeys(("planted", "mechanism", "mechanism_over_time", "maps", "stress"), False) | {"snapshots": 0}
NOT_ASKED = (
    "Not asked: derivatives of its answers and what is inside it, which a function of numpy arrays does not show, and "
    "stress tests, which change the prompts of networks trained here."
)


class OutsideConfig(NamedSettings):
    """What is judged: decides the name of the run directory, with the source of the callable's file.

    Attributes:
        name: first part of the directory's name.
        learner: "MODULE:CALLABLE".
        source: digest of the file it comes from.
        answers: `fingerprint` of what it answers.
        task: the task's configuration.
        judge: how it is judged; what only networks trained here can be asked (`WITHIN`) is off.
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
    except (Exception, SystemExit) as error:  # the user's code: its words, in one line, are the best that can be said
        reason = " ".join(str(error).split())
        raise InputError(f"{spec}: called with x {x.shape} and y {y.shape}: {type(error).__name__}: {reason}") from None
    if at is not None:
        raise InputError(
            f"{spec}: the answer at position {at} depends on what comes later; it may use only x_{at} and the {at} "
            "examples before it"
        )
    return learner, answers


def fingerprint(answers: np.ndarray) -> str:
    """Digest of the answers in a trial, to 1e-4 of their size: weights that a file holds show there."""
    size = np.sqrt(np.mean(np.square(answers.astype(float)))) or 1.0
    relative = np.round(answers.astype(float) / size, 4)
    return hashlib.sha256(relative.tobytes() + f"{size:.4g}".encode()).hexdigest()[:16]


def with_battery(
    judged: Judged, dataset: "xarray.Dataset", config: JudgeConfig, say: Say = lambda line: None
) -> tuple["xarray.Dataset", dict[str, str]]:
    """The judged dataset with what behavioural probes say of a callable, and probe → why it was left out.

    Probes only call it; none needs its derivatives. Left out are those that read what a callable with `last_only` does
    not answer, and those on whose prompts it fails, such as labels that are all 0.
    """
    task, learner = judged.bank.task, judged.learner
    names = [name for name in config.probes or BATTERY if BATTERY[name].applies(task)]
    last_only = isinstance(learner, OutsideLearner) and learner.last_only
    left = {name: "it reads answers before the last" for name in names if last_only and name in ELSEWHERE}

    def together() -> "xarray.Dataset":
        rest = [name for name in names if name not in left]
        return seen_and_predicted([judged], dataset, config.seed, config.bootstrap, rest, say) if rest else dataset

    try:
        return together(), left
    except jax.errors.JaxRuntimeError:
        for name in (name for name in names if name not in left):
            asked = {name: ask(BATTERY[name], task, stream(config.seed, "battery"), PROMPTS)}
            try:
                read_all(learner, task, asked, PROMPTS)
            except jax.errors.JaxRuntimeError as error:
                left[name] = _last_line(error)
                say(f"leaving out the probe {name}: {left[name]}")
        return together(), left


def _last_line(error: Exception) -> str:
    """What the user's code said, of an error inside a compiled program."""
    return (str(error).strip().splitlines() or [""])[-1]


def described_asking(battery: bool, left: dict[str, str]) -> str:
    """Sentences for the page: what was asked of the callable, what was not, and why."""
    probes = ", and by those to the behavioural probes" if battery else "; the behavioural probes were switched off"
    without = "; ".join(f"{BATTERY[name].title} ({why})" for name, why in left.items())
    return f"Judged by its answers{probes}. {NOT_ASKED}" + (f" Probes left out: {without}." if left else "")


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
    config = config.model_copy(update=WITHIN)
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
            words = f"called with the judge's {len(bank.prompts.y)} prompts: {_last_line(error)}"
            raise InputError(f"{spec}: {words}") from None
        dataset, left = with_battery(judged, dataset, config, say) if config.battery else (dataset, {})
        title = spec.partition(":")[2]
        dataset = dataset.assign_attrs(
            title=title,
            description=described_asking(config.battery, left),
            left_out=json.dumps(left),
            model=f"{spec}, brought from outside",
            origin="outside",
            task=describe_task(task),
            family=family_of(task),
            unit_of_loss=task.outcomes.loss,
        )
        config_text = dump_yaml(settings.resolved())
        attributes = surroundings() | {"name": spec, "config": config_text, "judge": judge_rule()}
        write_results(directory, {"learner": dataset}, attributes)
        write_claims(directory.claims_file, [])
        directory.finish()
    return directory
