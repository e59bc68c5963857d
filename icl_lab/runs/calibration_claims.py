"""What a calibration claims: how often planted learners are identified, how often support is false."""

from collections.abc import Sequence

from icl_lab.calibration.measure import Rate, Record
from icl_lab.calibration.subjects import KINDS
from icl_lab.runs.claims import Claim

SOURCE = "this lab's own control"
# Identified planted learners at none, low, middle and high noise: what is asked, and what the first prototype reached.
LEAST = {
    "linear_regression": {"none": 0.97, "low": 0.97, "middle": 0.82, "high": 0.59},
    "markov_chain": {"none": 0.76, "low": 0.76, "middle": 0.47, "high": 0.08},
    "boolean_rules": {},
}
MOST_FALSE = 0.02
UNKNOWN = ("distorted", "untrained")  # kinds that the rule was not chosen on


def family_claims(family: str, records: Sequence[Record]) -> list[Claim]:
    """Claims of one family: identification by noise, false support by kind, no split classes, and what is published."""
    words, most = family.replace("_", " "), max(record.prompts for record in records)
    whole = [record for record in records if record.prompts == most]
    planted = [record for record in whole if record.kind == "planted"]
    claims = []
    for noise in dict.fromkeys(record.noise for record in planted):
        rate = Rate.of(record.identified for record in planted if record.noise == noise)
        least = LEAST.get(family, {}).get(noise)
        claims.append(
            Claim(
                id=f"{family}.identified.{noise}",
                statement=f"{words}: planted references are identified, noise {noise}",
                source=SOURCE,
                expected=None if least is None else f"at least {least:g}",
                tolerance=None,
                measured=str(rate),
                holds=None if least is None else rate.value >= least,
                gate="report" if least is None else "order",
            )
        )
    unknown = Rate.of(r.false for r in whole if r.kind in UNKNOWN and r.clean)
    claims.append(
        Claim(
            id=f"{family}.false_support",
            statement=f"{words}: support for learners of no hypothesis that the judge does not know",
            source=SOURCE,
            expected=f"at most {MOST_FALSE:g}",
            tolerance=None,
            measured=str(unknown),
            holds=unknown.value <= MOST_FALSE,
            gate="order",
        )
    )
    for kind in KINDS:
        rate = Rate.of(record.false for record in whole if record.kind == kind)
        if rate.total:
            claims.append(
                Claim(
                    id=f"{family}.false_support.{kind.replace(' ', '_')}",
                    statement=f"{words}: hypotheses named that are not true, {KINDS[kind]}",
                    source=SOURCE,
                    expected=None,
                    tolerance=None,
                    measured=str(rate),
                    holds=None,
                    gate="report",
                )
            )
    split = Rate.of(record.split for record in whole)
    without = Rate.of(record.false_without for record in planted if record.noise == "low")
    return [
        *claims,
        Claim(
            id=f"{family}.split",
            statement=f"{words}: verdicts that reject a reference which is the same function as the subject",
            source=SOURCE,
            expected="none",
            tolerance=None,
            measured=str(split),
            holds=not split.count,
            gate="order",
        ),
        Claim(
            id=f"{family}.without_the_truth",
            statement=f"{words}: support once every reference that is true of the subject is removed",
            source=SOURCE,
            expected=None,
            tolerance=None,
            measured=str(without),
            holds=None,
            gate="report",
        ),
    ]
