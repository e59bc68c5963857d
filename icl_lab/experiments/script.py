"""What every experiment script shares: presets, options, resumable run directory, claims as file, table, exit code.

A script `experiments/NAME.py` is a docstring (claim, source, expected numbers, wall time) and a function that measures
trained subjects and returns claims. Its presets are `configs/NAME/PRESET.yaml`, ordinary run configurations.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from icl_lab.commands.ends import Parser, ended, showing
from icl_lab.commands.environment import prepare_jax
from icl_lab.commands.show import claims_table
from icl_lab.commands.train import TrainedSubject, train_subjects
from icl_lab.config.config import RunConfig, load_config
from icl_lab.core.claims import OWN, REPORT, Claim, Gate, claim, failed
from icl_lab.core.errors import InputError
from icl_lab.store.claims import update_claims
from icl_lab.store.directory import RunDirectory

FILE_WIDTH = 160
Subjects = dict[str, TrainedSubject]
Measure = Callable[[RunConfig, Subjects, RunDirectory], list[Claim]]


def run_experiment(script: str, measure: Measure, arguments: Sequence[str] | None = None) -> int:
    """Train (or resume, or load) the subjects of a preset, measure them, write claims.json, print its table.

    Args:
        script: the script's `__file__`; its docstring is shown by --help.
        measure: (configuration, trained subjects, run directory) → claims. May write figures into `directory.path`.
        arguments: PRESET (default quick), --output DIRECTORY, and any setting of the configuration as an option.

    Returns:
        0 if no claim with a gate failed, else 1; 2 for bad input, as `ended` says.
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
