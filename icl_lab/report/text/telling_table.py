"""The table probe × pair in words, as Markdown: which pairs each probe tells, and which it must not tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icl_lab.report.text.vocabulary import spoken

if TYPE_CHECKING:
    import xarray


def markdown(datasets: Sequence[xarray.Dataset]) -> str:
    """A row per probe, over all subjects: what theory says it must tell and must not, and what was measured.

    Behind a pair stands the number of prompts it took, or **not told** or **told** where theory is contradicted. Of a
    pair that several subjects have the largest number counts. Functions that are the same are counted in the last line.
    """
    cells: dict[str, tuple[dict[str, float], dict[str, float]]] = {}
    same, told_same = 0, 0
    for data in datasets:
        equal = np.array([bool(str(text)) for text in data["couple_equal"].values], bool)
        same += int(equal.sum() * data.sizes["probe"])
        told_same += int(np.isfinite(data["couple_prompts"].values[equal]).sum())
        for row in np.flatnonzero(~equal):
            names = (str(data[f"couple_{which}_title"].values[row]) for which in ("first", "second"))
            pair = " from ".join(names)
            for column, probe in enumerate(str(name) for name in data["probe"].values):
                expected = int(data["couple_expected"].values[row, column])
                if expected:
                    place = cells.setdefault(probe, ({}, {}))[expected < 0]
                    place[pair] = max(float(data["couple_prompts"].values[row, column]), place.get(pair, 0.0))
    lines = ["| probe | must tell (prompts it took) | must not tell |", "|---|---|---|"]
    for probe, (must, must_not) in cells.items():
        took = {pair: f"{value:.0f}" if np.isfinite(value) else "**not told**" for pair, value in must.items()}
        told = "; ".join(f"{pair} ({count})" for pair, count in took.items())
        kept = "; ".join(pair if np.isinf(value) else f"{pair} (**told**)" for pair, value in must_not.items())
        lines.append(f"| {spoken(probe)} | {told} | {kept} |")
    lines.append(f"| all | | functions that are the same: told {told_same} of {same} times |")
    return "\n".join(lines) + "\n"
