"""Before any training: which hypotheses a setting can separate, by what, and with how many prompts.

Of every hypothesis the reference that fits the task best stands for it, as the function a model might compute. Each
rival hypothesis then tries to mimic it with all its references, refitted; the nearest of them is its best disguise.
What separates the two is the distance in one of the judge's regimes, or a statistic of a behavioural probe.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import norm

from icl_lab.calibration.equivalences import reason
from icl_lab.calibration.planted import answers_at, learner_at
from icl_lab.calibration.truth import KEYS
from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.bank import Bank
from icl_lab.hypotheses.judge import THRESHOLDS, Comparison, compare, owner_of
from icl_lab.probes.battery import BATTERY, ask, read
from icl_lab.streams import stream

CONFIDENCE, POWER = 1.959964, 0.841621  # normal quantiles: 95%, two-sided, and 80%
EQUAL = 1e-5  # nats below which two functions are one
PROBE_PROMPTS = 64
MOST = 1e6  # prompts above which a separation is none


@dataclasses.dataclass(frozen=True)
class Separation:
    """What tells one hypothesis's best reference from the best disguise that another finds.

    Attributes:
        first: the hypothesis that is true.
        second: the rival.
        reference, disguise: names of their references.
        nats: largest mean distance over regimes.
        prompts: regime or probe → prompts needed to tell the two with 95% confidence and 80% power; infinite: never.
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
    """Whether a network of so many layers can take the reference's steps, one per layer."""
    return depth is None or dict(REFERENCES[name][1].settings).get("steps", 0) <= depth


def champions(bank: Bank, depth: int | None = None) -> dict[str, tuple[str, dict[str, float]]]:
    """Hypothesis → the reference with the least loss on the task among its own, and its parameters.

    Args:
        bank: of the task.
        depth: layers of the network; None: any number of steps counts.
    """
    fits = bank.fit_to_task()
    rows = bank.slices["in_distribution"]
    loss = {name: float(np.mean(fit.predictions.loss(bank.prompts.y)[rows])) for name, fit in fits.items()}
    found = {}
    for key in KEYS:
        own = [name for name in bank.references if owner_of(name) == key and implementable(name, depth)]
        if own:
            best = min(own, key=loss.__getitem__)
            found[key] = (best, fits[best].parameters)
    return found


def needed(values: np.ndarray, effect: float = 0.0, tests: int = 1) -> float:
    """Prompts for the mean of paired differences to stand out: ((z_{1−α/2} + z_power) · sd / (|mean| − effect))².

    Args:
        values: one difference per prompt; those that are not finite are left out.
        effect: what the mean has to exceed.
        tests: number of statistics looked at; the confidence is corrected for it (Bonferroni).
    """
    values = values[np.isfinite(values)]
    if len(values) < 8:
        return np.inf
    gap = abs(float(values.mean())) - effect
    if gap <= max(1e-4 * float(np.abs(values).max()), 1e-6):
        return np.inf
    quantile = float(norm.isf(norm.sf(CONFIDENCE) / tests)) + POWER
    count = (quantile * float(values.std()) / gap) ** 2
    return float(np.inf if count > MOST else max(count, 2.0))


def separations(
    bank: Bank, depth: int | None = None, seed: int = 0, progress: Callable[[str], None] = lambda line: None
) -> list[Separation]:
    """All ordered pairs of hypotheses.

    Args:
        bank: of the task.
        depth: layers of the network, see `champions`.
        seed: of the probes' prompts.
        progress: told in a line what is being done.
    """
    best = champions(bank, depth)
    asked = {
        name: ask(probe, bank.task, stream(seed, name), PROBE_PROMPTS)
        for name, probe in BATTERY.items()
        if probe.applies(bank.task)
    }
    measured: dict[tuple[str, tuple], dict[str, np.ndarray]] = {}

    def probed(name: str, parameters: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Statistics of every probe that applies, [prompt, statistic]."""
        key = (name, tuple(parameters.items()))
        if key not in measured:
            progress(f"probing {REFERENCES[name][1].title}")
            learner = learner_at(bank, name, dict(parameters))
            measured[key] = {
                name: np.asarray(read(BATTERY[name], learner, bank.task, given)) for name, given in asked.items()
            }
        return measured[key]

    found = []
    for first, (name, parameters) in best.items():
        comparison = compare(bank, answers_at(bank, name, parameters))
        for second in best:
            if first == second:
                continue
            index = _disguise(comparison, second, depth)
            disguise = comparison.references[index]
            fitted = comparison.fits[disguise].parameters
            worst = float(comparison.distance[:, index].max())
            proof = reason(name, disguise) if worst < EQUAL else None
            limit = THRESHOLDS.near * THRESHOLDS.floor
            equal = proof or ("no distance above three floors" if worst <= limit else "")
            prompts = {
                regime: needed(comparison.per_prompt[row, index], limit)
                for row, regime in enumerate(comparison.regimes)
            }
            if not proof:
                one, other = probed(name, parameters), probed(disguise, fitted)
                for probe in one:
                    gaps = one[probe] - other[probe]
                    prompts[probe] = min(needed(gap, tests=gaps.shape[1]) for gap in gaps.T)
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
