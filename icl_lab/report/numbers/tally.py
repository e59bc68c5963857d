"""From stored distances and verdicts to what the scoreboard says: medians over members and counts of them.

The verdicts themselves come from results.nc; only medians, ranges and counts of stored numbers are formed here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from icl_lab.core.statistics import relative
from icl_lab.report.data import Run
from icl_lab.report.numbers.reductions import largest, median, smallest
from icl_lab.report.subject import Condition, Subject
from icl_lab.report.text.vocabulary import (
    COINCIDES,
    HYPOTHESES,
    REFUTED,
    STATUSES,
    SUPPORTED,
    UNDECIDED,
    UNTESTED,
    spoken,
)


@dataclass(frozen=True)
class Cell:
    """Distance of a hypothesis in nats: median over members, low and high over members and their intervals."""

    median: float
    low: float
    high: float
    nearest: bool  # the smallest of its row
    near: bool  # within the near ratio of the smallest, or of the floor


@dataclass(frozen=True)
class Tally:
    """What most members say about a hypothesis: `count` of `members` say `status`.

    Members of whose inside nothing was seen do not count in `members` of a mechanism.
    """

    status: str
    count: int
    members: int
    split: dict[str, int] = field(default_factory=dict)  # members by status

    @property
    def unanimous(self) -> bool:
        return self.count == self.members


@dataclass(frozen=True)
class Row:
    """One regime: cells by hypothesis, the nearest reference's title, its share of the zero predictor's, the floor."""

    regime: str
    cells: dict[str, Cell | None]
    nearest: str
    remainder: float
    floor: float


@dataclass(frozen=True)
class Block:
    """One condition of one subject."""

    subject: Subject
    condition: Condition
    tallies: dict[str, Tally | None]
    inside: dict[str, Tally | None]  # the same of the mechanism
    rows: list[Row]
    nearest: str
    nearest_count: int
    remainder: float
    status: str

    @property
    def heading(self) -> str:
        """Such as "softmax, two layers · pool of 16 tasks"."""
        kind = "" if self.condition in self.subject.trained else self.condition.kind
        return " · ".join(part for part in (self.subject.title, self.condition.label, kind) if part)

    def with_status(self, status: str) -> list[str]:
        """Hypotheses of which most members say `status`."""
        return [name for name, tally in self.tallies.items() if tally is not None and tally.status == status]


def blocks(run: Run) -> list[Block]:
    """The scoreboard: per subject its trained conditions, regime by regime, then one summary row per null.

    Subjects of one family of tasks follow one another.
    """
    found = []
    families = list(dict.fromkeys(subject.family for subject in run.subjects))
    for subject in sorted(run.subjects, key=lambda subject: families.index(subject.family)):
        found += [block(subject, condition) for condition in subject.trained]
        found += [block(subject, condition, summary=True) for condition in subject.nulls]
    return found


def begins_family(found: list[Block], index: int) -> bool:
    """Whether a heading with the family's name belongs above this block: the first of its family, if there are two."""
    family = found[index].subject.family
    several = len({entry.subject.family for entry in found}) > 1
    return several and bool(family) and (index == 0 or found[index - 1].subject.family != family)


