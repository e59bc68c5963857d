"""The page of a calibration, drawn from its stored results alone."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np

from icl_lab.report.data import load
from icl_lab.report.figures import calibration, calibration_mechanisms
from icl_lab.report.figures.layout import styled
from icl_lab.report.numbers.confusion import MECHANISMS, Records, families_of, records_of
from icl_lab.report.pages.run import figure_html
from icl_lab.report.pages.shell import write_page
from icl_lab.report.pages.tables import claims_table
from icl_lab.report.text.vocabulary import number

KNOWN_NETWORKS = ("distilled", "retrained", "inner loop")  # kinds
ABOUT = "Learners whose function or mechanism is known were judged as if they were models."
TRAINED = (
    "Networks trained to be known: transformers taught a reference's answers, from random weights or from those of "
    "a hand-built transformer disturbed, and delta-rule networks, whose algorithm is read off their parameters. "
    "Distances are those from the function a network is known by, in the prompt set where it is largest relative to δ, "
    "fixed in advance: 2% of the answers, or .006 nats. Beyond δ a network is no ground truth and is not counted. True "
    "of a network is what is within δ of the function it is known by; in brackets, what is the very same function."
)


def build(run_directory: Path) -> Path:
    """Draw the matrices of a finished calibration and write its page; the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    groups = records_of(run)
    families = families_of(groups)
    figures = directory / "figures"
    with styled():
        parts = [figure_html(figures, "calibration", lambda: calibration.draw(families), calibration.READING)]
        if MECHANISMS in groups:
            drawn = figure_html(
                figures,
                "mechanisms",
                lambda: calibration_mechanisms.draw(groups[MECHANISMS]),
                calibration_mechanisms.READING,
            )
            parts.append(f"<h2>Mechanisms</h2>{drawn}")
    table = networks_table({name: found for name, found in groups.items() if name != MECHANISMS})
    parts.append(f"<h2>Trained networks</h2><p>{escape(TRAINED)}</p>{table}" if table else "")
    parts.append(f"<h2>Claims</h2>{claims_table(run)}")
    return write_page(run, directory, "How far is the judge to be trusted?", ABOUT, parts)


def networks_table(groups: Mapping[str, Records]) -> str:
    """A row per trained network: how near it is to what it is known by, and what the judge said of it."""
    rows = []
    for group, records in groups.items():
        for index in np.flatnonzero([kind in KNOWN_NETWORKS for kind in records["kind"]]):
            ratio = records["distance"][index] / records["limit"][index]
            worst = int(np.argmax(ratio))
            said = records["named"][index] or records["status"][index]
            wrong = records["counted"][index] and records["false"][index]
            kept = "counted" if records["counted"][index] else "not counted"
            words = (group.replace("_", " "), records["name"][index], _true_of(records, int(index)), said)
            cells = "".join(f"<td>{escape(str(word))}</td>" for word in words)
            far = (records["distance"][index][worst], records["limit"][index][worst])
            cells += "".join(f'<td class="number">{number(float(value))}</td>' for value in far)
            rows.append(f'<tr class="{"fails" if wrong else "passes"}">{cells}<td>{kept}</td></tr>')
    if not rows:
        return ""
    heads = ("task", "network", "true of what it is known by", "the judge says", "distance", "δ", "")
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="scroll"><table class="claims"><tr>{head}</tr>{"".join(rows)}</table></div>'


def _true_of(records: Records, index: int) -> str:
    """Hypotheses within δ of what a network is known by; where fewer are the very same function, these in brackets."""
    near, same = (str(records[name][index]) or "none" for name in ("truth", "same"))
    return near if near == same else f"{near} ({same})"
