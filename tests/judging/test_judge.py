"""Every branch of the verdict rule, on distances made up for it."""

import dataclasses

import numpy as np
import pytest

from icl_lab.commands import run as execute
from icl_lab.commands.run import judge_rule
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.thresholds import THRESHOLDS, Thresholds
from icl_lab.judging.comparison import Comparison
from icl_lab.judging.judge import judge
from icl_lab.report.data import _thresholds

REGIMES = ("in_distribution", "fresh_tasks", "shifted")
FAR = 1.0


def verdict_of(zero: float = 2.0, **distances: float | tuple[float, float, float]):
    """The verdict on one subject with these distances to references; a number stands for all three regimes."""
    names = tuple(distances)
    rows = np.array([np.broadcast_to(distances[name], 3) for name in names], float).T
    return judge(Comparison(REGIMES, names, rows, rows[..., None], np.full((3, 1), zero), {}))


def test_the_near_set_is_supported_together():
    found = verdict_of(gd_1=0.01, linear_kernel=0.012, pool_bayes=FAR, ridge=FAR, lasso=FAR)
    assert found.status == "supported"
    assert set(found.near) == {"gd_1", "linear_kernel"}
    assert found.supported == ("H2", "H5")
    assert found.refuted == ("H1",)
    assert found.mechanism == "not tested"


def test_a_reference_must_be_near_in_every_regime():
    found = verdict_of(ridge=0.01, pool_bayes=(0.01, 0.01, FAR), lasso=FAR)
    assert found.near == ("ridge",)
    assert "pool_bayes" in found.rejected


def test_differences_below_the_floor_do_not_count():
    assert set(verdict_of(ridge=1e-6, pool_bayes=0.0055, lasso=FAR).near) == {"ridge", "pool_bayes"}
    assert verdict_of(ridge=1e-6, pool_bayes=0.0065, lasso=FAR).near == ("ridge",)


def test_of_answers_that_explode_a_small_share_does_not_count():
    """D_0 = 30,000: the floor is .3 nats there, and .002 where the answers are ordinary."""
    names, rows = ("gd_2", "gd_5", "ridge"), np.array([[0.01, 0.9, 1000.0], [1e-4, 0.006, 1.0], [1e-4, 0.006, 1.0]])
    zero = np.array([[30_000.0], [2.0], [2.0]])
    found = judge(Comparison(REGIMES, names, rows, rows[..., None], zero, {}))
    assert found.near == ("gd_2", "gd_5")
    rows[0, 1] = 1.21
    assert judge(Comparison(REGIMES, names, rows, rows[..., None], zero, {})).rejected == ("gd_5", "ridge")


def test_a_decoy_in_the_near_set_is_inconclusive():
    found = verdict_of(ridge=0.01, lasso=0.012, gd_1=FAR)
    assert found.status == "inconclusive"
    assert found.supported == ()
    assert "lasso" in found.reasons[0]


def test_a_large_remainder_is_unexplained_in_whichever_regime():
    found = verdict_of(zero=1.0, ridge=(0.001, 0.001, 0.021), gd_1=FAR)
    assert found.status == "unexplained"
    assert found.remainder == pytest.approx(0.021)
    assert "shifted" in found.reasons[0]
    assert verdict_of(zero=1.0, ridge=(0.001, 0.001, 0.019), gd_1=FAR).status == "supported"


def test_a_remainder_must_be_small_without_the_largest_answers_too():
    """Of one prompt in twenty the answer is huge and well explained; of the others a third is not."""
    zero = np.full((3, 40), 1.0)
    zero[:, ::20] = 1e4
    per_prompt = np.full((3, 2, 40), 0.3)
    per_prompt[:, 1] = 50.0
    found = judge(Comparison(REGIMES, ("gd_5", "ridge"), per_prompt.mean(-1), per_prompt, zero, {}))
    assert found.status == "unexplained"
    assert found.remainder == pytest.approx(0.3)


def test_a_learner_that_answers_nothing_is_unexplained():
    assert verdict_of(zero=0.001, ridge=1e-9, gd_1=1e-9, pool_bayes=FAR).status == "unexplained"


