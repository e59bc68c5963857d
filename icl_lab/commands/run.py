"""A whole run: train or resume every subject, judge all members, store results and claims. What `icl-lab run` calls."""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icl_lab.analysis.battery import key_of, seen_and_predicted
from icl_lab.analysis.inside import with_attention, with_mechanism, with_mechanism_over_time
from icl_lab.analysis.maps import with_maps
from icl_lab.analysis.planted import planted_learners, recognised
from icl_lab.analysis.scores import Judged, analyse, network_learners, token_labels
from icl_lab.commands.environment import surroundings
from icl_lab.commands.stress import Stressable, with_stress
from icl_lab.commands.train import TrainedSubject, train_subjects, untrained_params
from icl_lab.config.config import PLANTED, JudgeConfig, RunConfig
from icl_lab.config.model_section import describe_network
from icl_lab.config.subject import Expectation, Subject
from icl_lab.config.yaml_file import dump_yaml
from icl_lab.core.claims import OWN, Claim, claim, counted
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank, build_bank
from icl_lab.models import Model
from icl_lab.store.claims import update_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import write_results
from icl_lab.tasks import Task

if TYPE_CHECKING:
    import xarray

Say = Callable[[str], None]
# Planted learners at noise-free parameters between grid points: at least this part is to be recognised.
PLANTED_RECOGNISED = 0.85
OWN_CONTROL = "this lab's own control"


def execute(config: RunConfig, output: Path | str, say: Say = lambda line: None) -> RunDirectory:
    """Run a configuration, resume it where it was stopped, or reuse it where it is complete.

    Args:
        config: the run.
        output: where run directories are.
        say: told in a line what is being done.

    Raises:
        InputError: the directory cannot be written, or another process works on it.
        RunError: training failed.
    """
    directory = RunDirectory.create(config, output)
    if directory.done:
        say(f"reusing {directory.path}: this configuration was run before")
        return directory
    with directory.locked():
        begun = time.monotonic()
        trained = train_subjects(config.subjects, directory, config.seed, config.judge.snapshots)
        directory.set_status("trained")
        groups = judge_subjects(config.judge, trained, say)
        claims = general_claims(groups) + expected_claims(config.subjects, groups)
        attributes = provenance(config) | {"wall_seconds": round(time.monotonic() - begun, 1)}
        write_results(directory, groups, attributes)
        update_claims(directory.claims_file, claims)
        directory.finish()
    return directory


def judge_subjects(
    config: JudgeConfig, trained: Mapping[str, TrainedSubject], say: Say = lambda line: None
) -> dict[str, "xarray.Dataset"]:
    """One dataset per subject, and one for the planted learners. Members with equal tasks share a bank."""
    banks: dict[Any, Bank] = {}

    def bank_of(task: Task) -> Bank:
        key = key_of(task)
        if key not in banks:
            say(f"computing every reference's answers, task {len(banks) + 1} (once, whatever is judged)")
            banks[key] = build_bank(task, config.seed, config.prompts, config.calibration)
        return banks[key]

    groups = {}
    for name, subject in trained.items():
        planned = subject.members
        outcomes = planned[0].member.task.outcomes
        learners = network_learners(subject.model, subject.format, subject.params, outcomes)
        earlier: dict[int, list[Any]] = {
            step: network_learners(subject.model, subject.format, subject.snapshots.load(step), outcomes)
            for step in subject.steps
        }
        judged = [
            Judged(
                plan.label,
                plan.kind,
                learner,
                bank_of(plan.member.task),
                {key: getattr(plan, key) for key in ("seed", "pool", "noise", "learning_rate", "weight_decay")},
                {step: row[index] for step, row in earlier.items() if step > 0} if config.snapshots else {},
            )
            for index, (plan, learner) in enumerate(zip(planned, learners, strict=True))
        ]
        fresh = network_learners(subject.model, subject.format, untrained_params(trained, name), outcomes)
        untrained = Judged("untrained", "untrained", fresh[0], judged[0].bank, judged[0].coordinates)
        positions = judged[0].bank.prompts.positions
        answered = np.zeros(positions, bool)
        answered[subject.format.answers(positions)] = True

        def tell(line: str, name: str = name) -> None:
            say(f"{name}: {line}")

        members = [*judged, untrained]
        dataset = analyse(members, answered, config.bootstrap, progress=tell)
        if config.mechanism:
            dataset = with_mechanism(members, dataset, config.seed, tell)
            if config.mechanism_over_time:
                dataset = with_mechanism_over_time(members, dataset, config.seed, tell)
            if isinstance(subject.model, Model):
                dataset = with_attention(members, earlier, dataset)
        if config.maps:
            dataset = with_maps(members, dataset, config.seed, config.bootstrap, tell)
        if config.battery:
            dataset = seen_and_predicted(members, dataset, config.seed, config.bootstrap, config.probes, tell)
        if config.stress:
            subjects = [Stressable(m.label, m.learner, m.bank.task, m.bank.prepared) for m in members]
            dataset = with_stress(subjects, dataset, config.seed, config.bootstrap, config.perturbations, tell)
        groups[name] = _described(dataset, subject)
    if config.planted:
        for family in dict.fromkeys(family_of(bank.task) for bank in banks.values()):
            # Of several tasks the one to which most references apply: one with a pool.
            own = [bank for bank in banks.values() if family_of(bank.task) == family]
            bank = max(own, key=lambda bank: len(bank.references))
            groups[f"{PLANTED}_{family.replace(' ', '_')}"] = _planted(bank, family, say)
    return groups


