"""Stress a run's members: what every perturbation does to them, beside exact learners, references and chance."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array

from icl_lab.analysis.battery import best_references, fitted_reference, key_of
from icl_lab.commands.train import TrainedSubject, train_subjects, untrained_params
from icl_lab.core.errors import InputError
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.judging.bank import taught
from icl_lab.learners.answers import Learner, answers_of, sample, unit_of
from icl_lab.learners.decoys import uniform
from icl_lab.learners.reference import Reference, ReferenceLearner
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import read_results, write_results
from icl_lab.stress.base import Perturbation
from icl_lab.stress.biased import BIASES, can_be_biased
from icl_lab.stress.measure import NAMES, Stressed, answered, in_format, stressed, terms
from icl_lab.stress.perturbations import PERTURBATIONS
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.readable import why_unreadable
from icl_lab.stress.strength import family_answers, fit_strength
from icl_lab.tasks import Task

if TYPE_CHECKING:
    import xarray

PROMPTS = 64
TOLD = ("stress", "stress_left_out")  # attributes that hold a line per perturbation
TRAINED = "trained"  # kind of a member that is no null
CHANCE = Reference("chance", "knows nothing", uniform)


@dataclasses.dataclass(frozen=True)
class Stressable:
    """A learner to be stressed.

    Attributes:
        label: for progress lines.
        learner: a pytree.
        task: it was trained on.
        prepared: reference name → what it has learned on the task beforehand (`hypotheses.bank.taught`).
    """

    label: str
    learner: Learner
    task: Task
    prepared: Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Given:
    """What the members of one task share: prompts by perturbation, reasons why others were left out, fault families."""

    prompts: Mapping[str, Stressed]
    left_out: Mapping[str, str]
    families: Mapping[str, Predictions]
    plain: Prompts
    unit: Any


def with_stress(
    members: Sequence[Stressable],
    judged: "xarray.Dataset",
    seed: int = 0,
    bootstrap: int = 200,
    names: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """The judged dataset with what perturbations at their standard strength do.

    Adds for TERM in bias, mismatch, distance, moved (see `stress.base`, nats, means over prompts)
    `stress_TERM` [member, perturbation] with `_low` and `_high`, `stress_reference_TERM` [member, hypothesis,
    perturbation] of the hypotheses' best references (of trained members; NaN of others), `stress_chance_TERM` [member,
    perturbation] of a learner that knows nothing; `fault_strength`, `fault_low`, `fault_high`, `fault_left` [member,
    fault], see `stress.strength`; and
    as attributes, JSON: `stress`, perturbation → title, question, unit, strength, aligned; `stress_left_out`,
    perturbation → why it makes no sense for a task; `faults`, fault → title, unit. NaN: left out, or unreadable.

    Args:
        members: as they were judged.
        judged: by `analyse`, with distances and fitted parameters.
        seed: of the prompts.
        bootstrap: resamples for 95% intervals over prompts (0: none).
        names: of perturbations; empty: all.
        progress: called with a line per member.
    """
    chosen = [PERTURBATIONS[name] for name in dict.fromkeys(names or PERTURBATIONS)]
    shared: dict[Any, Given] = {}
    chance: dict[Any, np.ndarray] = {}
    own, compared, faults = [], [], []
    for index, member in enumerate(members):
        progress(f"stressing {member.label}")
        key = key_of(member.task)
        if key not in shared:
            shared[key] = given_of(member.task, chosen, stream(seed, "stress"))
            for name, why in shared[key].left_out.items() if names else ():
                progress(f"{name} is left out for {member.label}: {why}")
            chance[key] = all_terms(chosen, shared[key], ReferenceLearner(member.task, {}, CHANCE)).mean(-1)
        learners = references_of(member, judged.isel(member=index))
        if str(judged["kind"].values[index]) != TRAINED:
            learners = [None] * len(learners)  # what is nearest to a network that learned nothing says nothing
        own.append(all_terms(chosen, shared[key], member.learner))
        nearest = [all_terms(chosen, shared[key], learner).mean(-1) for learner in learners]
        compared.append(np.stack([*nearest, chance[key]]))
        faults.append(faults_of(member.learner, shared[key]))
    data: dict[str, Any] = {}
    values = np.stack(own)  # [member, perturbation, term, prompt]
    others = np.stack(compared)  # [member, reference, perturbation, term]
    draws = bootstrap_interval(values, draws=bootstrap) if bootstrap else np.full((2, *values.shape[:-1]), np.nan)
    for place, name in enumerate(NAMES):
        dims = ("member", "perturbation")
        data[f"stress_{name}"] = (dims, values.mean(-1)[..., place])
        data[f"stress_{name}_low"], data[f"stress_{name}_high"] = ((dims, part[..., place]) for part in draws)
        data[f"stress_chance_{name}"] = (dims, others[:, -1, :, place])
        data[f"stress_reference_{name}"] = (("member", "hypothesis", "perturbation"), others[:, :-1, :, place])
    for place, name in enumerate(("strength", "low", "high", "left")):
        data[f"fault_{name}"] = (("member", "fault"), np.stack(faults)[..., place])
    told = {
        p.name: {"title": p.title, "question": p.question, "unit": p.unit, "strength": p.standard, "aligned": p.aligned}
        for p in chosen
    }
    reasons = {name: why for given in shared.values() for name, why in given.left_out.items()}
    units = {name: {"title": bias.title, "unit": bias.unit} for name, bias in BIASES.items()}
    return (
        judged.assign(data)
        .assign_coords(perturbation=[p.name for p in chosen], fault=list(BIASES))
        .assign_attrs(stress=json.dumps(told), stress_left_out=json.dumps(reasons), faults=json.dumps(units))
    )


def given_of(task: Task, chosen: Sequence[Perturbation], key: Array) -> Given:
    """Changed prompts of every perturbation that makes sense for the task, and plain ones for the faults."""
    left_out = {perturbation.name: why for perturbation in chosen if (why := perturbation.applies(task))}
    plain = sample(task, key, PROMPTS)
    # Changes of the format alone are asked with the same prompts.
    kinds = {p.name: "format" if p.name in FORMAT_PERTURBATIONS else p.name for p in chosen if p.name not in left_out}
    asked = {kinds[p.name]: p for p in reversed(chosen) if p.name in kinds}
    changed = {kind: stressed(p, task, key, PROMPTS, p.standard) for kind, p in asked.items()}
    prompts = {name: changed[kind] for name, kind in kinds.items()}
    families = {} if can_be_biased(task) else {n: family_answers(bias, task, plain) for n, bias in BIASES.items()}
    return Given(prompts, left_out, families, plain, unit_of(task, plain))


def all_terms(chosen: Sequence[Perturbation], given: Given, learner: Learner | None) -> np.ndarray:
    """Every term of one learner, [perturbation, term, prompt]; NaN where a perturbation was left out or unreadable."""
    found = np.full((len(chosen), len(NAMES), PROMPTS), np.nan)
    for place, perturbation in enumerate(chosen):
        if learner is None or perturbation.name not in given.prompts:
            continue
        asked = given.prompts[perturbation.name]
        if why_unreadable(in_format(learner, perturbation, perturbation.standard), asked.after):
            continue
        measured = terms(perturbation, asked, learner, perturbation.standard)
        found[place] = np.stack([getattr(measured, name) for name in NAMES])
    return found


def faults_of(learner: Learner, given: Given) -> np.ndarray:
    """Strength, its interval and what is left of the distance, [fault, 4]; NaN where the families are not known."""
    found = np.full((len(BIASES), 4), np.nan)
    if not given.families:
        return found
    answer = answers_of(learner, given.plain)
    scored = np.asarray(given.plain.scored) & answered(answer)
    for place, (name, bias) in enumerate(BIASES.items()):
        fitted = fit_strength(bias, given.families[name], answer, given.unit, scored)
        found[place] = fitted.strength, fitted.low, fitted.high, fitted.left
    return found


def references_of(member: Stressable, judged: "xarray.Dataset") -> list[Learner | None]:
    """The nearest reference of every hypothesis at the parameters fitted to the member; None where none applies."""
    return [
        fitted_reference(member.task, judged, name, member.prepared[name]) if name else None
        for name in best_references(judged)
    ]


def stress_run(directory: RunDirectory, names: Sequence[str], say: Callable[[str], None] = lambda line: None) -> None:
    """Stress the trained members of a finished run and store the outcome in its results.nc, whole or not at all.

    Perturbations that are not asked for keep the results they have.

    Raises:
        InputError: the run is not finished, its results are damaged, another process works on it, or none of the
            perturbations makes sense for its tasks.
    """
    config = directory.unchanged_config()
    with directory.locked():
        groups, _ = read_results(directory)
        trained = train_subjects(config.subjects, directory, config.seed, config.judge.snapshots)
        refuse_where_none_applies(names, list(trained.values()))
        for name, subject in trained.items():
            learners = [subject.learner(index) for index in range(len(subject.members))]
            learners.append(subject.learner(0, untrained_params(trained, name)))
            tasks = [planned.member.task for planned in subject.members]
            labels = [str(label) for label in groups[name]["label"].values]
            learned = {key: taught(task) for key, task in {key_of(task): task for task in tasks}.items()}
            members = [
                Stressable(label, learner, task, learned[key_of(task)])
                for label, learner, task in zip(labels, learners, [*tasks, tasks[0]], strict=True)
            ]

            def tell(line: str, name: str = name) -> None:
                say(f"{name}: {line}")

            before = groups[name]
            bare = before.drop_vars([v for v in before.variables if is_stress(str(v))])
            found = with_stress(members, bare, config.judge.seed, config.judge.bootstrap, names, tell)
            groups[name] = beside(before, found)
        write_results(directory, groups)


def refuse_where_none_applies(names: Sequence[str], subjects: Sequence[TrainedSubject]) -> None:
    """Raise InputError if perturbations are asked for by name and none makes sense for a task of any subject."""
    reasons = [
        PERTURBATIONS[name].applies(planned.member.task)
        for name in names
        for subject in subjects
        for planned in subject.members
    ]
    if reasons and all(reasons):
        raise InputError(f"--only: {names[0]!r} makes no sense for any task of this run: {reasons[0]}")


def beside(before: "xarray.Dataset", found: "xarray.Dataset") -> "xarray.Dataset":
    """The dataset `found`, with those perturbations of the dataset `before` that it has none of."""
    import xarray

    if "perturbation" not in before.variables:
        return found
    asked = [str(name) for name in found["perturbation"].values]
    kept = before.drop_sel(perturbation=[name for name in before["perturbation"].values if str(name) in asked])
    by_perturbation = [name for name in found.data_vars if "perturbation" in found[name].dims]
    joined = xarray.concat([kept[by_perturbation], found[by_perturbation]], "perturbation")
    told = {key: {**json.loads(before.attrs[key]), **json.loads(found.attrs[key])} for key in TOLD}
    rest = found.drop_vars([*by_perturbation, "perturbation"])
    return (
        rest.assign(joined.data_vars)
        .assign_coords(perturbation=joined["perturbation"])
        .assign_attrs({key: json.dumps(value) for key, value in told.items()})
    )


def is_stress(variable: str) -> bool:
    """Whether a variable of the results was added by `with_stress`."""
    return variable.startswith(("stress_", "fault")) or variable == "perturbation"
