"""Rates are gates where there are learners enough to meet them, and reports where there are not."""

import pytest

from icl_lab.calibration.claims import BOUNDS, MOST_FALSE, bound_claim, family_claims
from icl_lab.calibration.measure import Rate, Record


def records(kind: str, total: int, wrong: int) -> list[Record]:
    """Learners of one kind, of which some are missed, or are supported though they belong to no hypothesis."""
    planted = kind == "planted"
    return [
        Record(
            kind=kind, name=f"{kind} {index}", group="H2" if planted else kind, reference="ridge", noise="low",
            prompts=64, truth=("H2",) if planted else (), status="", named=(), nearest="ridge", remainder=0.0,
            identified=planted and index >= wrong, false=not planted and index < wrong, split=False, wronged=False,
            explained=True, false_without=False,
        )
        for index in range(total)
    ]  # fmt: skip


def claim(family, found, name):
    return next(claim for claim in family_claims(family, found) if claim.id == f"{family}.{name}")


@pytest.mark.parametrize(
    ("total", "missed", "gate", "holds"),
    [(33, 0, "report", None), (34, 1, "order", True), (34, 2, "order", False), (24, 1, "report", None)],
)
def test_a_share_of_planted_learners_is_a_gate_where_one_may_be_missed(total, missed, gate, holds):
    """1/(1 − .97) = 33.3: of 34 learners one may be missed, of 33 none."""
    found = claim("linear_regression", records("planted", total, missed), "identified.low")
    assert (found.gate, found.holds) == (gate, holds)
    assert f"({total - missed} of {total})" in found.measured


@pytest.mark.parametrize(
    ("total", "false", "gate", "holds"),
    [(49, 0, "report", None), (50, 1, "order", True), (50, 2, "order", False), (9, 3, "report", None)],
)
def test_false_support_is_a_gate_where_it_may_happen_once(total, false, gate, holds):
    found = claim("markov_chain", records("stranger", total, false), "false_support")
    assert (found.gate, found.holds) == (gate, holds)


@pytest.mark.parametrize(
    ("per_family", "false", "gate", "holds"),
    [((117, 118), 0, "report", None), ((118, 118), 1, "order", True), ((118, 118), 2, "order", False)],
)
def test_the_bound_is_a_gate_where_it_may_be_false_once(per_family, false, gate, holds):
    families = {str(index): records("untrained", total, false * (not index)) for index, total in enumerate(per_family)}
    found = bound_claim(families)
    assert (found.gate, found.holds) == (gate, holds)


def test_so_many_learners_are_the_fewest_that_bound_it():
    """(1 − p)^n + n p (1 − p)^(n−1) ≤ .05 at p = .02: of so many, one at most is supported in one case of twenty."""

    def one_at_most(count: int) -> float:
        return 0.98**count + count * 0.02 * 0.98 ** (count - 1)

    assert one_at_most(BOUNDS) <= 0.05 < one_at_most(BOUNDS - 1)
    assert Rate(1, BOUNDS).upper <= MOST_FALSE < Rate(1, BOUNDS - 1).upper
