"""Battery statistics of references, each compiled once and measured once at given parameters."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from icl_lab.calibration.needed import needed
from icl_lab.calibration.planted import learner_at
from icl_lab.core.streams import stream
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank
from icl_lab.probes.behaviour.battery import BATTERY, ask_all, read_all

SIZE = 0.002  # difference of a statistic (no unit, or nats) that rounding and refitting can cause


@dataclasses.dataclass(frozen=True)
class Readings:
    """Statistics of references on the same prompts, so that their differences are paired.

    Attributes:
        bank: of the task.
        asked: prompts of every probe that applies.
        prompts: number of prompts each probe starts from.
        progress: called with a line before each measurement.
        found: measurements so far.
    """

    bank: Bank
    asked: Mapping[str, Any]
    prompts: int
    progress: Callable[[str], None]
    found: dict[tuple[str, tuple], dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)

    @property
    def statistics(self) -> int:
        """Number of statistics of all probes that apply."""
        return sum(len(BATTERY[name].statistics) for name in self.asked)

    def of(self, name: str, parameters: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Return probe → [prompt, statistic] of a reference at these parameters."""
        key = (name, tuple(sorted(parameters.items())))
        if key not in self.found:
            self.progress(f"probing {REFERENCES[name][1].title}")
            learner = learner_at(self.bank, name, dict(parameters))
            self.found[key] = read_all(learner, self.bank.task, self.asked, self.prompts)
        return self.found[key]

    def prompts_needed(
        self, first: dict[str, np.ndarray], second: dict[str, np.ndarray], tests: int
    ) -> dict[str, float]:
        """Probe → prompts that tell the two by the best of its statistics; infinite: not by as many as were read.

        Args:
            first, second: what `of` gave.
            tests: number of differences looked at in all.
        """
        return {name: min(needed(gap, SIZE, tests) for gap in (first[name] - second[name]).T) for name in self.asked}


def prepare(bank: Bank, seed: int, prompts: int, progress: Callable[[str], None] = lambda line: None) -> Readings:
    """Sample the prompts of every probe, each from its own stream; nothing is measured yet."""
    progress("making the probes' prompts")
    asked = ask_all(bank.task, {name: stream(seed, name) for name in BATTERY}, prompts)
    return Readings(bank, asked, prompts, progress)
