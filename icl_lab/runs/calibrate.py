"""`icl-lab calibrate`: judge learners whose function is known, family by family. Resumable.

calibration-HASH8/
  config.yaml            what was asked for
  records/FAMILY.jsonl   a line per subject, appended as it is judged: a calibration that was stopped goes on there
  results.nc             the same as labelled arrays, a group per family
  claims.json, report.html, figures/
"""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import yaml
from annotated_types import Ge, Len

from icl_lab.calibration.families import FAMILIES
from icl_lab.calibration.measure import Record, records_of
from icl_lab.calibration.subjects import known_subjects
from icl_lab.hypotheses.bank import build_bank
from icl_lab.runs.calibration_claims import family_claims
from icl_lab.runs.claims import write_claims
from icl_lab.runs.directory import RunDirectory, writing
from icl_lab.runs.environment import surroundings
from icl_lab.runs.named import NamedSettings
from icl_lab.runs.progress import watch
from icl_lab.runs.results import write_results

if TYPE_CHECKING:
    import xarray

Say = Callable[[str], None]
FEWER_PROMPTS = (16, 48, 128)


class CalibrationConfig(NamedSettings):
    """What is calibrated.

    Attributes:
        name: first part of the directory's name.
        families: names of `calibration.families.FAMILIES`.
        draws: subjects per planted reference; the other kinds grow with it. 4 give the 150 learners of no hypothesis
            that a claim of 2% false support needs.
        prompts: per regime, and as many to fit parameters on.
        seed: of prompts, pools, parameters and noise. The rule was chosen on seeds below 2000.
    """

    name: str = "calibration"
    families: Annotated[tuple[str, ...], Len(1)] = tuple(FAMILIES)
    draws: Annotated[int, Ge(1)] = 4
    prompts: Annotated[int, Ge(8)] = 256
    seed: Annotated[int, Ge(0)] = 2000


def calibrate(config: CalibrationConfig, output: Path | str, say: Say = lambda line: None) -> RunDirectory:
    """Calibrate the judge, go on where it was stopped, or reuse what is complete.

    Raises:
        InputError: the directory cannot be written, or another process works on it.
    """
    directory = RunDirectory.create(config, output)
    if directory.done:
        say(f"reusing {directory.path}: this calibration was made before")
        return directory
    with directory.locked():
        records = {family: _family(family, config, directory.path / "records", say) for family in config.families}
        groups = {family: dataset_of(found) for family, found in records.items()}
        attributes = surroundings() | {"config": yaml.safe_dump(config.resolved(), sort_keys=False)}
        write_results(directory, groups, attributes)
        write_claims(
            directory.claims_file, [claim for name, found in records.items() for claim in family_claims(name, found)]
        )
        directory.finish()
    return directory


def _family(family: str, config: CalibrationConfig, folder: Path, say: Say) -> list[Record]:
    """All records of a family; those in the file are not judged again."""
    path = folder / f"{family}.jsonl"
    with writing(path):
        folder.mkdir(exist_ok=True)
    done = read_records(path)
    task = FAMILIES[family](config.seed)
    say(f"{family}: computing every reference's answers")
    bank = build_bank(task, config.seed, config.prompts, config.prompts)
    subjects = list(known_subjects(bank, config.seed, config.draws))
    parts = [bank.first(count) for count in FEWER_PROMPTS if count < config.prompts]
    known = {record.name for record in done}
    with watch(family, len(subjects), len(known), unit="subject") as watcher, writing(path):
        for number, subject in enumerate(subjects, 1):
            if subject.name not in known:
                found = records_of(bank, subject, parts)
                _append(path, found)
                done += found
            watcher.update(number)
    return done


def _append(path: Path, records: Sequence[Record]) -> None:
    """One line with all records of a subject: it is there as a whole or not at all."""
    line = json.dumps([dataclasses.asdict(record) for record in records], allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_records(path: Path) -> list[Record]:
    """The records in a file. A last line that was cut off is removed, and its subject judged again."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    found = []
    for line in whole.decode("utf-8").splitlines():
        for row in json.loads(line):
            fields: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
            found.append(Record(**fields))
    return found


def dataset_of(records: Sequence[Record]) -> "xarray.Dataset":
    """The records as labelled arrays along `verdict`; several hypotheses are joined by "+"."""
    import xarray

    columns: dict[str, Any] = {}
    for field in dataclasses.fields(Record):
        values = [getattr(record, field.name) for record in records]
        if any(isinstance(value, tuple | str) or value is None for value in values):
            words = ["+".join(v) if isinstance(v, tuple) else v or "" for v in values]
            columns[field.name] = ("verdict", np.array(words, object))
        else:
            kind = np.int8 if isinstance(values[0], bool) else None
            columns[field.name] = ("verdict", np.array(values, kind))
    return xarray.Dataset(columns)
