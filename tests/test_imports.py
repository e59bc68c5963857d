"""Imports go downward only, and the rooms of the science are pure: found by walking syntax trees, without importing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "icl_lab"

# Who may import whom. A room may always import itself; every file or folder of the package is in one of these rows.
BELOW: dict[str, set[str]] = {"core": set(), "tasks": {"core"}, "formats": {"core"}, "models": {"core"}}
BELOW["learners"] = {"core", "tasks", "formats", "models"}
BELOW["training"] = BELOW["learners"] | {"learners"}
BELOW["probes"] = BELOW["learners"] | {"learners"}
BELOW["stress"] = BELOW["probes"] | {"probes"}
BELOW["mechanisms"] = BELOW["probes"] | {"probes"}
BELOW["hypotheses"] = BELOW["learners"] | {"learners"}
BELOW["judging"] = BELOW["mechanisms"] | {"mechanisms", "hypotheses"}
BELOW["calibration"] = BELOW["judging"] | {"judging", "training", "store"}
BELOW["analysis"] = BELOW["judging"] | {"judging", "stress", "calibration"}
BELOW["config"] = BELOW["analysis"] | {"training"}
BELOW["store"] = {"core", "models", "config"}
BELOW["commands"] = BELOW["config"] | {"config", "store", "analysis"}
BELOW["experiments"] = BELOW["commands"] | {"commands", "report"}
BELOW["report"] = {"core"}
COMMANDS = ("cli", "__main__", "__init__", "verify")
PURE = (
    *("core", "tasks", "formats", "models", "learners", "training", "probes", "stress", "mechanisms", "hypotheses"),
    *("judging", "calibration", "analysis"),
)
WRITES = ("core/files.py",)  # how files are written is core, what is written is not
# What reaches the disk, the screen, the clock or hidden state.
IMPURE_MODULES = {
    *("glob", "io", "logging", "matplotlib", "netCDF4", "orbax", "os", "pathlib", "pickle", "random", "rich"),
    *("safetensors", "shutil", "socket", "subprocess", "sys", "tempfile", "time", "ruamel", "yaml"),
}
IMPURE_CALLS = {"print", "open", "input"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of everything a module imports, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "a relative import"
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: Path) -> Iterator[tuple[str, Path]]:
    """(room, file) of every file of the package."""
    for file in sorted(package.rglob("*.py")):
        yield file.relative_to(package).parts[0].removesuffix(".py"), file


def upward(package: Path) -> list[str]:
    """Every import that goes sideways or up, and every file in no known room."""
    found = []
    for room, file in files(package):
        if room in COMMANDS:
            continue
        if room not in BELOW:
            found.append(f"{file.name}: in no room of the table")
            continue
        for name in imported(ast.parse(file.read_text(encoding="utf-8"))):
            ours, _, rest = name.partition(".")
            allowed = ours != "icl_lab" or rest.split(".")[0] in BELOW[room] | {room}
            if name == "a relative import" or not allowed:
                found.append(f"{room}/{file.name}: {name}")
    return found


def impure(package: Path) -> list[str]:
    """Every import and call in the rooms of the science that touches the world outside."""
    found = []
    for room, file in files(package):
        if room not in PURE or f"{room}/{file.name}" in WRITES:
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found += [f"{room}/{file.name}: {name}" for name in imported(tree) if name.split(".")[0] in IMPURE_MODULES]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                found.append(f"{room}/{file.name}:{node.lineno}: {node.func.id}()")
    return found


def test_imports_go_downward_only():
    assert upward(PACKAGE) == []


def test_rooms_of_the_science_are_pure():
    assert impure(PACKAGE) == []


def test_there_is_something_to_check():
    assert {room for room, _ in files(PACKAGE)} >= {"core", "tasks", "models", "store", "cli"}


@pytest.mark.parametrize(
    ("room", "line", "check"),
    [
        ("tasks", "from icl_lab.models import Model", upward),
        ("tasks", "import icl_lab.training.loop", upward),
        ("learners", "def late():\n    from icl_lab.config.config import RunConfig", upward),
        ("models", "from ..tasks import Task", upward),
        ("report", "from icl_lab.judging import judge", upward),
        ("shed", "", upward),
        ("tasks", "import os", impure),
        ("training", "def log(loss):\n    print(loss)", impure),
        ("probes", "from pathlib import Path", impure),
    ],
)
def test_the_walk_finds_what_is_forbidden(tmp_path, room, line, check):
    folder = tmp_path / "icl_lab" / room
    folder.mkdir(parents=True)
    (folder / "file.py").write_text(line)
    assert len(check(tmp_path / "icl_lab")) == 1