def _planted(bank: Bank, family: str, say: Say) -> "xarray.Dataset":
    """The references of a bank, judged as subjects."""
    planted = planted_learners(bank)
    everywhere = np.atleast_1d(np.asarray(bank.prompts.scored).any(0))
    dataset = analyse(planted, everywhere, 0, probes=False, progress=lambda line: say(f"planted, {family}: {line}"))
    verdicts = [json.loads(text) for text in dataset["verdict"].values]
    right = [recognised(learner.coordinates["expected"], v) for learner, v in zip(planted, verdicts, strict=True)]
    dataset["right"] = ("member", np.array(right, float))
    return dataset.assign_attrs(title=f"planted learners, {family}", task=describe_task(bank.task), family=family)


def family_of(task: Task) -> str:
    """The class of a task in words: "linear regression"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(task).__name__).lower()


def _described(dataset: "xarray.Dataset", subject: TrainedSubject) -> "xarray.Dataset":
    """The dataset with its training log and one-line descriptions."""
    ends, loss = subject.training_log()
    log = np.full((dataset.sizes["member"], len(ends)), np.nan)
    log[: len(loss)] = loss
    dataset = dataset.assign(train_loss=(("member", "log_step"), log)).assign_coords(log_step=ends)
    return dataset.assign_attrs(
        title=subject.subject.title or subject.name.replace("_", " "),
        description=subject.subject.description,
        model=describe_network(subject.model.config),
        task="; ".join(dict.fromkeys(describe_task(planned.member.task) for planned in subject.members)),
        family=family_of(subject.members[0].member.task),
        training=describe_training(subject.subject),
        unit_of_loss=subject.members[0].member.task.outcomes.loss,
        token_labels=token_labels(subject.format, dataset.sizes["position"]),
    )


def describe_task(task: Task) -> str:
    """One line: the task's class and those of its fields that are plain values."""
    plain = {name: value for name, value in vars(task).items() if isinstance(value, int | float | str)}
    fields = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())
    size = getattr(task.prior, "size", None)
    return f"{type(task).__name__}: {fields}, " + ("population prior" if size is None else f"pool of {int(size)} tasks")


def describe_training(subject: Subject) -> str:
    """One line: steps, batch, optimiser, and whose answers are learned where it is not the outcomes."""
    training, teacher = subject.build_training(), subject.teacher.reference
    taught = "" if teacher is None else f", on the answers of {REFERENCES[teacher][1].title} instead of the outcomes"
    return f"{training.steps} steps of {training.batch} prompts, {training.optimiser}{taught}"


