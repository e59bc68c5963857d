"""The configuration of a run: a frozen schema, read from YAML, changed by typed options of the command line."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from annotated_types import Ge, Len

from icl_lab.config.messages import FieldError, one_line
from icl_lab.config.sections import Section
from icl_lab.config.shipped import config_file
from icl_lab.config.subject import Subject
from icl_lab.config.task_section import sources
from icl_lab.config.yaml_file import read_yaml
from icl_lab.core.errors import InputError, nearest
from icl_lab.probes.behaviour.battery import BATTERY
from icl_lab.stress.perturbations import PERTURBATIONS

# Part of every run's hash: raise it when stored results change their meaning, and no old ones are reused.
SCHEMA = 7
PLANTED = "planted"
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SUBJECT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class JudgeConfig(Section):
    """How subjects are judged.

    Attributes:
        prompts: prompts per regime on which distances are measured.
        calibration: prompts on which the references' free parameters are fitted, half pool, half fresh; never scored.
        snapshots: points of the training trajectory that are judged, spaced evenly in the logarithm of the step.
        bootstrap: resamples for 95% intervals over prompts; 0: no intervals.
        seed: of the prompts.
        planted: judge the reference learners themselves too, as positive and negative controls.
        mechanism: look inside the networks too: signatures of circuits, and attention at every snapshot.
        mechanism_over_time: look for the circuits at every snapshot too, about a second for each member and snapshot.
        maps: map the networks: which token and layer carries the answer, and what every head and MLP is to it.
        battery: ask every member, and the best reference of every hypothesis, the behavioural probes.
        probes: names of those that are asked; empty: all that make sense for the task.
        stress: change the prompts of every member, see `icl-lab list stress`.
        perturbations: names of the changes; empty: all that make sense for the task.
    """

    prompts: Annotated[int, Ge(8)] = 512
    calibration: Annotated[int, Ge(8)] = 512
    snapshots: Annotated[int, Ge(0)] = 12
    bootstrap: Annotated[int, Ge(0)] = 200
    seed: Annotated[int, Ge(0)] = 0
    planted: bool = True
    mechanism: bool = True
    mechanism_over_time: bool = False
    maps: bool = True
    battery: bool = True
    probes: list[str] = []
    stress: bool = True
    perturbations: list[str] = []

    @pydantic.model_validator(mode="after")
    def _known_probes(self) -> "JudgeConfig":
        for name in self.probes:
            if name not in BATTERY:
                raise FieldError(("probes",), f"{name!r} is no probe; {nearest(name, list(BATTERY), 'probes')}")
        for name in self.perturbations:
            if name not in PERTURBATIONS:
                raise FieldError(
                    ("perturbations",),
                    f"{name!r} is no stress test; {nearest(name, list(PERTURBATIONS), 'stress tests')}",
                )
        return self


class RunConfig(Section):
    """A whole run.

    Attributes:
        name: first part of the run directory's name; by default that of the file.
        title, description: for the report.
        seed: first seed of the members, times 1000.
        subjects: what is trained and judged, by name.
        judge: how it is judged.
    """

    name: str
    title: str = ""
    description: str = ""
    seed: Annotated[int, Ge(0), pydantic.Field(le=1_000_000)] = 0
    subjects: Annotated[dict[str, Subject], Len(1)]
    judge: JudgeConfig = JudgeConfig()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        """Names become directories, groups of the results, and parts of options: checked before what they name."""
        if not isinstance(given, dict):
            return given
        name = given.get("name")
        if isinstance(name, str) and not _RUN_NAME.fullmatch(name):
            raise FieldError(("name",), f"{name[:80]!r} should be letters, digits and _.- only, at most 64")
        subjects = given.get("subjects")
        for key in subjects if isinstance(subjects, dict) else ():
            if not (isinstance(key, str) and _SUBJECT_NAME.fullmatch(key)):
                raise FieldError(("subjects", key), "the name should be a letter, then letters, digits and _ only")
            if key == PLANTED or key.startswith(f"{PLANTED}_"):
                raise FieldError(("subjects", key), "the name is taken by the planted learners; choose another")
        return given

    @pydantic.model_validator(mode="after")
    def _starts_can_be_met(self) -> "RunConfig":
        """Who starts from another subject finds one of the same network and as many members, in no circle."""
        for name, subject in self.subjects.items():
            path, before, seen = ("subjects", name, "start_from"), subject.start_from, [name]
            while before is not None:
                if before not in self.subjects:
                    end = nearest(before, [other for other in self.subjects if other != name], "subjects")
                    raise FieldError(path, f"{before!r} is no subject of this run; {end}")
                if before in seen:
                    raise FieldError(path, f"goes in a circle: {' from '.join([*seen, before])}")
                seen.append(before)
                before = self.subjects[before].start_from
            if len(seen) > 1:
                first = self.subjects[seen[1]]
                if first.build_model().config != subject.build_model().config:
                    raise FieldError(path, f"{seen[1]!r} is another network; give both the same model, format and task")
                if first.size != subject.size:
                    raise FieldError(
                        path, f"{seen[1]!r} has {first.size} members, not {subject.size}; give both the same ensemble"
                    )
        return self

    def resolved(self) -> dict[str, Any]:
        """Everything that decides the results, defaults and derived widths included, as plain JSON values."""
        plain = self.model_dump(mode="json")
        for name, subject in self.subjects.items():
            if (transformer := subject.transformer()) is not None:
                plain["subjects"][name]["model"]["width"] = transformer.width
        return plain

    def hash8(self) -> str:
        """Eight hex digits of the SHA-256 of the resolved configuration and of the user's own task files."""
        files = {name: sources(subject.task) for name, subject in self.subjects.items()}
        content = {"schema": SCHEMA, "sources": files, "config": self.resolved()}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the configuration in a YAML file, with options such as ["--subjects.a.training.steps", "200"] applied.

    Args:
        path: of the file, or the name of a shipped configuration, such as "quickstart" or "recency/quick".
        overrides: options.

    Raises:
        InputError: one line that names file and field, and says what would be right.
    """
    path = Path(path)
    given = read_yaml(config_file(path))
    given.setdefault("name", path.stem)
    config = parse_config(given, str(path))
    if not overrides:
        return config
    from icl_lab.config.overrides import apply_overrides

    return parse_config(apply_overrides(config, overrides, str(path)), f"{path} with options")


def parse_config(given: Any, source: str) -> RunConfig:
    """The configuration in plain data. Raises InputError, its line begins with `source`."""
    try:
        return RunConfig.model_validate(given)
    except pydantic.ValidationError as error:
        raise InputError(f"{source}: {one_line(error, given)}") from None
