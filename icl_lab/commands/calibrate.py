"""`icl-lab calibrate`: judge learners whose function or mechanism is known. Resumable.

calibration-HASH8/
  config.yaml            what was asked for
  records/NAME.jsonl     a line per subject, appended as it is judged: a calibration that was stopped goes on there
  networks/              parameters of the networks that were trained for it
  results.nc             the same as labelled arrays: a group per family, "inner_loops", "mechanisms"
  claims.json, report.html, figures/
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Len

from icl_lab.calibration.claims import (
    bound_claim,
    family_claims,
    loop_claims,
    loop_mechanism_claims,
    mechanism_claims,
)
from icl_lab.calibration.distilled import answered
from icl_lab.calibration.families import FAMILIES
from icl_lab.calibration.inner_loops import FORMAT, INNER_LOOPS, known_loop, loop_mechanism_records
from icl_lab.calibration.measure import Record, records_of
from icl_lab.calibration.mechanisms import MechanismRecord, mechanism_records
from icl_lab.calibration.subjects import KnownSubject, known_subjects
from icl_lab.commands.calibration_networks import inner_loops, retrained, students
from icl_lab.commands.calibration_records import append, dataset_of, mechanism_dataset, read_records
from icl_lab.commands.environment import surroundings
from icl_lab.commands.progress import watch
from icl_lab.config.named import NamedSettings
from icl_lab.config.yaml_file import dump_yaml
from icl_lab.core.streams import stream
from icl_lab.judging.bank import Bank, build_bank
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.store.claims import write_claims
from icl_lab.store.directory import RunDirectory, writing
from icl_lab.store.results import write_results

Say = Callable[[str], None]
Plan = Mapping[tuple[str, int], Callable[[], list[MechanismRecord]]]  # name and draw → look at it
FEWER_PROMPTS = (16, 48, 128)
LOOPS, MECHANISMS = "inner_loops", "mechanisms"
LOOP_FAMILY = "linear_regression"


class CalibrationConfig(NamedSettings):
    """What is calibrated.

    Attributes:
        name: first part of the directory's name.
        families: names of `calibration.families.FAMILIES`.
        draws: subjects per planted reference; the other kinds grow with it. 4 give the 150 learners of no hypothesis
            that a claim of 2% false support needs.
        prompts: per regime, and as many to fit parameters on.
        seed: of prompts, pools, parameters and noise. The rule was chosen on seeds below 7000.
        distilled: students per hypothesis and family, constructions retrained, and delta-rule networks of every kind;
            0: none are trained.
        patience: how many times as long students are trained as they are by default, about half a minute each.
        mechanisms: draws of prompts and random weights per hand-built transformer; 0: none is judged.
    """

    name: str = "calibration"
    families: Annotated[tuple[str, ...], Len(1)] = tuple(FAMILIES)
    draws: Annotated[int, Ge(1)] = 4
    prompts: Annotated[int, Ge(8)] = 256
    seed: Annotated[int, Ge(0)] = 7000
    distilled: Annotated[int, Ge(0)] = 3
    patience: Annotated[int, Ge(1)] = 1
    mechanisms: Annotated[int, Ge(0)] = 4


def calibrate(config: CalibrationConfig, output: Path | str, say: Say = lambda line: None) -> RunDirectory:
    """Calibrate the judge, go on where it was stopped, or reuse what is complete.

    Raises:
        InputError: the directory cannot be written, or another process works on it.
    """
    directory = RunDirectory.create(config, output)
    if directory.done:
        say(f"reusing {directory.path}: this calibration was made before")
        return directory
    with directory.locked(), writing(directory.path):
        (directory.path / "records").mkdir(exist_ok=True)
        groups, claims, records = {}, [], {}
        for family in config.families:
            say(f"{family}: computing every reference's answers")
            bank = build_bank(FAMILIES[family](config.seed), config.seed, config.prompts, config.prompts)
            found = _family(family, bank, config, directory.path, say)
            groups[family], records[family] = dataset_of(found, bank.regimes), found
            claims += family_claims(family, found)
        claims.append(bound_claim(records))
        looked: list[MechanismRecord] = []
        if LOOP_FAMILY in config.families and config.distilled:
            found, regimes, looked = _loops(config, directory.path, say)
            groups[LOOPS] = dataset_of(found, regimes)
            claims += loop_claims(found) + loop_mechanism_claims(looked)
        if config.mechanisms:
            built = _mechanisms(config, directory.path / "records" / f"{MECHANISMS}.jsonl")
            claims += mechanism_claims(built)
            looked = built + looked
        if looked:
            groups[MECHANISMS] = mechanism_dataset(looked)
        attributes = surroundings() | {"config": dump_yaml(config.resolved())}
        write_results(directory, groups, attributes)
        write_claims(directory.claims_file, claims)
        directory.finish()
    return directory


def _family(family: str, bank: Bank, config: CalibrationConfig, folder: Path, say: Say) -> list[Record]:
    """All records of a family; subjects in the file are neither made nor judged again."""
    subjects = list(known_subjects(bank, config.seed, config.draws))
    parts = [bank.first(count) for count in FEWER_PROMPTS if count < config.prompts]
    path = folder / "records" / f"{family}.jsonl"
    done = _judged(family, path, [(bank, subject) for subject in subjects], parts)
    networks = folder / "networks" / family
    trained = students(bank, config.distilled, config.seed, networks, say, config.patience)
    again = retrained(bank, family, config.distilled, config.seed, config.prompts, networks, say)
    done += _judged(f"{family}, students", folder / "records" / f"{family}_students.jsonl", trained)
    return done + _judged(f"{family}, retrained", folder / "records" / f"{family}_retrained.jsonl", again)


def _loops(
    config: CalibrationConfig, folder: Path, say: Say
) -> tuple[list[Record], tuple[str, ...], list[MechanismRecord]]:
    """Records of delta-rule networks, the regimes they were judged in, and what was found inside those that count.

    Trained and judged on the population, with weights of either mean: learned optimisers among the references start
    from what is best there, as these networks do. On a pool the best step differs from direction to direction.
    """
    banks = {}
    for mean in dict.fromkeys(loop.mean for loop in INNER_LOOPS):
        task = FAMILIES[LOOP_FAMILY](config.seed).replace(weight_mean=mean).fresh()
        say(f"{LOOPS}: computing every reference's answers, weights of mean {mean:g}")
        banks[mean] = answered(build_bank(task, config.seed, config.prompts, config.prompts), FORMAT)
    trained = inner_loops(banks, config.distilled, config.seed, folder / "networks" / LOOPS, say)
    subjects = [(bank, known_loop(bank, loop, params, name)) for name, (bank, loop, params) in trained.items()]
    found = _judged("inner loops", folder / "records" / f"{LOOPS}.jsonl", subjects)
    counted = {record.name for record in found if record.counted}
    plan: dict[tuple[str, int], Callable[[], list[MechanismRecord]]] = {}
    for name, (bank, loop, params) in trained.items():
        draw = int(name.removeprefix(loop.name))
        if name in counted:
            key = stream(config.seed + draw, f"inside {loop.name}")
            plan[loop.name, draw] = functools.partial(loop_mechanism_records, bank.task, loop, params, draw, key)
    looked = _looked_into("inside inner loops", folder / "records" / f"{LOOPS}_{MECHANISMS}.jsonl", plan)
    return found, next(iter(banks.values())).regimes, looked


def _judged(
    title: str,
    path: Path,
    subjects: Sequence[tuple[Bank, KnownSubject]],
    parts: Sequence[tuple[Bank, np.ndarray]] = (),
) -> list[Record]:
    """The records in the file, and of the subjects that are not there, appended one after the other."""
    done = read_records(path)
    known = {record.name for record in done}
    with watch(title, len(subjects), len(known), unit="subject") as watcher:
        for number, (bank, subject) in enumerate(subjects, 1):
            if subject.name not in known:
                found = records_of(bank, subject, parts)
                append(path, found)
                done += found
            watcher.update(number)
    return done


def _mechanisms(config: CalibrationConfig, path: Path) -> list[MechanismRecord]:
    """The mechanism verdict on every hand-built transformer and its random control, as often as asked for."""
    plan: Plan = {
        (name, draw): functools.partial(mechanism_records, name, draw, stream(config.seed + draw, name))
        for name in CONSTRUCTIONS
        for draw in range(config.mechanisms)
    }
    return _looked_into("mechanisms", path, plan)


def _looked_into(title: str, path: Path, plan: Plan) -> list[MechanismRecord]:
    """The records in the file, and of the networks that are not there, appended one after the other."""
    done = read_records(path, MechanismRecord)
    known = {(record.name, record.draw) for record in done}
    with watch(title, len(plan), len(known), unit="network") as watcher:
        for number, (name, look) in enumerate(plan.items(), 1):
            if name not in known:
                found = look()
                append(path, found)
                done += found
            watcher.update(number)
    return done
