"""A synthetic finished run, built once per test session."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic

from icl_lab.report.data import Run, load


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory that tests only read."""
    return synthetic.write(tmp_path_factory.mktemp("runs") / "quickstart-00000000")


@pytest.fixture(scope="session")
def run(stored: Path) -> Run:
    return load(stored)
