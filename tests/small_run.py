"""A small run, as data and as a file."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

SMALL: dict[str, Any] = {
    "name": "small",
    "subjects": {
        "a": {
            "task": {"kind": "linear_regression", "dimension": 2, "examples": 4, "noise": 0.5},
            "format": "interleaved",
            "model": {"layers": 1, "heads": 2, "width": 8},
            "training": {"steps": 40, "batch": 8, "chunk": 10, "learning_rate": 0.001},
            "ensemble": {"seeds": 2},
        }
    },
    "judge": {"prompts": 8, "calibration": 8, "snapshots": 4},
}


@pytest.fixture
def small() -> dict[str, Any]:
    """The configuration as plain data, to be changed."""
    return copy.deepcopy(SMALL)


@pytest.fixture
def write(tmp_path: Path):
    """Write data (or text) as a configuration file."""

    def written(content: Any, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return path

    return written
