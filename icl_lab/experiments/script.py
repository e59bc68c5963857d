"""Running an experiment script: its presets, options, run directory, claims, figures, and how it ends.

Presets of `experiments/NAME.py` are `configs/NAME/PRESET.yaml`, ordinary run configurations.
"""

import argparse
import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icl_lab.commands.ends import ended, showing
from icl_lab.commands.environment import prepare_jax, surroundings
from icl_lab.commands.show import claims_table
from icl_lab.commands.train import TrainedSubject, train_subjects
from icl_lab.config.config import RunConfig, load_config
from icl_lab.core.claims import OWN, REPORT, Claim, Gate, claim, failed
from icl_lab.core.errors import InputError, Parser
from icl_lab.experiments.experiment import Experiment, measure_all
from icl_lab.store.claims import update_claims
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import read_results, write_results

if TYPE_CHECKING:
    import xarray

FILE_WIDTH = 160  # columns of a table written to a file
MEASURED = "measured_"  # groups of results.nc that hold what an experiment measured, one per subject
Subjects = dict[str, TrainedSubject]
Measure = Callable[[RunConfig, Subjects, RunDirectory], list[Claim]]


def run(script: str, experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Train the subjects of a preset (or resume, or load them), measure, store, claim and draw.

    Args:
        script: the script's `__file__`; its docstring is shown by --help.
        experiment: what to measure, claim and draw.
        arguments: PRESET (default quick), --output DIRECTORY, and any setting of the configuration as an option.

    Returns:
        0 if no claim with a gate failed, else 1; 2 for bad input, as `ended` says.
    """
    name = Path(script).stem

    def work(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
        found = measure_all(experiment, config, subjects, lambda line: print(f"{name}: {line}", file=sys.stderr))
        store(name, found, directory)
        stored = measured(directory)[1]
        draw(name, experiment, stored, directory)
        return claims_of(experiment, stored)

    return run_experiment(script, work, arguments)


def claims_of(experiment: Experiment, found: Mapping[str, "xarray.Dataset"]) -> list[Claim]:
    """Return the experiment's claims, each with a source."""
    return [dataclasses.replace(one, source=one.source or experiment.source) for one in experiment.claims(found)]


def store(name: str, found: Mapping[str, "xarray.Dataset"], directory: RunDirectory) -> None:
    """Add what an experiment measured to the run's results.nc."""
    groups = {MEASURED + subject: data.assign_attrs(experiment=name) for subject, data in found.items()}
    if directory.status()["state"] == "new":
        directory.set_status("trained")
    write_results(directory, groups, surroundings())


def measured(directory: RunDirectory) -> tuple[str, dict[str, "xarray.Dataset"]]:
    """Return the experiment that measured a run and what it measured on each subject; "" and {} if there is none."""
    groups, _ = read_results(directory)
    found = {name.removeprefix(MEASURED): data for name, data in groups.items() if name.startswith(MEASURED)}
    names = {str(data.attrs["experiment"]) for data in found.values()}
    return (names.pop() if names else ""), found


def draw(
    name: str, experiment: Experiment, found: Mapping[str, "xarray.Dataset"], directory: RunDirectory
) -> list[Path]:
    """Draw the experiment's figures from what was measured; return their files."""
    import matplotlib.pyplot as plt

    from icl_lab.report.experiments import save_figure, style

    with style():
        drawn = experiment.figure(found)
        figures = drawn if isinstance(drawn, Mapping) else {name: drawn}
        files = [save_figure(figure, directory.path / "figures", title) for title, figure in figures.items()]
        plt.close("all")
    return files


def redraw(directory: RunDirectory, scripts: Path) -> list[Path]:
    """Draw the figures of the experiment that measured a run anew, from its results alone; [] if there was none.

    Args:
        directory: of the run.
        scripts: folder of the experiment scripts.
    """
    name, found = measured(directory)
    return draw(name, load(scripts / f"{name}.py"), found, directory) if name else []


def load(script: Path) -> Experiment:
    """Return the `experiment` that a script declares.

    Raises:
        InputError: there is no such script, or it declares none.
    """
    if not script.is_file():
        raise InputError(f"{script}: no such experiment script")
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, "experiment", None)
    if not isinstance(found, Experiment):
        raise InputError(f"{script}: declares no `experiment`")
    return found


def run_experiment(script: str, measure: Measure, arguments: Sequence[str] | None = None) -> int:
    """Train (or resume, or load) the subjects of a preset, measure them, write claims.json, print its table.

    Args:
        script, arguments: see `run`.
        measure: (configuration, trained subjects, run directory) → claims.

    Returns:
        an exit code, see `run`.
    """
    path = Path(script)
    presets = path.resolve().parent.parent / "configs" / path.stem
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    options = Parser(prog=f"python experiments/{path.name}", allow_abbrev=False, add_help=False)
    options.add_argument("--output", type=Path, default=Path("runs"), help="where run directories are (default: runs)")
    parser = Parser(
        prog=options.prog,
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[options],
    )
    parser.add_argument("preset", nargs="?", help=f"one of {', '.join(known)} (default: quick)")

    def work() -> int:
        given, rest = options.parse_known_args(sys.argv[1:] if arguments is None else arguments)
        if {"-h", "--help"} & set(rest):
            parser.parse_args(["--help"])
        # What stands after a setting is its value, not the preset.
        preset = rest.pop(0) if rest and not rest[0].startswith("--") else "quick"
        if preset not in known:
            raise InputError(f"preset: {preset!r} is not known; choose one of {', '.join(known)}")
        prepare_jax()
        return _run(load_config(presets / f"{preset}.yaml", rest), given.output, measure)

    return ended(path.stem, work, resumes=True)


def _run(config: RunConfig, output: Path, measure: Measure) -> int:
    from rich.console import Console

    directory = RunDirectory.create(config, output)
    with directory.locked():
        subjects = train_subjects(config.subjects, directory, config.seed, config.judge.snapshots)
        claims = measure(config, subjects, directory)
        update_claims(directory.claims_file, claims)
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width: take what the table needs
        console = Console(width=FILE_WIDTH)
    with showing():
        console.print(claims_table(claims))
        console.print(f"claims: {directory.claims_file}", soft_wrap=True, highlight=False, markup=False, emoji=False)
    return 1 if failed(claims) else 0


def said(
    id: str, statement: str, source: str, expected: Any, tolerance: Any, measured: Any, holds: Any, gate: Gate
) -> Claim:
    """A claim whose result is words. To be replaced by the rules of `core.claims`."""
    number = isinstance(measured, int | float)
    return claim(
        id,
        statement,
        REPORT if holds is None else OWN,
        [measured] if number else (),
        source=source,
        gate=gate,
        labels=() if number else [measured],
        condition=" ± ".join(str(part) for part in (expected, tolerance) if part is not None),
        decided=() if holds is None else [holds],
    )


def members_claim(
    identifier: str,
    statement: str,
    source: str,
    expected: float | str | None,
    values: Sequence[Any],
    holds: Sequence[bool],
    tolerance: str | None = None,
    gate: Gate = "order",
    at_least: int | None = None,
) -> Claim:
    """A claim on every member of an ensemble. To be replaced by the rules of `core.claims`."""
    numbers = all(isinstance(value, int | float) for value in values)
    return claim(
        identifier,
        statement,
        OWN,
        values if numbers else (),
        source=source,
        gate=gate,
        labels=() if numbers else [str(value) for value in values],
        condition=" ± ".join(str(part) for part in (expected, tolerance) if part is not None),
        decided=holds,
        share=1.0 if at_least is None or not holds else at_least / len(holds),
    )
