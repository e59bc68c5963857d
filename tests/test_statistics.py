"""Intervals and tests against enumeration and scipy."""

import itertools

import numpy as np
import pytest
import scipy.stats

from icl_lab.statistics import rank_sum_p, wilson_interval


@pytest.mark.parametrize("ranks", [(1,), (1, 1, 2), (4, 2, 3), (3, 3)])
def test_the_probability_of_a_rank_sum_is_a_share_of_all_rankings(ranks):
    every = itertools.product(range(1, 5), repeat=len(ranks))
    assert rank_sum_p(ranks, 4) == pytest.approx(np.mean([sum(each) <= sum(ranks) for each in every]))


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 10), (12, 12)])
def test_the_score_interval_is_scipys(successes, trials):
    found = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((found.low, found.high), abs=1e-6)
