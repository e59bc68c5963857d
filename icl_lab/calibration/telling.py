"""Pairs of references that each probe of the battery distinguishes, beside the theoretical expectations."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from icl_lab.calibration.equivalences import EQUIVALENT
from icl_lab.calibration.expectations import EXPECTATIONS
from icl_lab.calibration.readings import Readings
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.judging.bank import Bank
from icl_lab.judging.fitting import Fit

SAME = 1e-5  # mean nats in any regime up to which a pair equal by algebra is one function at these parameters


@dataclasses.dataclass(frozen=True)
class Telling:
    """One pair of references, and all probes.

    Attributes:
        first: fitted to the task.
        second: fitted to the first.
        equal: why the two are one function; otherwise "".
        prompts: probe → prompts needed to distinguish them (`needed`); infinite if it does not.
        expected: probe → whether it must distinguish them, or must not. Probes without an expectation are missing, and
            no probe must distinguish a pair that the judge calls the same function.
        why: probe → the reason for the expectation.
    """

    first: str
    second: str
    equal: str
    prompts: Mapping[str, float]
    expected: Mapping[str, bool]
    why: Mapping[str, str]

    def wrong(self) -> list[str]:
        """Probes that fail their expectation."""
        return [name for name, told in self.expected.items() if np.isfinite(self.prompts[name]) != told]


def pairs(bank: Bank) -> list[tuple[str, str]]:
    """Return the pairs with an expectation that the task has, followed by those equal by algebra."""
    place = bank.references.index
    equal = [sorted(pair, key=place) for pair in EQUIVALENT if pair <= {*bank.references}]
    found = dict.fromkeys([*((each.first, each.second) for each in EXPECTATIONS), *((a, b) for a, b in equal)])
    return [pair for pair in found if {*pair} <= {*bank.references}]


def tellings(bank: Bank, fits: Mapping[str, Fit], readings: Readings) -> list[Telling]:
    """Measure every pair of the task.

    Some pairs are equal on some families only: a match kernel is the posterior of chains alone. If the two answer
    alike, no probe may distinguish them; otherwise the pair is treated like any other.

    Args:
        bank: of the task.
        fits: `bank.fit_to_task()`.
        readings: of the battery.
    """
    chosen = pairs(bank)
    tests = len(chosen) * readings.statistics
    found = []
    for first, second in chosen:
        fit = bank.fit(second, fits[first].predictions)
        distance = bank.distances(fits[first].predictions, fit.predictions)
        farthest = max(distance[bank.slices[regime]].mean() for regime in bank.regimes)
        same, alike = farthest < SAME, farthest <= THRESHOLDS.near * THRESHOLDS.floor
        equal = EQUIVALENT.get(frozenset((first, second)), "") if same else ""
        said = [each for each in EXPECTATIONS if (each.first, each.second) == (first, second)]
        said = [each for each in said if not (each.told and alike)]
        if not equal and not said:
            continue
        one = readings.of(first, fits[first].parameters)
        prompts = readings.prompts_needed(one, readings.of(second, fit.parameters), tests)
        expected = {each.probe: each.told for each in said if each.probe in prompts}
        why = {each.probe: each.reason for each in said if each.probe in prompts}
        if equal:
            expected, why = dict.fromkeys(prompts, False), dict.fromkeys(prompts, equal)
        found.append(Telling(first, second, equal, prompts, expected, why))
    return found
