"""Verdicts on known subjects: one record per subject and noise, and rates over records."""

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
    """The verdict on one subject.

    Attributes:
        kind, name, group, reference: as of `KnownSubject`.
        noise: name of the noise added to its answers.
        prompts: prompts per regime.
        truth: hypotheses of its equivalence class; for a network, those of all references within δ of it.
        status, named, nearest, remainder: the verdict.
        identified, false, split, wronged, explained: see `truth.scored`.
        false_without: whether anything is supported after all true references are removed from the candidates.
        distance, limit: for a network, its distance from its known function, and δ, in nats per regime
            (`distilled.apart`); empty for learners that are known exactly.
        same: for a network, hypotheses of the references that are the same function as its known one (.006 nats), a
            part of `truth`; empty for other learners.
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
        """Largest ratio of the distance to δ over regimes; 0 for learners that are known exactly."""
        return max((d / most for d, most in zip(self.distance, self.limit, strict=True)), default=0.0)

    @property
    def counted(self) -> bool:
        """Whether it is near enough to its known function to be ground truth."""
        return self.excess <= 1

    @property
    def beyond_the_same(self) -> bool:
        """Whether the verdict names a hypothesis within δ that is not the same function as the known one."""
        return bool({*self.named} - {*self.same})

    @property
    def clean(self) -> bool:
        """Whether no reference mimics it, so that any support is false."""
        return not self.truth


def records_of(bank: Bank, subject: KnownSubject, parts: Sequence[tuple[Bank, np.ndarray]] = ()) -> list[Record]:
    """Judge a subject with each of its noises.

    Args:
        bank: of the task.
        subject: the known learner.
        parts: banks of fewer prompts and their rows, from `bank.first`; planted subjects with low noise are also judged
            with these.
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
    """Return a distance that can be stored: LARGEST if it is not finite."""
    return float(min(nats, LARGEST)) if nats == nats else LARGEST


@dataclasses.dataclass(frozen=True)
class Rate:
    """A count of successes with its 95% score interval (Wilson 1927)."""

    count: int
    total: int

    @classmethod
    def of(cls, values: Iterable[bool]) -> "Rate":
        """Return the rate of True among these."""
        values = list(values)
        return cls(sum(values), len(values))

    @property
    def value(self) -> float:
        """Share of successes; NaN without trials."""
        return self.count / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """95% score interval."""
        low, high = wilson_interval(self.count, self.total)
        return max(low, 0.0), min(high, 1.0)  # rounding may put them slightly outside

    @property
    def upper(self) -> float:
        """Exact one-sided 95% upper bound (Clopper and Pearson 1934); 149 subjects without a success give .02."""
        if not self.total:
            return 1.0
        return float(binomtest(self.count, self.total, alternative="less").proportion_ci(0.95, "exact").high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.3f} [{low:.3f}, {high:.3f}] ({self.count} of {self.total})"
