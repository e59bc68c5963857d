"""Judging known subjects: one record per subject and noise, and the rates they add up to."""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np
from scipy.stats import binomtest

from icl_lab.calibration.distilled import apart
from icl_lab.calibration.subjects import KnownSubject
from icl_lab.calibration.truth import judged_without, named, scored, truth_of
from icl_lab.core.statistics import wilson_interval
from icl_lab.judging.bank import Bank
from icl_lab.judging.comparison import compare
from icl_lab.judging.judge import judge

LARGEST = 1e9


@dataclasses.dataclass(frozen=True)
class Record:
    """What the judge said of one subject.

    Attributes:
        kind, name, group, reference: as of `KnownSubject`.
        noise: name of the noise it was disturbed with.
        prompts: prompts per regime that the judge saw.
        truth: hypotheses of its equivalence class; of a network that of all references within δ of what it is known by.
        status, named, nearest, remainder: the verdict.
        identified, false, split, wronged, explained: see `truth.scored`.
        false_without: whether it supports something once all that is true of it is removed from the candidates.
        distance, limit: of a network, how far it is from the function it is known by, and δ, in nats per regime
            (`distilled.apart`); empty of learners that are known exactly.
        same: of a network, hypotheses of the references that are the same function as what it is known by (.006 nats),
            a part of `truth`; empty of other learners.
    """

    kind: str
    name: str
    group: str
    reference: str | None
    noise: str
    prompts: int
    truth: tuple[str, ...]
    status: str
    named: tuple[str, ...]
    nearest: str
    remainder: float
    identified: bool
    false: bool
    split: bool
    wronged: bool
    explained: bool
    false_without: bool
    distance: tuple[float, ...] = ()
    limit: tuple[float, ...] = ()
    same: tuple[str, ...] = ()

    @property
    def excess(self) -> float:
        """The distance relative to δ in the regime where that is largest; 0 of learners that are known exactly."""
        return max((d / most for d, most in zip(self.distance, self.limit, strict=True)), default=0.0)

    @property
    def counted(self) -> bool:
        """Whether it is near enough to what it is known by to be ground truth."""
        return self.excess <= 1

    @property
    def beyond_the_same(self) -> bool:
        """Whether a network is named something that is not the very function it is known by, be it within δ of it."""
        return bool({*self.named} - {*self.same})

    @property
    def clean(self) -> bool:
        """Whether no reference mimics it, so that any support is false."""
        return not self.truth


def records_of(bank: Bank, subject: KnownSubject, parts: Sequence[tuple[Bank, np.ndarray]] = ()) -> list[Record]:
    """The judge's verdicts on a subject, with each of its noises.

    Args:
        bank: of the task.
        subject: the known learner.
        parts: banks of fewer prompts and their rows, as `bank.first` gives; planted subjects with low noise are judged
            by these too.
    """
    answers = subject.answers()
    function = answers if subject.function is None else subject.function()
    same = truth_of(bank, function, subject.reference)
    measured = () if subject.function is None else apart(bank, answers, function)
    truth = truth_of(bank, function, subject.reference, measured[1]) if measured else same
    distance, limit = (tuple(finite(value) for value in values) for values in measured or ((), ()))
    found = []
    for noise in subject.noises:
        disturbed = subject.disturbed(answers, noise)
        further = parts if noise == "low" and subject.kind == "planted" else ()
        for part, rows in ((bank, slice(None)), *further):
            comparison = compare(part, jax.tree.map(lambda leaf, r=rows: leaf[r], disturbed))
            verdict = judge(comparison)
            found.append(
                Record(
                    kind=subject.kind,
                    name=subject.name,
                    group=subject.group,
                    reference=subject.reference,
                    noise=noise,
                    prompts=comparison.per_prompt.shape[-1],
                    truth=truth.hypotheses,
                    status=verdict.status,
                    named=named(verdict),
                    nearest=verdict.nearest,
                    remainder=finite(verdict.remainder),
                    **scored(verdict, truth),
                    false_without=judged_without(comparison, truth).status == "supported",
                    distance=distance,
                    limit=limit,
                    same=same.hypotheses if measured else (),
                )
            )
    return found


def finite(nats: float) -> float:
    """A distance that can be stored: LARGEST for that of answers which are not finite."""
    return float(min(nats, LARGEST)) if nats == nats else LARGEST


@dataclasses.dataclass(frozen=True)
class Rate:
    """A count of successes with its 95% score interval (Wilson 1927)."""

    count: int
    total: int

    @classmethod
    def of(cls, values: Iterable[bool]) -> "Rate":
        """Of a sequence of yes and no."""
        values = list(values)
        return cls(sum(values), len(values))

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95% score interval."""
        low, high = wilson_interval(self.count, self.total)
        return max(low, 0.0), min(high, 1.0)  # rounding may leave them a hair outside

    @property
    def upper(self) -> float:
        """Exact one-sided 95% upper bound (Clopper and Pearson 1934); 149 subjects without a success give .02."""
        if not self.total:
            return 1.0
        return float(binomtest(self.count, self.total, alternative="less").proportion_ci(0.95, "exact").high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}] ({self.count} of {self.total})"
