"""The figures and page of a power analysis, drawn from its stored results alone."""

from __future__ import annotations

from pathlib import Path

from icl_lab.core.files import write_atomically
from icl_lab.report.data import load
from icl_lab.report.figures import power, telling
from icl_lab.report.figures.layout import styled
from icl_lab.report.pages.render import picture, write_page
from icl_lab.report.text.telling_table import markdown

FIGURES = {"power": power, "telling": telling}


def build(run_directory: Path) -> Path:
    """Draw two matrices per subject, write the page and the second matrices as one table in words, `telling.md`.

    Returns the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    subjects = []
    with styled():
        for subject in run.subjects:
            pictures = [
                picture(
                    directory / "figures",
                    f"{name}-{subject.name}",
                    lambda s=subject, f=figure: f.draw(s.data, s.title),
                    figure.READING,
                )
                for name, figure in FIGURES.items()
            ]
            subjects.append({"title": subject.title, "task": subject.text("task"), "pictures": pictures})
    table = markdown([subject.data for subject in run.subjects if "couple_prompts" in subject.data])
    write_atomically(directory / "telling.md", table.encode("utf-8"))
    title = "Which explanations can this setting distinguish?"
    about = "Computed from reference algorithms alone, before any training."
    return write_page("power.html", run, directory, title=title, about=about, subjects=subjects)
