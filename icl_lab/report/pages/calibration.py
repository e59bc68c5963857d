"""The page of a calibration, drawn from its stored results alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from icl_lab.report.data import load
from icl_lab.report.figures import calibration, calibration_mechanisms
from icl_lab.report.figures.layout import styled
from icl_lab.report.numbers.confusion import MECHANISMS, Records, families_of, records_of
from icl_lab.report.pages.render import picture, write_page
from icl_lab.report.pages.tables import Table
from icl_lab.report.text.vocabulary import number, spoken

KNOWN_NETWORKS = ("distilled", "retrained", "inner loop")  # kinds
ABOUT = "Learners whose function or mechanism is known were judged as if they were models."
TRAINED = (
    "Networks whose function is known because of how they were trained: transformers taught the answers of a "
    "reference, from random weights or from a hand-built transformer whose weights were disturbed, and delta-rule "
    "networks, whose parameters say which algorithm they run. Distance: from that known function, on the prompt set "
    "where it is largest relative to the limit δ, which was fixed in advance (2% of the answers, or 0.006 nats). A "
    "network farther than δ is no ground truth and is not counted. True hypotheses: those within δ of the known "
    "function; in brackets, those that are exactly the same function."
)


def build(run_directory: Path) -> Path:
    """Draw the matrices of a finished calibration and write its page; return the path of `report.html`.

    Raises FileNotFoundError or ValueError, in one line, where there are no results.
    """
    directory = Path(run_directory)
    run = load(directory)
    groups = records_of(run)
    families = families_of(groups)
    figures, mechanisms = directory / "figures", None
    with styled():
        verdicts = picture(figures, "calibration", lambda: calibration.draw(families), calibration.READING)
        if MECHANISMS in groups:
            known = groups[MECHANISMS]
            drawn = calibration_mechanisms
            mechanisms = picture(figures, "mechanisms", lambda: drawn.draw(known), drawn.READING)
    networks = networks_table({name: found for name, found in groups.items() if name != MECHANISMS})
    values = {"verdicts": verdicts, "mechanisms": mechanisms, "networks": networks}
    return write_page("calibration.html", run, directory, title="How reliable is the judge?", about=ABOUT, **values)


def networks_table(groups: Mapping[str, Records]) -> Table:
    """Return a row per trained network: how near it is to its known function, and what the judge said of it."""
    heads = ["task", "network", "true hypotheses", "the judge supports", "distance, nats", "δ, nats", ""]
    rows, kinds = [], []
    for group, records in groups.items():
        for index in map(int, np.flatnonzero([kind in KNOWN_NETWORKS for kind in records["kind"]])):
            worst = int(np.argmax(records["distance"][index] / records["limit"][index]))
            said = records["named"][index] or records["status"][index]
            counted = records["counted"][index]
            far = (number(float(records[key][index][worst])) for key in ("distance", "limit"))
            words = (spoken(group), str(records["name"][index]), _true_of(records, index), str(said))
            rows.append([*words, *far, "counted" if counted else "not counted"])
            kinds.append("fails" if counted and records["false"][index] else "passes")
    return Table(heads, rows, (4, 5), tuple(kinds), note=TRAINED)


def _true_of(records: Records, index: int) -> str:
    """Return hypotheses within δ of the known function; where fewer are the very same function, these in brackets."""
    near, same = (str(records[name][index]) or "none" for name in ("truth", "same"))
    return near if near == same else f"{near} ({same})"
