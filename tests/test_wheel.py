"""The wheel: configurations and experiment scripts are in it and are found from any folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds the unpacked wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_configuration_and_script(installed):
    for folder in ("configs", "experiments"):
        ours = {file.relative_to(ROOT / folder) for file in (ROOT / folder).rglob("*.*") if file.suffix != ".pyc"}
        shipped = installed / "icl_lab" / "_shipped" / folder
        assert {file.relative_to(shipped) for file in shipped.rglob("*.*")} == ours


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("list experiments", "\nrecency "),
        ("run quickstart --help", "--subjects.softmax.training.steps"),
        ("run recency/quick --help", "--subjects.uniform.training.steps"),
        ("experiments recency --help", "Salvatore et al. 2025"),
    ],
)
def test_commands_of_the_wheel_work_in_an_empty_folder(installed, tmp_path, command, words):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    arguments = [sys.executable, "-m", "icl_lab", *command.split()]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
