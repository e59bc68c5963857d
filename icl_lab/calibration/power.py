"""Before any training: which hypotheses a setting can separate, by what, and with how many prompts.

Of every hypothesis the reference that fits the task best stands for it, as the function a model might compute. Each
rival hypothesis then tries to mimic it with all its references, refitted; the nearest of them is its best disguise.
What separates the two is the distance in one of the judge's regimes, or a statistic of a behavioural probe.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from icl_lab.calibration.equivalences import reason
from icl_lab.calibration.needed import needed
from icl_lab.calibration.readings import Readings
from icl_lab.calibration.truth import KEYS
from icl_lab.core.thresholds import THRESHOLDS
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank
from icl_lab.judging.comparison import Comparison, compare
from icl_lab.judging.fitting import Fit
from icl_lab.judging.judge import owner_of

EQUAL = 1e-5  # nats below which two functions are one
LIMIT = THRESHOLDS.near * THRESHOLDS.floor  # nats that a distance has to exceed for the judge to see it


@dataclasses.dataclass(frozen=True)
class Separation:
    """What tells one hypothesis's best reference from the best disguise that another finds.

    Attributes:
        first: the hypothesis that is true.
        second: the rival.
        reference, disguise: names of their references.
        nats: largest mean distance over regimes.
        prompts: regime or probe → prompts needed to tell the two (`needed`); infinite: not told.
        equal: why they are the same function, "" where they are not: by algebra, or because no distance exceeds
            three floors (.006 nats) in any regime.
        proven: whether algebra says so.
    """

    first: str
    second: str
    reference: str
    disguise: str
    nats: float
    prompts: Mapping[str, float]
    equal: str
    proven: bool


def implementable(name: str, depth: int | None) -> bool:
    """Whether a network of so many layers can take the reference's steps, one per layer; 5 causal steps need 5 layers.

    A learned optimiser's steps count like those of plain gradient descent. References without a setting `steps` fit in
    any network: the delta rule takes a step per token.
    """
    return depth is None or dict(REFERENCES[name][1].settings).get("steps", 0) <= depth


def own_references() -> dict:
    """The references of the five hypotheses: a bank of them is all that is needed here."""
    return {name: entry for name, entry in REFERENCES.items() if entry[0] in KEYS}


def champions(bank: Bank, fits: Mapping[str, Fit], depth: int | None = None) -> dict[str, str]:
    """Hypothesis → the reference with the least loss on the task among its own.

    Args:
        bank: of the task.
        fits: `bank.fit_to_task()`.
        depth: layers of the network; None: any number of steps counts.
    """
    rows = bank.slices["in_distribution"]
    loss = {name: float(np.mean(fit.predictions.loss(bank.prompts.y)[rows])) for name, fit in fits.items()}
    found = {}
    for key in KEYS:
        own = [name for name in bank.references if owner_of(name) == key and implementable(name, depth)]
        if own:
            found[key] = min(own, key=loss.__getitem__)
    return found


def separations(bank: Bank, fits: Mapping[str, Fit], readings: Readings, depth: int | None = None) -> list[Separation]:
    """All ordered pairs of hypotheses.

    Args:
        bank: of the task.
        fits: `bank.fit_to_task()`.
        readings: of the battery.
        depth: layers of the network, see `champions`.
    """
    best = champions(bank, fits, depth)
    tests = len(best) * (len(best) - 1) * (readings.statistics + len(bank.regimes))
    found = []
    for first, name in best.items():
        readings.progress(f"disguises of {REFERENCES[name][1].title}")
        comparison = compare(bank, fits[name].predictions)
        for second in best:
            if first == second:
                continue
            index = _disguise(comparison, second, depth)
            disguise = comparison.references[index]
            worst = float(comparison.distance[:, index].max())
            proof = reason(name, disguise) if worst < EQUAL else None
            prompts = {
                regime: needed(comparison.per_prompt[row, index], LIMIT, tests)
                for row, regime in enumerate(comparison.regimes)
            }
            if not proof:
                one = readings.of(name, fits[name].parameters)
                other = readings.of(disguise, comparison.fits[disguise].parameters)
                prompts |= readings.prompts_needed(one, other, tests)
            equal = proof or ("no distance above three floors" if worst <= LIMIT else "")
            found.append(Separation(first, second, name, disguise, worst, prompts, equal, bool(proof)))
    return found


def _disguise(comparison: Comparison, key: str, depth: int | None) -> int:
    """The rival's reference with the least distance, by the regime in which it is farthest."""
    own = [
        index
        for index, name in enumerate(comparison.references)
        if owner_of(name) == key and implementable(name, depth)
    ]
    worst = np.where(np.isfinite(comparison.distance), comparison.distance, np.inf).max(0)
    return min(own, key=lambda index: worst[index])
