"""Every notebook runs from its first cell to its last, and is the notebook of its text file."""

import os
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
SECONDS = 180  # of one cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_text_file_has_the_same_cells(path):
    stored, text = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in stored.cells] == [(c.cell_type, c.source) for c in text.cells]
    assert any(cell.get("outputs") for cell in stored.cells)  # a reader sees results without running it


@pytest.mark.parametrize("briefly", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, briefly, tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "MPLBACKEND", "agg")
    notebook = nbformat.read(path, as_version=4)
    if briefly:
        for cell in notebook.cells:
            cell.source = shorter(cell.source)
    else:  # it trains: as fast as for a reader
        monkeypatch.setitem(os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()


def shorter(source: str) -> str:
    """Divide the lengths of trainings by fifty."""
    return re.sub(r'((?:steps|warmup|chunk)"?[=:] ?)(\d{3,})', lambda found: f"{found[1]}{int(found[2]) // 50}", source)


def test_trainings_are_found_in_the_notebooks():
    texts = [path.with_suffix(".py").read_text(encoding="utf-8") for path in NOTEBOOKS]
    assert [shorter(text) != text for text in texts] == [True, True, False, True]


def test_there_are_notebooks_and_each_has_its_text():
    assert [path.stem for path in NOTEBOOKS] == sorted(p.stem for p in NOTEBOOKS[0].parent.glob("*.py"))
