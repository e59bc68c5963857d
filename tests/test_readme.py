"""The README's code runs as printed, and its task is as short as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from icl_lab.config.config import load_config
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import judge_learner

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    assert len(found) == 1, f"one {language} block with {containing!r}"
    return found[0]


@pytest.fixture
def task_files(tmp_path, monkeypatch):
    (tmp_path / "sparse_regression.py").write_text(block("python", "class SparseRegression"))
    (tmp_path / "sparse_regression.yaml").write_text(block("yaml", "SparseRegression"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("sparse_regression", None)


def test_the_new_task_has_at_most_forty_lines():
    assert len(block("python", "class SparseRegression").splitlines()) <= 40


def test_the_new_task_is_judged(task_files):
    task = load_config("sparse_regression.yaml").subjects["transformer"].members()[0].member.task
    chosen = {name: REFERENCES[name] for name in ("pool_bayes", "ridge", "gd_1", "nearest_neighbour")}
    bank = build_bank(task, prompts=64, calibration=64, references=chosen)
    verdict, _ = judge_learner(bank, bank.predictions["pool_bayes"])
    assert verdict.supported == ("H1",)
    assert "gd_1" in verdict.rejected


@pytest.mark.slow  # it builds a full bank and runs the command: about a minute
def test_the_new_task_runs_from_the_command_line(task_files):
    options = ["--judge.prompts", "32", "--judge.calibration", "32", "--judge.snapshots", "2"]
    command = [sys.executable, "-m", "icl_lab", "run", "sparse_regression.yaml"]
    options += ["--subjects.transformer.training.steps", "20"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert "report.html" in done.stdout


@pytest.mark.slow  # it builds a full bank: about half a minute
def test_the_example_prints_what_the_readme_says():
    done = subprocess.run(
        [sys.executable, "-c", block("python", "judge_learner(bank, subject)")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[0] == ("supported ('ridge', 'population_bayes') ('H1', 'H2') ('H3', 'H4', 'H5')")
