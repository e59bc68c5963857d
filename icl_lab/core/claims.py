"""Claims: measured numbers beside the rule that decides. Expectation, result and verdict are derived from them.

A claim has one value per member of an ensemble, or a single value. The rule compares each value with `against`; the
claim holds if enough members meet the rule.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Gate = Literal["exact", "order", "report"]
Numbers = Any  # a number, a sequence, or an array of numpy, JAX or xarray


class Rule(NamedTuple):
    """How a member's value is compared.

    Attributes:
        test: (value, against, interval, tolerance) → whether the member meets the claim.
        words: the expectation; {against}, {tolerance} and {unit} are filled in.
    """

    test: Callable[[float, float, tuple[float, float], float], bool]
    words: str


RULES: dict[str, Rule] = {
    "above": Rule(lambda v, a, i, t: v > a, "above {against}{unit}"),
    "below": Rule(lambda v, a, i, t: v < a, "below {against}{unit}"),
    "at_least": Rule(lambda v, a, i, t: v >= a, "at least {against}{unit}"),
    "at_most": Rule(lambda v, a, i, t: v <= a, "at most {against}{unit}"),
    "equals": Rule(lambda v, a, i, t: abs(v - a) <= t, "{against} ± {tolerance}{unit}"),
    "nearer": Rule(lambda v, a, i, t: v < a, "nearer than {against}{unit}"),
    "first_of": Rule(lambda v, a, i, t: v < a, "nearer than all others, {against}{unit}"),
    "falls": Rule(lambda v, a, i, t: v < a, "falls, from {against}{unit}"),
    "rises": Rule(lambda v, a, i, t: v > a, "rises, from {against}{unit}"),
    "clearly_above": Rule(lambda v, a, i, t: i[0] > a, "above {against}{unit}, with its whole 95% interval"),
    "clearly_below": Rule(lambda v, a, i, t: i[1] < a, "below {against}{unit}, with its whole 95% interval"),
    "contains": Rule(lambda v, a, i, t: i[0] <= a <= i[1], "{against}{unit} within the 95% interval"),
}
OWN, REPORT = "condition", "report"  # rules of claims that state their own condition, and of those that state none


@dataclass(frozen=True)
class Claim:
    """One statement with its evidence.

    Attributes:
        id: short and unique in its file, such as "pool_4.nearer".
        statement: one sentence.
        source: paper, or "algebra".
        gate: "exact": a number must be met; "order": a sign or order must be; "report": shown, decides nothing.
        rule: a key of `RULES`; or "condition", where `decided` says which members meet `condition`; or "report", where
            nothing is expected.
        values: one per member, or a single one.
        against: what the rule compares with, one per member or one for all.
        interval: 95% interval of each value, over prompts unless the statement says otherwise.
        tolerance: of the rule "equals", in the unit of the values.
        unit: of the values, such as "nats".
        trials: where a value is a share, the number of trials it is a share of.
        labels: words beside each value, such as the name of the nearest reference.
        condition, decided: of the rule "condition", in words and for every member.
        share: of the members that must meet the rule.
    """

    id: str
    statement: str
    source: str
    gate: Gate
    rule: str
    values: tuple[float, ...] = ()
    against: tuple[float, ...] = ()
    interval: tuple[tuple[float, float], ...] = ()
    tolerance: float | None = None
    unit: str = ""
    trials: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()
    condition: str = ""
    decided: tuple[bool, ...] = ()
    share: float = 1.0

    @property
    def met(self) -> tuple[bool, ...]:
        """Whether each member meets the rule; empty where nothing is expected."""
        if self.rule == REPORT:
            return ()
        if self.rule == OWN:
            return self.decided
        test, tolerance = RULES[self.rule].test, self.tolerance or 0.0
        count = len(self.values)
        against = _each(self.against or (math.nan,), count)
        rows = zip(self.values, against, _each(self.interval or ((math.nan, math.nan),), count), strict=True)
        return tuple(bool(test(value, against, interval, tolerance)) for value, against, interval in rows)

    @property
    def holds(self) -> bool | None:
        """Whether enough members meet the rule; None where nothing is expected, or of no one."""
        met = self.met
        return sum(met) >= self.share * len(met) - 1e-9 if met else None

    @property
    def expected(self) -> str:
        """The rule in words."""
        if self.rule in (OWN, REPORT):
            return self.condition
        shown = _span(self.against)
        unit = f" {self.unit}" if self.unit else ""
        words = RULES[self.rule].words.format(against=shown, tolerance=f"{self.tolerance or 0:.4g}", unit=unit)
        return words + (f" in {self.share:.0%} of the members" if self.share < 1 else "")

    @property
    def measured(self) -> str:
        """The values in words, with intervals, labels, and how many members meet the rule."""
        shown = "; ".join(self._value(index) for index in range(max(len(self.values), len(self.labels))))
        many = f"{sum(self.met)} of {len(self.met)} members" if len(self.met) > 1 else ""
        return ": ".join(part for part in (many, shown) if part)

    def _value(self, index: int) -> str:
        label = self.labels[index] if self.labels else ""
        if index >= len(self.values):
            return label
        value = self.values[index]
        if self.trials:
            count = f"{round(value * self.trials[index])} of {self.trials[index]}"
            low, high = self.interval[index] if self.interval else (math.nan, math.nan)
            text = f"{value:.3f} [{low:.3f}, {high:.3f}] ({count})" if self.interval else count
            return f"{text}, {label}" if label else text
        text = f"{value:.4g}"
        if len(self.against) > 1:
            text += f" against {self.against[index]:.4g}"
        if self.interval:
            text += " [{:.4g}, {:.4g}]".format(*self.interval[index])
        return f"{text} ({label})" if label else text


def claim(
    identifier: str,
    statement: str,
    rule: str,
    values: Numbers = (),
    against: Numbers | None = None,
    *,
    source: str = "",
    gate: Gate = "order",
    interval: Any = None,
    tolerance: float | None = None,
    unit: str = "",
    trials: Any = None,
    labels: Sequence[str] = (),
    condition: str = "",
    decided: Any = (),
    share: float = 1.0,
) -> Claim:
    """A claim from numbers and arrays. With no members it decides nothing: its gate becomes "report".

    Args:
        interval: [member, 2] or [2, member], low and high.
        others: see `Claim`.
    """
    if rule not in (*RULES, OWN, REPORT):
        raise ValueError(f"rule: {rule!r} is not known; choose one of {', '.join((*RULES, OWN, REPORT))}")
    numbers = _tuple(values)
    ends = np.zeros((0, 2)) if interval is None else np.asarray(interval, float)
    if interval is not None and ends.shape != (len(numbers), 2):
        ends = ends.reshape(2, -1).T
    rows = tuple((float(low), float(high)) for low, high in ends)
    decides = rule != REPORT and (numbers or len(decided))
    return Claim(
        id=identifier,
        statement=statement,
        source=source,
        gate=gate if decides else "report",
        rule=rule,
        values=numbers,
        against=() if against is None else _tuple(against),
        interval=rows,
        tolerance=None if tolerance is None else float(tolerance),
        unit=unit,
        trials=() if trials is None else tuple(int(count) for count in np.ravel(trials)),
        labels=tuple(map(str, labels)),
        condition=condition,
        decided=tuple(bool(one) for one in decided),
        share=share,
    )


def first_of(identifier: str, statement: str, distances: Mapping[str, Numbers], expected: str, **details: Any) -> Claim:
    """A claim that `expected` has the smallest of several distances; labels name the one that has.

    Args:
        distances: name → one distance per member.
        expected: one of the names.
        details: of `claim`.
    """
    table = {name: np.array(_tuple(values)) for name, values in distances.items()}
    others = np.min([values for name, values in table.items() if name != expected], axis=0)
    names = list(table)
    nearest = [names[index] for index in np.argmin(list(table.values()), axis=0)]
    return claim(identifier, statement, "first_of", table[expected], others, labels=nearest, **details)


def counted(
    identifier: str, statement: str, rule: str, count: int, total: int, against: Numbers | None = None, **details: Any
) -> Claim:
    """A claim on one share, `count` of `total` trials.

    Args:
        details: of `claim`.
    """
    share = count / total if total else 0.0
    return claim(identifier, statement, rule, share, against, trials=(total,), **details)


def failed(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that had to hold and do not."""
    return [one for one in claims if one.gate != "report" and not one.holds]


def _tuple(values: Numbers) -> tuple[float, ...]:
    return tuple(float(value) for value in np.ravel(np.asarray(values, float)))


def _each(items: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """A single item repeated for every member."""
    return items * count if len(items) == 1 else items


def _span(numbers: tuple[float, ...]) -> str:
    """One number, or the range of several."""
    ends = sorted({f"{number:.4g}" for number in (min(numbers), max(numbers))}, key=float) if numbers else []
    return " to ".join(ends)
