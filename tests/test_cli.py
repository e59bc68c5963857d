"""The command line: exit codes, one line for everything that is wrong, and no traceback whatever the input."""

import contextlib
import copy
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import CONFIG, ExecutedError, instead_of_a_run, main, refused, write

from icl_lab.cli import _parser
from icl_lab.commands.calibrate import CalibrationConfig
from icl_lab.commands.ends import ended, showing
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import claim
from icl_lab.core.errors import RunError
from icl_lab.store.claims import write_claims
from icl_lab.store.directory import RunDirectory


@pytest.fixture
def no_run(monkeypatch):
    """`icl-lab run` stops where it would begin to write."""
    monkeypatch.setattr("icl_lab.commands.run.execute", instead_of_a_run)


def test_help_of_every_command_answers_without_jax():
    check = "import sys; from icl_lab import cli\ntry: cli.main(['--help'])\nfinally: print('jax' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "False"
    for command in ("run", "report", "verify", "list", "bench", "new-task"):
        assert command in found.stdout
        code, out, err = main(command, "--help")
        assert (code, err) == (0, "")
        assert "usage: icl-lab" in out


def test_every_core_is_a_device_when_training_begins(tmp_path):
    """Checking a configuration computes, and what has computed keeps the devices it has."""
    check = (
        "import sys, jax, icl_lab.commands.run as e, icl_lab.cli as cli\n"
        "e.execute = lambda *given, **named: sys.exit(f'devices: {jax.local_device_count()}')\n"
        f"cli.main(['run', {str(write(tmp_path, CONFIG))!r}])"
    )
    alone = {"JAX_PLATFORMS": "cpu", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=alone)
    assert found.stderr.splitlines()[-1] == f"devices: {min(os.cpu_count() or 1, 8)}"


def test_help_takes_less_than_half_a_second():
    def once() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "icl_lab", "--help"], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    assert min(once() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["rnu"], "invalid choice: 'rnu'"),
        (["run"], "CONFIG is missing"),
        (["run", "none.yaml"], "none.yaml: no such file"),
        (["run", "none"], "none: no such file; known configurations: boolean_rules/paper,"),
        (["run", "recency/quik"], "did you mean 'recency/quick'?"),
        (["report"], "RUN"),
        (["report", "none"], "none: no such directory"),
        (["report", ".", "--fast"], "--fast: not an option of icl-lab report"),
        (["list"], "required"),
        (["list", "taks"], "invalid choice: 'taks'"),
        (["new-task", "Not A Name"], "'Not A Name' should be a Python name"),
        (["new-task", "json"], "name of an installed module"),
        (["new-task", "gaussian"], "'gaussian' would hide Gaussian"),
        (["run", "--seed", "3", "configs/quickstart.yaml"], "CONFIG comes before --seed"),
        (["run", "--output", "x", "--judge.prompts", "8", "tiny.yaml"], "CONFIG comes before --judge.prompts"),
        (["judge", "a:b", "--task", "x"], "known tasks: linear_regression"),
        (["calibrate", "--task", "x"], "known families: linear_regression"),
        (["verify", "--dimension", "0"], "--dimension: 0 should be between 1 and"),
    ],
)
def test_wrong_usage_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(main(*arguments), words)
    assert list(tmp_path.iterdir()) == []


def test_options_reach_the_run(tmp_path, no_run):
    with pytest.raises(ExecutedError) as begun:
        main("run", write(tmp_path), "--subjects.a.training.steps", 7, "--output", tmp_path / "o", "--seed=3")
    config = begun.value.args[0]
    assert (config.subjects["a"].build_training().steps, config.seed) == (7, 3)
    refused(main("run", write(tmp_path), "--subjects.a.model.heads", 3), "subjects.a.model.heads: 3 does not divide")


def test_a_shipped_configuration_is_run_by_its_name(tmp_path, monkeypatch, no_run):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExecutedError) as begun:
        main("run", "quickstart", "--judge.prompts", 8)
    assert (begun.value.args[0].name, begun.value.args[0].judge.prompts) == ("quickstart", 8)
    write(tmp_path).rename("quickstart")  # a file of that name comes first
    with pytest.raises(ExecutedError) as begun:
        main("run", "quickstart")
    assert begun.value.args[0].name == CONFIG["name"]


