"""Claims of a calibration: how often known functions are identified, and how often support is false.

A rate is a gate only if there are enough learners to meet it, or its upper bound, with one of them missed. A rate over
fewer learners is only reported.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from icl_lab.calibration.measure import Rate, Record
from icl_lab.calibration.mechanisms import BUILT, RANDOM, REVERSED, MechanismRecord
from icl_lab.calibration.subjects import KINDS
from icl_lab.core.claims import OWN, REPORT, Claim, claim

SOURCE = "this lab's own control"
# Required shares of identified planted learners by noise; the first prototype reached these.
LEAST = {
    "linear_regression": {"none": 0.97, "low": 0.97, "middle": 0.82, "high": 0.59},
    "markov_chain": {"none": 0.76, "low": 0.76, "middle": 0.47, "high": 0.08},
    "boolean_rules": {},
}
MOST_FALSE, BOUNDS = 0.02, 236  # number of learners that bound the rate with one false support among them
WITHOUT = {
    "linear_regression": 0.14,
    "markov_chain": 0.06,
}  # of the first prototype, with the truth removed
NETWORKS = {"distilled": ("students", "students"), "retrained": ("retrained", "retrained constructions")}  # id, words
BOUND = "exact one-sided 95% upper bound"
# Kinds unknown to the judge. Its rule was changed after distorted ones were seen; strangers were written after that.
UNKNOWN = ("stranger", "untrained")


def rate_claim(
    identifier: str,
    statement: str,
    rate: Rate,
    expected: str | None = None,
    holds: Callable[[Rate], bool] | None = None,
    enough: int = 1,
) -> Claim:
    """Return a claim on a rate with its interval; a report if nothing is expected or there are fewer than `enough`."""
    decides = holds is not None and rate.total >= enough
    if holds is not None and not decides and rate.total:
        expected = f"{expected}; of {enough} learners and more"
    details: dict[str, Any] = (
        {"interval": [rate.interval], "trials": [rate.total]} if rate.total else {"labels": ["none there"]}
    )
    return claim(
        identifier,
        statement,
        OWN if decides else REPORT,
        rate.value if rate.total else (),
        source=SOURCE,
        condition=expected or "",
        decided=[holds(rate)] if decides and holds is not None else (),
        **details,
    )


def family_claims(family: str, records: Sequence[Record]) -> list[Claim]:
    """Return the claims of one family: identification by noise, false support by kind, no split equivalence class."""
    words, most = family.replace("_", " "), max(record.prompts for record in records)
    whole = [record for record in records if record.prompts == most and record.counted]
    planted = [record for record in whole if record.kind == "planted"]
    claims = []
    for noise in dict.fromkeys(record.noise for record in planted):
        rate = Rate.of(record.identified for record in planted if record.noise == noise)
        text = f"{words}: planted references are identified, noise {noise}"
        least = LEAST.get(family, {}).get(noise)
        claims.append(rate_claim(f"{family}.identified.{noise}", text, rate, *_at_least(least)))
    unknown = unknown_rate(records)
    claims.append(
        rate_claim(
            f"{family}.false_support",
            f"{words}: support for learners of no hypothesis that the judge does not know "
            f"({BOUND} {unknown.upper:.3f})",
            unknown,
            f"at most {MOST_FALSE:g}",
            lambda rate: rate.value <= MOST_FALSE,
            math.ceil(1 / MOST_FALSE),
        )
    )
    for kind in KINDS:
        rate = Rate.of(record.false for record in whole if record.kind == kind)
        if rate.total and kind not in NETWORKS:  # networks have their own claims
            text = f"{words}: hypotheses named that are not true, {KINDS[kind]}"
            claims.append(rate_claim(f"{family}.false_support.{kind.replace(' ', '_')}", text, rate))
    without = Rate.of(record.false_without for record in planted if record.noise == "low")
    return [
        *claims,
        rate_claim(
            f"{family}.split",
            f"{words}: verdicts that reject a reference which is the same function as the subject",
            # A network within δ of a function is not the function, so that a reference as near may be rejected.
            Rate.of(record.split for record in whole if record.kind not in NETWORKS),
            "none",
            lambda rate: not rate.count,
        ),
        rate_claim(
            f"{family}.wronged",
            f"{words}: planted references of which a hypothesis that is true is refuted, at any noise",
            Rate.of(any(record.wronged for record in own) for own in _by(planted, "name").values()),
        ),
        rate_claim(
            f"{family}.without_the_truth",
            f"{words}: support once every reference that is true of the subject is removed",
            without,
            f"first prototype {WITHOUT[family]:g}" if family in WITHOUT else None,
        ),
        *power_claims(family, records),
        *(claim for kind in NETWORKS for claim in student_claims(family, records, kind)),
    ]


def unknown_rate(records: Sequence[Record]) -> Rate:
    """Return the false support for learners of no hypothesis unknown to the judge, at the largest number of prompts."""
    most = max((record.prompts for record in records), default=0)
    return Rate.of(r.false for r in records if r.kind in UNKNOWN and r.clean and r.prompts == most)


def bound_claim(families: Mapping[str, Sequence[Record]]) -> Claim:
    """Return the claim that the upper bound of `unknown_rate` over all families is low enough."""
    rates = [unknown_rate(records) for records in families.values()]
    pooled = Rate(sum(rate.count for rate in rates), sum(rate.total for rate in rates))
    return rate_claim(
        "false_support",
        f"all families: support for learners of no hypothesis that the judge does not know "
        f"({BOUND} {pooled.upper:.3f})",
        pooled,
        f"upper bound at most {MOST_FALSE:g}",
        lambda rate: rate.upper <= MOST_FALSE,
        BOUNDS,
    )


def power_claims(family: str, records: Sequence[Record]) -> list[Claim]:
    """Return the claims on power: planted references at low noise, identified with fewer prompts and with all."""
    planted = [record for record in records if record.kind == "planted" and record.noise == "low" and record.counted]
    return [
        rate_claim(
            f"{family}.identified.{prompts}_prompts",
            f"{family.replace('_', ' ')}: planted references are identified, noise low, {prompts} prompts per set",
            Rate.of(record.identified for record in planted if record.prompts == prompts),
        )
        for prompts in sorted({record.prompts for record in planted})
    ]


def student_claims(family: str, records: Sequence[Record], kind: str = "distilled") -> list[Claim]:
    """Return the claims on students: how many are near their teachers, their verdicts, and all distances."""
    records = [record for record in records if record.kind == kind]
    if not records:
        return []
    words, (key, who) = family.replace("_", " "), NETWORKS[kind]
    counted = [record for record in records if record.counted]
    return [
        rate_claim(
            f"{family}.{key}.counted",
            f"{words}: {who} within δ of their teacher, which count",
            Rate.of(record.counted for record in records),
        ),
        rate_claim(
            f"{family}.{key}.identified",
            f"{words}: {who} that count are identified",
            Rate.of(record.identified for record in counted),
        ),
        rate_claim(
            f"{family}.{key}.false_support",
            f"{words}: hypotheses named that are not true of {who} that count",
            Rate.of(record.false for record in counted),
        ),
        rate_claim(
            f"{family}.{key}.beyond_the_same",
            f"{words}: the same, of references that are the teacher's very function and not merely within δ of it",
            Rate.of(record.beyond_the_same for record in counted),
        ),
        *(
            _distances(f"{family}.{key}.{teacher}", f"{words}: distance of {who} from {teacher}, their teacher", own)
            for teacher, own in _by(records, "reference").items()
        ),
    ]


def loop_claims(records: Sequence[Record]) -> list[Claim]:
    """Return the claims on delta-rule networks: their verdicts, and whether they compute their known algorithm."""
    claims = []
    for form, expected in (("batch", "a reference does the same"), ("online", "no reference does the same")):
        own = [record for record in records if record.group.endswith(form) and record.counted]
        text = f"delta-rule networks, {form} steps ({expected})"
        claims += [
            rate_claim(f"inner_loops.{form}.identified", f"{text}: identified", Rate.of(r.identified for r in own)),
            rate_claim(f"inner_loops.{form}.false", f"{text}: named what is not true", Rate.of(r.false for r in own)),
            rate_claim(
                f"inner_loops.{form}.beyond_the_same",
                f"{text}: named what is not the very function read off, be it within δ of it",
                Rate.of(r.beyond_the_same for r in own),
            ),
        ]
    return [
        rate_claim(
            "inner_loops.counted",
            "delta-rule networks within δ of the algorithm that is read off their parameters, which count",
            Rate.of(record.counted for record in records),
        ),
        *claims,
        _distances("inner_loops.distance", "distance of delta-rule networks from what their parameters say", records),
    ]


def mechanism_claims(records: Sequence[MechanismRecord]) -> list[Claim]:
    """Return the claims that constructions are supported as built, and random or reversed weights not at all."""
    return _mechanism_claims(
        "mechanisms", "hand-built transformers", "whose last heads write −3 times what they did", records
    )


def loop_mechanism_claims(records: Sequence[MechanismRecord]) -> list[Claim]:
    """Return the same claims on delta-rule networks, whose mechanism is read off their parameters."""
    return _mechanism_claims(
        "inner_loops.mechanisms", "delta-rule networks", "whose read-out is −3 times what it was", records
    )


def _mechanism_claims(identifier: str, who: str, reversed_by: str, records: Sequence[MechanismRecord]) -> list[Claim]:
    built, random, turned = ([r for r in records if r.weights == kind] for kind in (BUILT, RANDOM, REVERSED))
    missed = sorted({record.name for record in built if not record.right})
    return [
        rate_claim(
            f"{identifier}.identified",
            f"{who}: exactly the mechanisms that are true of them are supported"
            + (f" (not always: {', '.join(missed)})" if missed else ""),
            Rate.of(record.right for record in built),
            "all",
            lambda rate: rate.count == rate.total,
        ),
        rate_claim(
            f"{identifier}.false_support",
            f"{who}: a mechanism is supported that is not true of them",
            Rate.of(record.false for record in built),
            "none",
            lambda rate: not rate.count,
        ),
        rate_claim(
            f"{identifier}.random",
            f"{who}, the same with random weights: a mechanism is supported",
            Rate.of(record.false for record in random),
            "none",
            lambda rate: not rate.count,
        ),
        rate_claim(
            f"{identifier}.reversed",
            f"{who}, the same {reversed_by}: a mechanism is supported",
            Rate.of(record.false for record in turned),
            "none",
            lambda rate: not rate.count,
        ),
    ]


def _at_least(least: float | None) -> tuple[str | None, Callable[[Rate], bool] | None, int]:
    """Return the expectation in words, its test, and the number of learners it needs."""
    if least is None:
        return None, None, 1
    return f"at least {least:g}", lambda rate: rate.value >= least, math.ceil(1 / (1 - least))


def _by(records: Sequence[Record], field: str) -> dict[str, list[Record]]:
    """Group records by a field, in order."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(str(getattr(record, field)), []).append(record)
    return found


def _distances(identifier: str, statement: str, records: Sequence[Record]) -> Claim:
    """Return distance and δ in the worst regime, for every network."""
    worst = [int(np.argmax(np.divide(record.distance, record.limit))) for record in records]
    values = [record.distance[place] for record, place in zip(records, worst, strict=True)]
    labels = [f"δ {record.limit[place]:.3g}" for record, place in zip(records, worst, strict=True)]
    return claim(identifier, f"{statement}, nats", REPORT, values, source=SOURCE, unit="nats", labels=labels)
