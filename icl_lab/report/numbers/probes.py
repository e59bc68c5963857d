"""What probes saw of members, and what each hypothesis' best reference answers to the same prompts, as stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from icl_lab.report.numbers.reductions import largest, median, smallest
from icl_lab.report.subject import Condition, Subject

DIMS = ("member", "hypothesis", "statistic")


@dataclass(frozen=True)
class Probed:
    """The stored numbers of one subject. `arrays` are [member, hypothesis, statistic], `seen` [member, statistic]."""

    subject: Subject
    hypotheses: list[str]
    statistics: list[str]
    seen: np.ndarray
    arrays: dict[str, np.ndarray]

    def title(self, statistic: str) -> tuple[str, str]:
        """Of "influence: sum" the probe's title and the statistic's name."""
        probe, _, name = statistic.partition(": ")
        known = self.subject.json("probes", {}).get(probe, {})
        return str(known.get("title", probe.replace("_", " "))), name

    def effects(self, condition: Condition) -> np.ndarray:
        """Medians over members of difference / spread of the predictions, [hypothesis, statistic]."""
        return median(self.arrays["effect"][list(condition.members)])


@dataclass(frozen=True)
class ProbeRow:
    """One statistic: medians over members, an interval that covers theirs, every member's p-value."""

    title: str
    statistic: str
    predicted: float
    seen: float
    difference: float
    low: float
    high: float
    effect: float
    p: np.ndarray


def seen_and_predicted(subject: Subject) -> Probed | None:
    """The battery of a subject; None where it was not asked."""
    seen = subject.values("probe_seen", "member", "statistic")
    arrays = {
        name: subject.values(f"probe_{stored}", *DIMS)
        for name, stored in {
            **{name: name for name in ("predicted", "difference", "p", "effect")},
            "low": "difference_low",
            "high": "difference_high",
        }.items()
    }
    if seen is None or arrays["predicted"] is None:
        return None
    shape = arrays["predicted"].shape
    known = {name: np.full(shape, np.nan) if values is None else values for name, values in arrays.items()}
    hypotheses, statistics = ([str(value) for value in subject.data[name].values] for name in DIMS[1:])
    return Probed(subject, hypotheses, statistics, seen, known)


def probe_rows(found: Probed, condition: Condition, hypothesis: str) -> Iterator[ProbeRow]:
    """Every statistic that a hypothesis predicts, the largest effects first, those that tell nothing last."""
    members, place = list(condition.members), found.hypotheses.index(hypothesis)
    own = {name: values[members, place] for name, values in found.arrays.items()}  # [member, statistic]
    middle = {name: median(values) for name, values in own.items()}
    seen = median(found.seen[members])
    for index in np.argsort(-np.nan_to_num(np.abs(middle["effect"]), nan=-1.0), kind="stable"):
        if not np.isfinite(middle["predicted"][index]):
            continue
        title, name = found.title(found.statistics[index])
        low, high = smallest(own["low"][:, index]), largest(own["high"][:, index])
        yield ProbeRow(
            title,
            name,
            float(middle["predicted"][index]),
            float(seen[index]),
            float(middle["difference"][index]),
            float(low),
            float(high),
            float(middle["effect"][index]),
            own["p"][:, index],
        )
