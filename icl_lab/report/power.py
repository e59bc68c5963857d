"""The figures and page of a power analysis, drawn from its stored results alone."""

from __future__ import annotations

from html import escape
from pathlib import Path

from icl_lab.report.data import load
from icl_lab.report.figures import power
from icl_lab.report.files import write_atomically
from icl_lab.report.layout import styled
from icl_lab.report.page import STYLESHEET, figure_html
from icl_lab.report.tables import provenance


def build(run_directory: Path) -> Path:
    """Draw a matrix per subject and write the page; the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    parts = []
    with styled():
        for subject in run.subjects:
            parts.append(f"<h2>{escape(subject.title)}</h2><p>{escape(subject.text('task'))}</p>")
            parts.append(
                figure_html(
                    directory / "figures",
                    f"power-{subject.name}",
                    lambda s=subject: power.draw(s.data, s.title),
                    power.READING,
                )
            )
    title = "What can this setting tell apart?"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLESHEET.read_text(encoding='utf-8')}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>Worked out from reference algorithms alone, before any training.</p>"
        f"{''.join(parts)}<h2>Provenance</h2>{provenance(run)}</body></html>\n"
    )
    target = directory / "report.html"
    write_atomically(target, page.encode("utf-8"))
    return target
