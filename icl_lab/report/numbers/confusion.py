"""Verdicts on learners whose function is known, counted: what the calibration's figure and its tables show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icl_lab.core.statistics import wilson_interval
from icl_lab.report.data import Run
from icl_lab.report.text.vocabulary import HYPOTHESES

Records = Mapping[str, np.ndarray]  # columns of one family's verdicts

LOOPS, MECHANISMS = "inner_loops", "mechanisms"  # groups of results that are no family of tasks
OTHERS = ("listed", "mixture", "near miss", "distorted", "stranger", "untrained")
STUDENTS = tuple(f"{key} {kind}" for kind in ("student", "retrained") for key in HYPOTHESES)
TITLES = {
    **{key: f"{key} {name}" for key, name in HYPOTHESES.items()},
    "listed": "decoys and rivals it knows",
    "mixture": "half of each of two",
    "near miss": "nearly Bayesian",
    "distorted": "distorted, kinds the rule grew on",
    "stranger": "distorted, kinds new to the rule",
    "untrained": "untrained transformers",
    **{f"{key} student": f"transformers taught by {key}" for key in HYPOTHESES},
    **{f"{key} retrained": f"hand-built, retrained by {key}" for key in HYPOTHESES},
}
OUTCOMES = (*HYPOTHESES, "inconclusive", "unexplained")
UNKNOWN = ("stranger", "untrained")  # kinds whose false support is claimed
LITTLE = ("none", "low")  # noises of the matrix
PERCENT = {"none": "0", "low": "2", "middle": "5", "high": "10"}  # noise → percent of the answers


@dataclass(frozen=True)
class Row:
    """Verdicts on one group of known learners, at no and low noise and with all prompts.

    Attributes:
        group: key of `TITLES`.
        learners: how many, each judged at one noise or two; of trained networks those that count.
        trained: records of the group, counted or not.
        verdicts: on these learners.
        named: how many of them say what, in the order of `OUTCOMES`; several hypotheses may be named at once.
        wrong: how many of them name a hypothesis that is not true of the learner, per hypothesis.
        true: per hypothesis whether it is true of at least half of them.
    """

    group: str
    learners: int
    trained: int
    verdicts: int
    named: tuple[int, ...]
    wrong: tuple[int, ...]
    true: tuple[bool, ...]


@dataclass(frozen=True)
class Share:
    """A number of learners out of all, with its 95% score interval."""

    count: int
    total: int

    @classmethod
    def of(cls, values: np.ndarray) -> Share:
        """Of zeros and ones."""
        return cls(int(np.sum(values)), len(values))

    @property
    def value(self) -> float:
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.count, self.total)


def records_of(run: Run) -> dict[str, Records]:
    """Group of a calibration's results → its columns."""
    return {
        subject.name: {str(name): np.asarray(values) for name, values in subject.data.variables.items()}
        for subject in run.subjects
    }


def families_of(groups: Mapping[str, Records]) -> dict[str, Records]:
    """The groups that are families of tasks."""
    return {name: found for name, found in groups.items() if name not in (LOOPS, MECHANISMS)}


def groups_of(families: Mapping[str, Records]) -> tuple[str, ...]:
    """Rows of the matrix: hypotheses, networks taught by them where some family has any, learners of none."""
    taught = [group for group in STUDENTS if any(group in records["group"] for records in families.values())]
    return (*HYPOTHESES, *taught, *OTHERS)


def chosen(records: Records, **equal: object) -> np.ndarray:
    """Rows with these values, judged on all prompts; of trained networks those that count."""
    mask = np.asarray(records["prompts"]) == np.max(records["prompts"])
    mask &= np.asarray(records["counted"]).astype(bool)
    for name, value in equal.items():
        column = np.asarray(records[name])
        mask &= np.isin(column, value) if isinstance(value, tuple) else column == value
    return np.flatnonzero(mask)


def matrix(records: Records, groups: Sequence[str]) -> list[Row]:
    """The confusion matrix of one family: a row per group."""
    found = []
    for group in groups:
        rows = chosen(records, group=group, noise=LITTLE)
        named, truth = (_naming(records[column], rows) for column in ("named", "truth"))
        status = [int(np.sum(np.asarray(records["status"])[rows] == word)) for word in OUTCOMES[len(HYPOTHESES) :]]
        learners = len({*np.asarray(records["name"])[rows].tolist()})
        trained = int(np.sum(np.asarray(records["group"]) == group))
        said, wrong = (*named.sum(0).tolist(), *status), (named & ~truth).sum(0).tolist()
        true = (2 * truth.sum(0) >= max(len(rows), 1)).tolist()
        found.append(Row(group, learners, trained, len(rows), said, tuple(wrong), tuple(true)))
    return found


def _naming(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether every row's "+"-joined hypotheses hold each of the five, [row, hypothesis]."""
    values = [str(value).split("+") for value in np.asarray(column)[rows]]
    return np.array([[key in value for key in HYPOTHESES] for value in values], bool).reshape(-1, len(HYPOTHESES))


def identified_by_noise(records: Records) -> dict[str, Share]:
    """Noise → planted references identified, with all prompts."""
    noises = dict.fromkeys(np.asarray(records["noise"])[chosen(records, kind="planted")].tolist())
    found = np.asarray(records["identified"])
    return {str(noise): Share.of(found[chosen(records, kind="planted", noise=noise)]) for noise in noises}


def identified_by_prompts(records: Records) -> dict[int, Share]:
    """Prompts per prompt set → planted references identified, at low noise: the power of the verdict."""
    low = (np.asarray(records["kind"]) == "planted") & (np.asarray(records["noise"]) == "low")
    prompts, found = np.asarray(records["prompts"]), np.asarray(records["identified"])
    return {int(count): Share.of(found[low & (prompts == count)]) for count in np.unique(prompts)}


def false_support(records: Records) -> Share:
    """Learners of no hypothesis, unknown to the judge and like no reference, of which it supports something."""
    return Share.of(np.asarray(records["false"])[chosen(records, kind=UNKNOWN, truth="")])