@pytest.mark.parametrize(("ratio", "status"), [(3.5, "inconclusive"), (4.1, "supported"), (2.9, "supported")])
def test_a_rival_between_near_and_rejected_lets_nothing_be_concluded(ratio, status):
    assert verdict_of(ridge=0.01, newton_2=0.01 * ratio, pool_bayes=FAR).status == status


def test_a_hypothesis_between_near_and_rejected_is_undecided():
    found = verdict_of(ridge=0.01, gd_1=0.035, pool_bayes=FAR, nearest_neighbour=FAR)
    assert (found.status, found.supported) == ("supported", ("H2",))
    assert "H5" in found.undecided
    assert "H4" in found.refuted


@pytest.mark.parametrize(
    ("bayes", "status"),
    [(0.01, "supported"), (0.0134, "supported"), (0.0136, "inconclusive"), (0.05, "inconclusive")],
)
def test_a_near_miss_counts_only_by_being_nearer(bayes, status):
    """A tempered posterior is as near as the posterior it varies: no matter. 1.5 times as near: it is that one."""
    found = verdict_of(pool_bayes=bayes, tempered_pool_bayes=0.009, gd_1=FAR)
    assert found.status == status
    assert found.supported == (("H1",) if status == "supported" else ())
    between = verdict_of(pool_bayes=0.01, tempered_pool_bayes=0.035, gd_1=FAR)
    assert between.status == "supported"


def test_nothing_rejected_nothing_concluded():
    found = verdict_of(ridge=0.01, gd_1=0.011)
    assert found.status == "inconclusive"
    assert "no reference is rejected" in found.reasons


def test_a_rival_alone_supports_no_hypothesis():
    found = verdict_of(newton_2=0.01, ridge=FAR, gd_1=FAR)
    assert (found.status, found.supported) == ("inconclusive", ())


def test_meta_learning_coincides_where_plain_descent_of_the_same_form_is_near():
    both = verdict_of(meta_sgd_1=0.01, gd_1=0.01, ridge=FAR)
    assert (both.supported, both.coincides) == (("H5",), ("H3",))
    alone = verdict_of(meta_sgd_1=0.01, gd_1=FAR, ridge=FAR)
    assert (alone.supported, alone.coincides) == (("H3",), ())
    other_form = verdict_of(meta_sgd_2=0.01, gd_1=0.01, gd_2=FAR, ridge=FAR)
    assert other_form.supported == ("H3", "H5")


def test_a_hypothesis_is_refuted_only_by_all_its_references():
    found = verdict_of(ridge=0.01, nearest_neighbour=FAR, pool_map=0.035, gd_1=FAR)
    assert "H4" not in found.refuted
    assert "H5" in found.refuted


def test_references_that_explode_are_far_not_nearest():
    found = verdict_of(ridge=0.01, gd_5=np.nan, gd_2=np.inf)
    assert found.nearest == "ridge"
    assert {"gd_5", "gd_2"} <= set(found.rejected)


def test_the_report_reads_the_thresholds_that_a_run_stores(monkeypatch):
    assert _thresholds({"judge": judge_rule()}) == Thresholds(**dataclasses.asdict(THRESHOLDS))
    others = {"near": 2.5, "reject": 5.0, "floor": 0.01, "precision": 1e-4, "remainder": 0.1, "nearer": 1.25}
    changed = dataclasses.replace(THRESHOLDS, **others)
    monkeypatch.setattr(execute, "THRESHOLDS", changed)
    assert _thresholds({"judge": judge_rule()}) == Thresholds(**dataclasses.asdict(changed))


def test_thresholds_are_those_of_the_design():
    assert (THRESHOLDS.near, THRESHOLDS.floor, THRESHOLDS.remainder, THRESHOLDS.reject) == (3.0, 0.002, 0.02, 4.0)
    assert THRESHOLDS.precision == 1e-5


def test_intervals_of_distances_cover_the_mean():
    values = np.random.default_rng(0).exponential(1.0, (2, 3, 400))
    low, high = bootstrap_interval(values)
    assert (low < values.mean(-1)).all()
    assert (values.mean(-1) < high).all()
    np.testing.assert_allclose((high - low) / 2, 1.96 / np.sqrt(400), rtol=0.25)
