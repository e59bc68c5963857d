"""Power analysis before training: which hypotheses a setting can separate, by which measure, with how many prompts.

Each hypothesis is represented by its reference with the least loss on the task. Every rival hypothesis then mimics this
reference with all its own, refitted; the nearest is its best disguise. The two are separated by their distance in one
of the judge's regimes, or by a statistic of a behavioural probe.
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

EQUAL = 1e-5  # nats up to which two functions count as one
LIMIT = THRESHOLDS.near * THRESHOLDS.floor  # nats that a distance must exceed for the judge


@dataclasses.dataclass(frozen=True)
class Separation:
    """Separation of one hypothesis's best reference from the best disguise of another hypothesis.

    Attributes:
        first: the hypothesis that is true.
        second: the rival.
        reference, disguise: names of their references.
        nats: largest mean distance over regimes.
        prompts: regime or probe → prompts needed to distinguish the two (`needed`); infinite if they are not.
        equal: why they are the same function, by algebra or because no distance exceeds three floors (.006 nats) in
            any regime; otherwise "".
        proven: whether `equal` is by algebra.
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
    """Return whether a network of this depth can take the reference's steps, one per layer.

    A learned optimiser's steps count like those of plain gradient descent. References without a setting `steps` fit in
    any network: the delta rule takes one step per token.
    """
    return depth is None or dict(REFERENCES[name][1].settings).get("steps", 0) <= depth


def own_references() -> dict:
    """Return the references of the five hypotheses, which are all that a power analysis needs."""
    return {name: entry for name, entry in REFERENCES.items() if entry[0] in KEYS}


def champions(bank: Bank, fits: Mapping[str, Fit], depth: int | None = None) -> dict[str, str]:
    """Return hypothesis → its reference with the least loss on the task.

    Args:
        bank: of the task.
        fits: `bank.fit_to_task()`.
        depth: layers of the network; None allows any number of steps.
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
    """Return the separations of all ordered pairs of hypotheses.

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
    """Return the rival's reference with the least distance, in the regime in which it is farthest."""
    own = [
        index
        for index, name in enumerate(comparison.references)
        if owner_of(name) == key and implementable(name, depth)
    ]
    worst = np.where(np.isfinite(comparison.distance), comparison.distance, np.inf).max(0)
    return min(own, key=lambda index: worst[index])