def test_run_help_lists_the_settings(tmp_path):
    code, out, err = main("run", write(tmp_path), "--help")
    assert (code, err) == (0, "")
    assert "--subjects.a.training.steps" in out


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    refused(
        main("run", write(tmp_path), "--output", tmp_path / "file" / "below"), "cannot be written (Not a directory)"
    )
    if os.getuid():  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        refused(main("run", write(tmp_path), "--output", tmp_path / "closed"), "Permission denied")


def finished(folder: Path) -> RunDirectory:
    """A run directory that says it is done, with results."""
    directory = RunDirectory.create(RunConfig.model_validate(CONFIG), folder)
    directory.results_file.write_bytes(b"results")
    directory.expect_results(directory.results_file)
    write_claims(directory.claims_file, [])
    directory.finish()
    return directory


@pytest.mark.parametrize("command", ["run", "report"])
def test_corrupt_results_are_said_and_nothing_is_lost(tmp_path, command):
    directory = finished(tmp_path)
    directory.results_file.write_bytes(b"resulTs")
    before = sorted(tmp_path.rglob("*"))
    arguments = ["run", write(tmp_path), "--output", tmp_path] if command == "run" else ["report", directory.path]
    code, _, err = main(*arguments)
    assert code == 2
    assert [line for line in err.splitlines() if "reusing" not in line] == [
        f"icl-lab: {directory.results_file}: damaged, it is not what the run wrote (nothing was deleted); "
        "move it away and run the configuration again"
    ]
    assert set(before) <= set(tmp_path.rglob("*"))
    assert directory.results_file.read_bytes() == b"resulTs"


def test_the_page_of_a_calibration_is_not_drawn_over(tmp_path):
    for text in ("families: [markov_chain]\n", "subjects: {a: {}}\nprompts: 8\n"):
        (tmp_path / "config.yaml").write_text(text)
        refused(main("report", tmp_path), "a calibration or a power analysis, whose own command draws its page; give a")
        refused(main("stress", tmp_path), "without trained networks; give a run")
    (tmp_path / "config.yaml").write_text("learner: m:f\njudge: {}\n")
    refused(main("stress", tmp_path), "without trained networks; give a run")
    assert not (tmp_path / "report.html").exists()


def test_a_run_that_is_not_finished_has_no_report(tmp_path):
    directory = RunDirectory.create(RunConfig.model_validate(CONFIG), tmp_path)
    refused(main("report", directory.path), "no results there; run the configuration again")


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (RunError("a: the loss is not finite\nat step 3"), 1, "icl-lab: a: the loss is not finite at step 3\n"),
        (KeyboardInterrupt(), 130, "icl-lab: interrupted; the same command goes on from what is stored\n"),
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space left on device", "x.nc"), 2, "icl-lab: x.nc: No space left on device"),
    ],
)
def test_what_ends_a_run_decides_the_exit_code(tmp_path, monkeypatch, raised, code, line):
    def stop(*_, **__):
        raise raised

    monkeypatch.setattr("icl_lab.commands.run.execute", stop)
    found, out, err = main("run", write(tmp_path))
    assert (found, out) == (code, "")
    assert err.startswith(line)
    assert err.count("\n") == bool(line)


def test_an_interrupted_command_goes_on_where_it_can(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("icl_lab.verify.run", stop)
    assert main("verify") == (130, "", "icl-lab: interrupted; the same command begins again\n")


def test_who_stops_reading_what_is_shown_changes_no_exit_code():
    def show():
        with showing():
            raise BrokenPipeError
        return 1

    assert ended("x", show) == 1


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr("icl_lab.commands.run.execute", stop)
    with pytest.raises(OSError, match="Bad file descriptor"):
        main("run", write(tmp_path))


def test_a_calibration_without_options_is_that_of_the_configuration():
    given, fields = _parser().parse_args(["calibrate"]), CalibrationConfig.model_fields
    for name in ("draws", "prompts", "seed", "distilled", "patience", "mechanisms"):
        assert getattr(given, name) == fields[name].default


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("tasks", "linear_regression"),
        ("learners", "nadaraya_watson"),
        ("hypotheses", "H5"),
        ("probes", "label_influence"),
        ("sites", "LAYER.resid_post"),
        ("stress", "order"),
    ],
)
def test_lists_show_the_tables(what, row):
    code, out, err = main("list", what)
    assert (code, err) == (0, "")
    assert any(line.startswith(row) for line in out.splitlines())


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m icl_lab list learners | head -n 1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("\n") == 1