def is_planted(group: str) -> bool:
    """Whether a group of the results holds planted learners."""
    return group == PLANTED or group.startswith(f"{PLANTED}_")


def general_claims(groups: Mapping[str, "xarray.Dataset"]) -> list[Claim]:
    """What every run must show: planted learners are recognised, and nulls are not explained."""
    claims = []
    for name, dataset in groups.items():
        if not is_planted(name):
            continue
        family, expected = dataset.attrs["family"], dataset["expected"].values
        known, unknown = dataset["right"].values[expected != ""], dataset["right"].values[expected == ""]
        claims += [
            counted(
                f"{name}.recognised",
                f"{family}: planted references, at parameters between grid points, are recognised",
                "at_least",
                int(known.sum()),
                len(known),
                PLANTED_RECOGNISED,
                source=OWN_CONTROL,
            ),
            counted(
                f"{name}.decoys",
                f"{family}: learners that belong to no hypothesis support none (label mean, label median, …)",
                "at_least",
                int(unknown.sum()),
                len(unknown),
                1.0,
                source=OWN_CONTROL,
            ),
        ]
    claims.append(_nothing_in_nulls(groups, "verdict", "nulls", "support no hypothesis"))
    if any("mechanism" in dataset for dataset in groups.values()):
        claims.append(_nothing_in_nulls(groups, "mechanism", "nulls.inside", "hold the circuits of no hypothesis"))
    return claims


def _nothing_in_nulls(groups: Mapping[str, "xarray.Dataset"], verdict: str, name: str, says: str) -> Claim:
    """That no verdict of that name supports anything for a member that has learned nothing."""
    nulls = [
        bool(json.loads(text)["supported"])
        for group, dataset in groups.items()
        if not is_planted(group) and verdict in dataset
        for kind, text in zip(dataset["kind"].values, dataset[verdict].values, strict=True)
        if kind != "trained"
    ]
    statement = f"untrained models and models trained on shuffled labels {says}"
    return counted(name, statement, "at_most", sum(nulls), len(nulls), 0.0, source=OWN_CONTROL)


def expected_claims(subjects: Mapping[str, Subject], groups: Mapping[str, "xarray.Dataset"]) -> list[Claim]:
    """The expectations written in the configuration, against the verdicts of a subject's trained members."""
    claims = []
    for name, subject in subjects.items():
        dataset = groups[name]
        pairs = zip(dataset["kind"].values, dataset["verdict"].values, strict=True)
        verdicts = [json.loads(text) for kind, text in pairs if kind == "trained"]
        for index, expect in enumerate(subject.expect):
            parts = [f"near {', '.join(expect.near)}"] if expect.near else []
            parts += [f"rejected {', '.join(expect.rejected)}"] if expect.rejected else []
            statement = expect.statement or f"{name}: {'; '.join(parts)}"
            condition, met = "; ".join(parts), [_meets(expect, verdict) for verdict in verdicts]
            details: dict[str, Any] = {"source": expect.source, "condition": condition, "decided": met}
            claims.append(claim(f"{name}.{index}", statement, OWN, labels=[v["nearest"] for v in verdicts], **details))
    return claims


def _meets(expect: Expectation, verdict: Mapping[str, Any]) -> bool:
    """What is near counts where the verdict is conclusive only: everything is near to a learner nothing explains."""
    near = not expect.near or (verdict["status"] == "supported" and set(expect.near) <= set(verdict["near"]))
    return near and set(expect.rejected) <= set(verdict["rejected"])


def provenance(config: RunConfig) -> dict[str, Any]:
    """Where and with what a run was made, for the root of results.nc."""
    return surroundings() | {
        "name": config.name,
        "title": config.title,
        "description": config.description,
        "config": dump_yaml(config.resolved()),
        "judge": judge_rule(),
    }


def judge_rule() -> str:
    """The thresholds of the verdict rule as JSON, for the report."""
    return json.dumps(dataclasses.asdict(THRESHOLDS))
