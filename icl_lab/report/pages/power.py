"""The figures and page of a power analysis, drawn from its stored results alone."""

from __future__ import annotations

from html import escape
from pathlib import Path

from icl_lab.core.files import write_atomically
from icl_lab.report.data import load
from icl_lab.report.figures import power, telling
from icl_lab.report.figures.layout import styled
from icl_lab.report.pages.run import figure_html
from icl_lab.report.pages.shell import write_page
from icl_lab.report.pages.tables import claims_table
from icl_lab.report.text.telling_table import markdown


def build(run_directory: Path) -> Path:
    """Draw two matrices per subject, write the page and the second matrices as one table in words, `telling.md`.

    Returns the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    parts = []
    with styled():
        for subject in run.subjects:
            parts.append(f"<h2>{escape(subject.title)}</h2><p>{escape(subject.text('task'))}</p>")
            for name, figure in (("power", power), ("telling", telling)):
                parts.append(
                    figure_html(
                        directory / "figures",
                        f"{name}-{subject.name}",
                        lambda s=subject, f=figure: f.draw(s.data, s.title),
                        figure.READING,
                    )
                )
    parts.append(f"<h2>Claims</h2>{claims_table(run)}")
    table = markdown([subject.data for subject in run.subjects if "couple_prompts" in subject.data])
    write_atomically(directory / "telling.md", table.encode("utf-8"))
    about = "Worked out from reference algorithms alone, before any training."
    return write_page(run, directory, "What can this setting tell apart?", about, parts)