def block(subject: Subject, condition: Condition, summary: bool = False) -> Block:
    """Scoreboard entries of one condition. `summary`: only the farthest regime of each hypothesis, for the nulls."""
    members = list(condition.members)
    middle = subject.values("hypothesis_distance", "member", "regime", "hypothesis")
    rows = []
    if middle is not None:
        names = (
            [str(name) for name in subject.data["hypothesis"].values]
            if "hypothesis" in subject.data
            else list(HYPOTHESES)
        )
        low = subject.values("hypothesis_distance_low", "member", "regime", "hypothesis")
        high = subject.values("hypothesis_distance_high", "member", "regime", "hypothesis")
        low, high = (middle if low is None else low)[members], (middle if high is None else high)[members]
        stacks = [middle[members], low, high]
        regimes = subject.regimes
        if summary:
            stacks, regimes = [largest(stack, axis=1)[:, None] for stack in stacks], ["farthest regime"]
        for index, regime in enumerate(regimes):
            nearest, remainder = ("", float("nan")) if summary else _nearest_in(subject, members, index)
            floor = float(np.median(subject.floors[members].max(1) if summary else subject.floors[members, index]))
            cells = _cells(names, subject.thresholds.near, floor, *(s[:, index] for s in stacks))
            rows.append(Row(spoken(regime), cells, nearest, remainder, floor))
    verdicts = [subject.verdicts[index] for index in members]
    nearest, count = _most_common([str(verdict.get("nearest", "")) for verdict in verdicts if verdict.get("nearest")])
    remainders = [verdict["remainder"] for verdict in verdicts if isinstance(verdict.get("remainder"), int | float)]
    return Block(
        subject=subject,
        condition=condition,
        tallies={name: _tally(subject, verdicts, name) for name in HYPOTHESES},
        inside={name: _inside([subject.mechanisms[index] for index in members], name) for name in HYPOTHESES},
        rows=rows,
        nearest=subject.titles.get(nearest, nearest),
        nearest_count=count,
        remainder=float(np.median(remainders)) if remainders else float("nan"),
        status=_most_common([str(verdict.get("status", "")) for verdict in verdicts if verdict])[0],
    )


def _cells(
    names: list[str], near: float, floor: float, middle: np.ndarray, low: np.ndarray, high: np.ndarray
) -> dict[str, Cell | None]:
    typical = median(middle, axis=0)
    best = float(smallest(typical))
    bounds = smallest(low, axis=0), largest(high, axis=0)
    cells: dict[str, Cell | None] = {}
    for index, name in enumerate(names):
        own = float(typical[index])
        within = own <= near * max(best, floor)
        cell = Cell(own, float(bounds[0][index]), float(bounds[1][index]), own <= best, within)
        cells[name] = cell if np.isfinite(own) else None
    return cells


def _nearest_in(subject: Subject, members: list[int], regime: int) -> tuple[str, float]:
    distance = subject.values("distance", "member", "regime", "reference")
    if distance is None:
        return "", float("nan")
    table = np.where(np.isfinite(distance[members, regime]), distance[members, regime], np.inf)
    name, _ = _most_common([subject.references[index] for index in table.argmin(axis=1)])
    zero = subject.values("zero_distance", "member", "regime")
    if zero is None:
        return subject.titles[name], float("nan")
    shares = relative(distance[members, regime], zero[members, regime], subject.thresholds.floor)
    return subject.titles[name], float(median(smallest(shares, axis=1), axis=0))


def _tally(subject: Subject, verdicts: list[dict], name: str) -> Tally | None:
    said = []
    for verdict in filter(None, verdicts):
        statuses = [s for s in (SUPPORTED, COINCIDES, REFUTED) if name in subject.hypotheses_named(verdict.get(s))]
        said.append(statuses[0] if statuses else UNDECIDED)
    if not said:
        return None
    return _counted(said, STATUSES, UNDECIDED)


def _inside(verdicts: list[dict], name: str) -> Tally | None:
    said = [
        next((status for status in (SUPPORTED, REFUTED) if name in verdict.get(status, ())), UNTESTED)
        for verdict in verdicts
        if verdict
    ]
    return _counted(said, (SUPPORTED, REFUTED, UNTESTED), UNTESTED) if said else None


def _counted(said: list[str], statuses: tuple[str, ...], otherwise: str) -> Tally:
    """The status that more than half give, else `otherwise`."""
    counts = Counter(said)
    split = {status: counts[status] for status in statuses if counts[status]}
    for status in statuses:
        if status != otherwise and counts[status] * 2 > len(said):
            return Tally(status, counts[status], len(said), split)
    return Tally(otherwise, counts[otherwise], len(said), split)


def _most_common(items: list[str]) -> tuple[str, int]:
    return Counter(items).most_common(1)[0] if items else ("", 0)
