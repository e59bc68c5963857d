"""`icl-lab power CONFIG`: before any training, which hypotheses its tasks can separate, by what, at what cost."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from annotated_types import Ge
from rich.table import Table
from rich.text import Text

from icl_lab.analysis.battery import key_of
from icl_lab.calibration.power import Separation, own_references, separations
from icl_lab.calibration.readings import prepare
from icl_lab.calibration.telling import Telling, tellings
from icl_lab.calibration.truth import KEYS
from icl_lab.commands.environment import surroundings
from icl_lab.commands.run import describe_task
from icl_lab.config.config import RunConfig
from icl_lab.config.named import NamedSettings, first_task
from icl_lab.config.subject import Subject
from icl_lab.config.yaml_file import dump_yaml
from icl_lab.core.claims import Claim, Gate, counted
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.store.claims import write_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import write_results

if TYPE_CHECKING:
    import xarray

Say = Callable[[str], None]


class PowerConfig(NamedSettings):
    """What is worked out.

    Attributes:
        name: first part of the directory's name.
        subjects: name → task and depth, as plain values.
        prompts: per regime and per probe. What needs more of them than these is not told.
        seed: of the prompts.
    """

    name: str = "power"
    subjects: dict[str, Any]
    prompts: Annotated[int, Ge(8)] = 256
    seed: Annotated[int, Ge(0)] = 0


def power(config: RunConfig, prompts: int, output: Path | str, say: Say = lambda line: None) -> RunDirectory:
    """Work out the separations of every subject's task, or reuse what is there.

    Raises:
        InputError: the directory cannot be written.
    """
    chosen = {
        name: {"task": first_task(config, name), "depth": depth_of(subject)}
        for name, subject in config.subjects.items()
    }
    settings = PowerConfig.checked(subjects=chosen, prompts=prompts, seed=config.judge.seed)
    directory = RunDirectory.create(settings, output)
    if directory.done:
        say(f"reusing {directory.path}: this was worked out before")
        return directory
    with directory.locked():
        groups, claims = {}, []
        for name, subject in config.subjects.items():
            members = subject.members(config.seed)
            task = members[0].member.task
            if len({key_of(each.member.task) for each in members}) > 1:
                say(f"{name}: of the tasks of its ensemble the first, {members[0].label}")
            depth = chosen[name]["depth"]
            say(f"{name}: computing every reference's answers")
            bank = build_bank(task, config.judge.seed, prompts, prompts, own_references())
            readings = prepare(bank, config.judge.seed, prompts, lambda line, n=name: say(f"{n}: {line}"))
            fits = bank.fit_to_task()
            told = tellings(bank, fits, readings)
            groups[name] = dataset_of(separations(bank, fits, readings, depth), told).assign_attrs(
                title=subject.title or name, task=describe_task(task), depth=depth or "any", looked_at=prompts
            )
            claims += claims_of(name, told)
        attributes = surroundings() | {"config": dump_yaml(settings.resolved())}
        write_results(directory, groups, attributes)
        write_claims(directory.claims_file, claims)
        directory.finish()
    return directory


def depth_of(subject: Subject) -> int | None:
    """Layers of the network; None where it takes a step per token: any number of steps counts."""
    transformer = subject.transformer()
    return None if transformer is None else transformer.applications


def claims_of(name: str, told: Sequence[Telling]) -> list[Claim]:
    """Whether every probe tells what theory says it must, and nothing that it must not."""
    equal = [(each, probe, False) for each in told if each.equal for probe in each.expected]
    rest = [(each, probe, told) for each in told if not each.equal for probe, told in each.expected.items()]
    rows: list[tuple[str, str, Gate, list]] = [
        ("must", "probes tell the pairs of references that theory says they must", "order", [r for r in rest if r[2]]),
        ("must_not", "probes tell no pair that is alike in what they look at", "exact", [r for r in rest if not r[2]]),
        ("equal", "no probe tells references that are the same function", "exact", equal),
    ]
    claims = []
    for key, statement, gate, cases in rows:
        wrong = [(each, probe) for each, probe, _ in cases if probe in each.wrong()]
        shown = "; ".join(f"{probe}: {each.first}, {each.second}" for each, probe in wrong)
        if cases:
            source = "algebra" if gate == "exact" else "calibration/expectations.py"
            right, labels = len(cases) - len(wrong), [f"not {shown}"] if shown else []
            details: dict[str, Any] = {"source": source, "gate": gate, "labels": labels}
            claims.append(counted(f"{name}.{key}", statement, "at_least", right, len(cases), 1.0, **details))
    return claims


def dataset_of(found: Sequence[Separation], told: Sequence[Telling]) -> "xarray.Dataset":
    """Ordered pairs of hypotheses × what separates them: prompts needed (infinite: never), and why some are equal.

    And pairs of references × probes: prompts needed, and what was expected: 1 must be told, −1 must not, 0 no word.
    """
    import xarray

    columns = list(dict.fromkeys(name for separation in found for name in separation.prompts))
    prompts = np.full((len(KEYS), len(KEYS), len(columns)), np.nan)
    words = {name: np.full((len(KEYS), len(KEYS)), "", object) for name in ("equal", "reference", "disguise")}
    titles = {name: np.full((len(KEYS), len(KEYS)), "", object) for name in ("reference", "disguise")}
    nats, proven = np.full((len(KEYS),) * 2, np.nan), np.zeros((len(KEYS),) * 2, np.int8)
    for separation in found:
        place = KEYS.index(separation.first), KEYS.index(separation.second)
        for name, value in separation.prompts.items():
            prompts[(*place, columns.index(name))] = value
        nats[place], proven[place] = separation.nats, separation.proven
        for name, array in words.items():
            array[place] = getattr(separation, name)
        for name in ("reference", "disguise"):
            titles[name][place] = REFERENCES[getattr(separation, name)][1].title
    pair = ("hypothesis", "rival")
    data: dict[str, Any] = {"prompts": ((*pair, "by"), prompts), "nats": (pair, nats), "proven": (pair, proven)}
    data |= {name: (pair, array) for name, array in words.items()}
    data |= {f"{name}_title": (pair, array) for name, array in titles.items()}
    probes = list(dict.fromkeys(name for each in told for name in each.prompts))
    cells, shape = ("couple", "probe"), (len(told), len(probes))
    needed = [each.prompts[probe] for each in told for probe in probes]
    expected = [{None: 0, True: 1, False: -1}[each.expected.get(probe)] for each in told for probe in probes]
    why = [each.why.get(probe, "") for each in told for probe in probes]
    data["couple_prompts"] = (cells, np.array(needed, float).reshape(shape))
    data["couple_expected"] = (cells, np.array(expected, np.int8).reshape(shape))
    data["couple_why"] = (cells, np.array(why, object).reshape(shape))
    for key in ("first", "second", "equal"):
        data[f"couple_{key}"] = ("couple", np.array([getattr(each, key) for each in told], object))
    for key in ("first", "second"):
        found_titles = [REFERENCES[getattr(each, key)][1].title for each in told]
        data[f"couple_{key}_title"] = ("couple", np.array(found_titles, object))
    return xarray.Dataset(data, {"hypothesis": list(KEYS), "rival": list(KEYS), "by": columns, "probe": probes})


def power_table(name: str, dataset: "xarray.Dataset") -> Table:
    """The separations of one subject for a terminal, a line per ordered pair."""
    title = f"{name}: {dataset.attrs['task']}, depth {dataset.attrs['depth']}"
    table = Table(title=Text(title, style="table.title"), title_justify="left")
    for column in ("if it is", "could it be", "nats apart", "told apart by (prompts needed)"):
        table.add_column(column)
    for first in KEYS:
        for second in KEYS:
            row = dataset.sel(hypothesis=first, rival=second)
            reference, disguise = str(row["reference"].values), str(row["disguise"].values)
            if not reference:
                continue
            by = [(float(v), str(n)) for v, n in zip(row["prompts"].values, row["by"].values, strict=True)]
            best = sorted((value, label) for value, label in by if np.isfinite(value))[:3]
            told = ", ".join(f"{label.replace('_', ' ')} ({np.ceil(value):.0f})" for value, label in best)
            equal = str(row["equal"].values)
            says = (
                f"the same function: {equal}"
                if row["proven"].values
                else told or f"nothing, by {dataset.attrs['looked_at']} prompts"
            )
            if equal and not row["proven"].values:
                says = f"not by answers ({equal}); {told or 'nothing else here'}"
            own, other = REFERENCES[reference][1].title, REFERENCES[disguise][1].title
            table.add_row(f"{first} {own}", f"{second} {other}", f"{float(row['nats'].values):.3g}", says)
    return table
