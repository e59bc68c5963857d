"""The command line. Thin: every command imports what it needs when it runs, so that --help answers at once."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from icl_lab.commands.ends import ended, showing
from icl_lab.core.errors import InputError, Parser

RUN_HELP = """usage: icl-lab run CONFIG [--output DIRECTORY] [--SETTING VALUE ...]

Train, judge and report what the YAML file CONFIG describes; resume the run if it was stopped, reuse it if it is done.
A run lives in DIRECTORY/NAME-HASH (default: runs/), named by its resolved configuration.

Every setting of the file is an option too, such as --subjects.a.training.steps 200;
icl-lab run CONFIG --help lists them with their values.

A training is saved every ICL_LAB_CHECKPOINT_SECONDS (an environment variable, default 20). Compiled programs are kept
in $XDG_CACHE_HOME/icl_lab/compiled (default ~/.cache), which may be deleted at any time."""
FILE_WIDTH = 120
RESUMED = ("run", "calibrate")  # what is interrupted goes on when the command is given again
LISTED = ("tasks", "learners", "hypotheses", "probes", "stress", "sites", "experiments")


def _parser() -> Parser:
    parser = Parser(prog="icl-lab", description="Which explanation of in-context learning holds for a trained model?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, add_help: bool = True) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False, add_help=add_help)

    command("run", "train, judge and report a configuration; resume or reuse what is there", add_help=False)
    report = command("report", "draw the figures and the page of a finished run again")
    report.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    stress = command("stress", "change the prompts of a finished run's networks: bias, mismatch, what moved")
    stress.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    stress.add_argument(
        "--only", nargs="+", default=(), metavar="NAME", help="some of `icl-lab list stress` (default: all)"
    )
    verify = command("verify", "check closed forms and constructions, one line each; exit 1 if one fails")
    verify.add_argument("--dimension", type=int, default=5, help="d of the one-layer minimum to check (default: 5)")
    verify.add_argument("--examples", type=int, default=20, help="N of it (default: 20)")
    verify.add_argument("--noise-variance", type=float, default=0.0, help="σ² of it (default: 0)")
    listing = command("list", "show what there is")
    listing.add_argument("what", choices=LISTED, metavar="|".join(LISTED), help="what to show")
    power = command("power", "before training: which hypotheses a configuration can separate, by what, at what cost")
    power.add_argument("config", type=Path, metavar="CONFIG", help="such as configs/quickstart.yaml")
    power.add_argument("--prompts", type=int, default=256, help="prompts per regime to extrapolate from (default: 256)")
    power.add_argument("--output", type=Path, default=Path("runs"), help="where run directories are (default: runs)")
    judge = command("judge", "the scoreboard for a learner of your own: answer(x, y), numpy in and numpy out")
    judge.add_argument("learner", metavar="MODULE:CALLABLE", help="such as my_model:answer; this folder counts")
    judge.add_argument("--config", type=Path, metavar="CONFIG", help="judge it on the task of a subject of this file")
    judge.add_argument("--subject", metavar="NAME", help="which subject's task (default: the first)")
    judge.add_argument("--task", metavar="NAME", help="instead of --config: linear_regression (the default), …")
    judge.add_argument("--prompts", type=int, default=512, help="prompts per regime (default: 512)")
    judge.add_argument("--no-battery", action="store_true", help="leave out the behavioural probes, for slow learners")
    judge.add_argument("--output", type=Path, default=Path("runs"), help="where run directories are (default: runs)")
    calibrate = command(
        "calibrate", "judge learners whose function is known: confusion matrix, identification, false claims"
    )
    calibrate.add_argument(
        "--task", action="append", metavar="NAME", help="one family (default: all three); may be repeated"
    )
    calibrate.add_argument("--draws", type=int, default=4, help="planted learners per reference (default: 4)")
    calibrate.add_argument("--prompts", type=int, default=256, help="prompts per regime (default: 256)")
    calibrate.add_argument(
        "--distilled", type=int, default=3, help="networks trained per kind, whose function is known (default: 3)"
    )
    calibrate.add_argument(
        "--patience", type=int, default=1, help="times the half minute that a student is trained for (default: 1)"
    )
    calibrate.add_argument(
        "--mechanisms", type=int, default=4, help="draws per hand-built transformer, to judge mechanisms (default: 4)"
    )
    calibrate.add_argument(
        "--seed", type=int, default=7000, help="of prompts, pools, parameters, noise (default: 7000)"
    )
    calibrate.add_argument(
        "--output", type=Path, default=Path("runs"), help="where run directories are (default: runs)"
    )
    command("bench", "measure speed: ratios within this one run")
    task = command("new-task", "write a task file with its test and configuration, ready to edit and to run")
    task.add_argument("name", metavar="NAME", help="a Python identifier, such as noisy_parity")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 done; 1 a check failed; 2 bad input, said in one line; 130 interrupted; 141 nobody reads what is printed.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    return ended("icl-lab", lambda: _dispatch(given), resumes=bool(given) and given[0] in RESUMED)


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["run"]:
        return _run(arguments[1:])
    given, rest = _parser().parse_known_args(arguments)
    if rest:
        raise InputError(f"{rest[0]}: not an option of icl-lab {given.command}; see icl-lab {given.command} --help")
    if given.command not in ("list", "new-task"):
        from icl_lab.commands.environment import prepare_jax

        prepare_jax()
    match given.command:
        case "report":
            return _report(given.run)
        case "stress":
            return _stress(given.run, given.only)
        case "verify":
            return _verify(given.dimension, given.examples, given.noise_variance)
        case "calibrate":
            return _calibrate(given)
        case "power":
            return _power(given)
        case "judge":
            return _judge(given)
        case "list":
            from icl_lab.commands.listings import show

            with showing():
                show(given.what)
            return 0
        case "bench":
            return _bench()
        case _:
            from icl_lab.commands.new_task import new_task

            return new_task(given.name, Path.cwd())


def _run(words: list[str]) -> int:
    parser = Parser(prog="icl-lab run", allow_abbrev=False, add_help=False)
    parser.add_argument("--output", type=Path, default=Path("runs"))
    parser.add_argument("-h", "--help", action="store_true")
    given, rest = parser.parse_known_args(words)
    if not rest or rest[0].startswith("--"):  # the value of a setting would be taken for CONFIG
        if given.help:
            print(RUN_HELP)
            return 0
        what = f"comes before {rest[0].partition('=')[0]}" if rest else "is missing"
        raise InputError(f"run: CONFIG {what}; give a file such as configs/quickstart.yaml")
    from icl_lab.commands.environment import prepare_jax

    if not given.help:
        prepare_jax()
    from icl_lab.config.config import load_config

    resolved = load_config(Path(rest[0]), [*rest[1:], *(["--help"] if given.help else [])])
    from icl_lab.commands.run import execute
    from icl_lab.core.claims import failed
    from icl_lab.store.claims import read_claims

    directory = execute(resolved, given.output, say=lambda line: print(line, file=sys.stderr))
    _show_report(directory.path, draw=not directory.report_is_current)
    return 1 if failed(read_claims(directory.claims_file)) else 0


def _report(path: Path) -> int:
    from icl_lab.config.yaml_file import read_yaml
    from icl_lab.store.directory import RunDirectory

    directory = RunDirectory.open(path)
    if "judge" not in read_yaml(directory.config_file):
        raise InputError(f"{path}: a calibration or a power analysis, whose own command draws its page; give a run")
    _show_report(directory.path, draw=True)
    return 0


def _stress(path: Path, only: Sequence[str]) -> int:
    from icl_lab.commands.stress import stress_run
    from icl_lab.config.yaml_file import read_yaml
    from icl_lab.core.errors import nearest
    from icl_lab.store.directory import RunDirectory
    from icl_lab.stress.perturbations import PERTURBATIONS

    for name in only:
        if name not in PERTURBATIONS:
            raise InputError(
                f"--only: {name!r} is no stress test; {nearest(name, list(PERTURBATIONS), 'stress tests')}"
            )
    directory = RunDirectory.open(path)
    if not {"subjects", "judge"} <= read_yaml(directory.config_file).keys():
        raise InputError(
            f"{path}: a judge's, a calibration's or a power analysis's, without trained networks; give a run"
        )
    stress_run(directory, only, say=lambda line: print(line, file=sys.stderr))
    _show_report(directory.path, draw=True)
    return 0


def _show_report(path: Path, draw: bool) -> None:
    """Scoreboard, claims, and the path of the page, drawn from the stored results alone."""
    from rich.console import Console

    from icl_lab import report
    from icl_lab.commands.show import claims_table
    from icl_lab.store.claims import read_claims
    from icl_lab.store.directory import RunDirectory, writing
    from icl_lab.store.results import check_results

    directory, console = RunDirectory(path), Console()
    if not console.is_terminal:  # a file or a pipe has no width: take what the tables need
        console = Console(width=FILE_WIDTH)
    check_results(directory)
    claims = read_claims(directory.claims_file)
    if draw:
        with writing(directory.path):
            report.build(directory.path)
    with showing():
        console.print(report.scoreboard_table(directory.path))
        if claims:
            console.print(claims_table(claims))
        print(f"report: {directory.report_file}")


def _verify(dimension: int, examples: int, noise_variance: float) -> int:
    if not 0 <= noise_variance < float("inf"):
        raise InputError(f"--noise-variance: {noise_variance} should be at least 0 and finite")
    from icl_lab import verify
    from icl_lab.commands.show import line
    from icl_lab.core.claims import failed

    claims = verify.run(dimension, examples, noise_variance)
    with showing():
        for claim in claims:
            print(line(claim))
    return 1 if failed(claims) else 0


def _judge(given: argparse.Namespace) -> int:
    from icl_lab.calibration.families import FAMILIES
    from icl_lab.config.config import JudgeConfig, load_config
    from icl_lab.config.named import first_task
    from icl_lab.core.errors import nearest

    if given.prompts < 8:
        raise InputError(f"--prompts: {given.prompts} is too small; it must be at least 8")
    if given.config and given.task:
        raise InputError(f"--task: {given.task!r} and --config exclude one another; give one of them")
    if given.config:
        config = load_config(given.config)
        name = given.subject or next(iter(config.subjects))
        if name not in config.subjects:
            raise InputError(
                f"--subject: {name!r} is not in {given.config}; {nearest(name, list(config.subjects), 'subjects')}"
            )
        task = config.subjects[name].members(config.seed)[0].member.task
        described = first_task(config, name)
    else:
        name = given.task or "linear_regression"
        if given.subject:
            raise InputError(f"--subject: {given.subject!r} has no effect without --config")
        if name not in FAMILIES:
            raise InputError(f"--task: {name!r} is not known; {nearest(name, list(FAMILIES), 'tasks')}")
        task, described = FAMILIES[name](0), {"family": name}
    from icl_lab.commands.judge import judge_outside

    settings = JudgeConfig.checked(prompts=given.prompts, calibration=given.prompts, battery=not given.no_battery)
    directory = judge_outside(
        given.learner, task, described, settings, given.output, say=lambda line: print(line, file=sys.stderr)
    )
    _show_report(directory.path, draw=not directory.report_is_current)
    return 0


def _power(given: argparse.Namespace) -> int:
    from icl_lab.config.config import load_config

    if given.prompts < 8:
        raise InputError(f"--prompts: {given.prompts} is too small; it must be at least 8")
    config = load_config(given.config)
    from rich.console import Console

    from icl_lab.commands.power import power, power_table
    from icl_lab.commands.show import claims_table
    from icl_lab.core.claims import failed
    from icl_lab.report.pages.power import build
    from icl_lab.store.claims import read_claims
    from icl_lab.store.directory import writing
    from icl_lab.store.results import read_results

    directory = power(config, given.prompts, given.output, say=lambda line: print(line, file=sys.stderr))
    groups, _ = read_results(directory)
    console = Console()
    console = console if console.is_terminal else Console(width=FILE_WIDTH)
    claims = read_claims(directory.claims_file)
    with writing(directory.path):
        page = build(directory.path)
    with showing():
        for name, dataset in groups.items():
            console.print(power_table(name, dataset))
        if claims:
            console.print(claims_table(claims))
        print(f"report: {page}")
    return 1 if failed(claims) else 0


def _calibrate(given: argparse.Namespace) -> int:
    from icl_lab.calibration.families import FAMILIES
    from icl_lab.core.errors import nearest

    for name, least in (
        ("draws", 1),
        ("prompts", 8),
        ("seed", 0),
        ("distilled", 0),
        ("patience", 1),
        ("mechanisms", 0),
    ):
        if getattr(given, name) < least:
            raise InputError(f"--{name}: {getattr(given, name)} is too small; it must be at least {least}")
    for name in given.task or ():
        if name not in FAMILIES:
            end = nearest(name, list(FAMILIES), "families")
            raise InputError(f"--task: {name!r} is no family that is calibrated; {end}")
    from rich.console import Console

    from icl_lab.commands.calibrate import CalibrationConfig, calibrate
    from icl_lab.commands.show import claims_table
    from icl_lab.core.claims import failed
    from icl_lab.report.pages.calibration import build
    from icl_lab.report.text.calibration_table import calibration_tables
    from icl_lab.store.claims import read_claims
    from icl_lab.store.directory import writing
    from icl_lab.store.results import check_results

    families = tuple(dict.fromkeys(given.task or FAMILIES))
    chosen = {
        name: getattr(given, name) for name in ("draws", "prompts", "seed", "distilled", "patience", "mechanisms")
    }
    config = CalibrationConfig.checked(families=families, **chosen)
    directory = calibrate(config, given.output, say=lambda line: print(line, file=sys.stderr))
    check_results(directory)
    with writing(directory.path):
        page = build(directory.path)
    claims = read_claims(directory.claims_file)
    console = Console()
    console = console if console.is_terminal else Console(width=FILE_WIDTH)
    with showing():
        for table in calibration_tables(directory.path):
            console.print(table)
        console.print(claims_table(claims))
        print(f"report: {page}")
    return 1 if failed(claims) else 0


def _bench() -> int:
    from icl_lab.commands import bench

    return bench.run()