def test_experiments_are_listed_with_their_first_line(tmp_path, monkeypatch):
    monkeypatch.setattr("icl_lab.config.shipped.shipped", lambda folder: tmp_path)
    (tmp_path / "one.py").write_text('"""A1: one layer, one step.\n\nMore."""\nraise SystemExit("ran")\n')
    assert main("list", "experiments") == (0, "one  A1: one layer, one step.\n", "")


def test_a_new_task_passes_its_own_test_and_its_configuration_is_valid(tmp_path, monkeypatch, no_run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    code, out, _ = main("new-task", "wavy_line")
    assert code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_wavy_line.py", "wavy_line.py", "wavy_line.yaml"]
    assert all(name in out for name in ("test_wavy_line.py", "wavy_line.py", "wavy_line.yaml"))
    with pytest.raises(ExecutedError) as begun:
        main("run", "wavy_line.yaml")
    assert type(begun.value.args[0].subjects["transformer"].build_task()).__name__ == "WavyLine"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_wavy_line.py"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
    refused(main("new-task", "wavy_line"), "wavy_line.py: exists already")


def test_the_compilation_cache_is_its_owners_alone(tmp_path, monkeypatch):
    from icl_lab.commands.environment import cache_directory

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    directory = cache_directory()
    assert directory == tmp_path / "icl_lab" / "compiled"
    directory.chmod(0o777)
    assert cache_directory() == directory
    assert directory.stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_directory() is None

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_directory() is None


@pytest.mark.parametrize(("holds", "code", "word"), [(True, 0, "pass"), (False, 1, "FAIL")])
def test_verify_prints_a_line_per_claim_and_fails_with_any(monkeypatch, holds, code, word):
    asked = []

    def run(*setting):
        asked.append(setting)
        return [claim("A3", "one layer", "equals", 0.5, 0.5238, tolerance=0.1 if holds else 0.01, gate="exact")]

    monkeypatch.setattr("icl_lab.verify.run", run)
    arguments = ["--dimension", 10, "--examples", 10, "--noise-variance", 0.25]
    assert main("verify", *arguments) == (
        code,
        f"{word}  one layer: 0.5 (expected 0.5238 ± {0.1 if holds else 0.01})\n",
        "",
    )
    assert asked == [(10, 10, 0.25)]
    refused(main("verify", "--noise-variance", -1), "--noise-variance: -1.0 should be at least 0")
    refused(main("verify", "--examples", "many"), "--examples", "'many'")


@pytest.mark.slow
def test_ten_kills_of_a_whole_run_end_in_the_same_results(tmp_path):
    """At any moment: while training, judging, or writing results. The next start goes on, and the end is the same."""
    import random

    import numpy as np

    from icl_lab.store.results import read_results

    config = copy.deepcopy(CONFIG)
    config["subjects"]["a"]["training"] |= {"steps": 300, "chunk": 10}
    config["judge"] |= {"prompts": 16, "calibration": 16, "bootstrap": 10}
    file = write(tmp_path, config)
    environment = os.environ | {"ICL_LAB_CHECKPOINT_SECONDS": "0"}

    def start(output: Path) -> subprocess.Popen:
        command = [sys.executable, "-m", "icl_lab", "run", str(file), "--output", str(output)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def whole(output: Path) -> float:
        begun = time.monotonic()
        assert start(output).wait(timeout=900) in (0, 1)  # 1: a claim failed, as it may after so short a training
        return time.monotonic() - begun

    whole(tmp_path / "compiles")
    seconds, chance, kills = whole(tmp_path / "undisturbed"), random.Random(2), 0
    while kills < 10:
        process = start(tmp_path / "killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.1, 0.9) * seconds)
        process.kill()
        kills += process.wait() == -9
        if process.returncode != -9:  # done before its time: begin another run to kill
            (tmp_path / "killed").rename(tmp_path / f"done after {kills}")
    whole(tmp_path / "killed")
    found, expected = (
        read_results(RunDirectory.of(RunConfig.model_validate(config), tmp_path / name))[0]["a"]
        for name in ("killed", "undisturbed")
    )
    assert set(found.variables) == set(expected.variables)
    for name in found.variables:
        if found[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
