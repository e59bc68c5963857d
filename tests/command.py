"""What tests of the command line share: a small configuration, and a command run in this process."""

import contextlib
import io
from pathlib import Path
from typing import Any

import yaml

from icl_lab import cli

CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 0,
    "subjects": {
        "a": {
            "task": {"kind": "linear_regression", "dimension": 2, "examples": 4, "noise": 0.5, "pool": 8},
            "format": "interleaved",
            "model": {"layers": 1, "heads": 2, "width": 8, "mask": "causal"},
            "training": {"steps": 20, "batch": 8, "learning_rate": 0.001, "clip": 1.0},
            "ensemble": {"seeds": 2, "pool": [4, 8]},
        }
    },
    "judge": {
        "prompts": 8,
        "snapshots": 2,
        **dict.fromkeys(("planted", "mechanism", "maps", "battery", "stress"), False),
    },
}


class ExecutedError(Exception):
    """Raised in place of a run, with its configuration."""


def instead_of_a_run(config, output, **_):
    raise ExecutedError(config)


def main(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def refused(result: tuple[int, str, str], *words: str) -> None:
    """Exit code 2 and one line with these words."""
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.startswith("icl-lab: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for word in words:
        assert word in err


def write(folder: Path, config: dict[str, Any] = CONFIG) -> Path:
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file
