"""The page of a calibration, drawn from its stored results alone."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from icl_lab.report.data import load
from icl_lab.report.figures import calibration
from icl_lab.report.files import write_atomically
from icl_lab.report.layout import styled
from icl_lab.report.page import STYLESHEET, figure_html
from icl_lab.report.tables import claims_table, provenance


def build(run_directory: Path) -> Path:
    """Draw the calibration matrix of a finished calibration and write its page; the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    families = {
        subject.name: {str(name): np.asarray(values) for name, values in subject.data.variables.items()}
        for subject in run.subjects
    }
    with styled():
        drawn = figure_html(
            directory / "figures", "calibration", lambda: calibration.draw(families), calibration.READING
        )
    title = "How far is the judge to be trusted?"
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLESHEET.read_text(encoding='utf-8')}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>Learners whose function is known were judged as if they were models.</p>"
        f"{drawn}<h2>Claims</h2>{claims_table(run)}<h2>Provenance</h2>{provenance(run)}</body></html>\n"
    )
    target = directory / "report.html"
    write_atomically(target, page.encode("utf-8"))
    return target
