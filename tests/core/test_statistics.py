"""Intervals and tests against enumeration and scipy."""

import itertools

import numpy as np
import pytest
import scipy.stats

from icl_lab.core.statistics import (
    Bracket,
    bootstrap,
    bootstrap_interval,
    bracketed_median,
    contrast,
    evenly,
    holm,
    last_change,
    paired_p,
    rank_sum_p,
    relative,
    wilson_interval,
)


def test_a_few_of_many_hold_the_first_and_the_last():
    assert evenly(range(10), 4) == [0, 3, 6, 9]
    assert evenly([1, 2], 3) == [1, 2]


def test_shares_of_nothing_and_of_infinity_are_said_in_silence():
    distance = np.array([[0.0, 3.0, np.nan], [np.inf, 1.0, np.nan], [np.inf, np.inf, np.nan]])
    found = relative(distance, np.array([0.0, 4.0, np.inf]), floor=2.0)
    np.testing.assert_array_equal(found, [[0, 1.5, np.nan], [np.inf, 0.25, np.nan], [np.inf, np.inf, np.nan]])


@pytest.mark.parametrize("ranks", [(1,), (1, 1, 2), (4, 2, 3), (3, 3)])
def test_the_probability_of_a_rank_sum_is_a_share_of_all_rankings(ranks):
    every = itertools.product(range(1, 5), repeat=len(ranks))
    assert rank_sum_p(ranks, 4) == pytest.approx(np.mean([sum(each) <= sum(ranks) for each in every]))


def test_the_bootstrap_covers_a_ratio_of_sums_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        parts = rng.normal(1.0, 1.0, (200, 2))
        wholes = parts.mean(1) + rng.normal(2.0, 0.5, 200)
        found = bootstrap(lambda w, a=parts, b=wholes: (w @ a) / (w @ b)[:, None], 200, seed=trial, draws=300)
        np.testing.assert_allclose(found.value, parts.sum(0) / wholes.sum())
        covered += (found.low < 1 / 3) & (found.high > 1 / 3)
    assert (np.abs(covered / 200 - 0.95) < 0.05).all()


def test_groups_of_other_sizes_are_resampled_by_themselves():
    rng = np.random.default_rng(4)
    first, second = rng.normal(1.0, 1.0, 50), rng.normal(0.0, 2.0, 80)
    found = bootstrap(lambda a, b: a @ first - b @ second, 50, 80, draws=4000)
    assert found.value == pytest.approx(first.mean() - second.mean())
    width = 2 * 1.96 * np.sqrt(first.var() / 50 + second.var() / 80)
    assert found.high - found.low == pytest.approx(width, rel=0.05)


def test_the_interval_of_a_mean_is_that_of_its_statistic():
    values = np.random.default_rng(5).normal(size=(3, 40))
    low, high = bootstrap_interval(values, seed=7, draws=200, level=0.8)
    found = bootstrap(lambda weight: weight @ values.T, 40, seed=7, draws=200, level=0.8)
    np.testing.assert_allclose((found.low, found.high), (low, high), rtol=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (3, 10), (12, 12)])
def test_the_score_interval_is_scipys(successes, trials):
    found = scipy.stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((found.low, found.high), abs=1e-6)


def test_a_last_change_lies_between_two_looks_or_is_censored():
    steps = [10, 30, 100, 300]
    assert last_change("abbb", steps) == (10, 30)
    assert last_change("babb", steps) == (30, 100)
    assert last_change("aaaa", steps) == (-np.inf, 10)
    assert last_change("aaab", steps) == (100, np.inf)
    shown = [str(last_change(seen, steps)) for seen in ("aaaa", "babb", "aaab")]
    assert shown == ["by 10", "30–100", "after 100"]


def test_bounds_of_a_median_hold_whatever_the_times_are():
    found = [Bracket(-np.inf, 10), Bracket(10, 30), Bracket(30, 100), Bracket(100, np.inf), Bracket(10, 100)]
    low, high = bracketed_median(found)
    assert (low, high) == (10, 100)
    rng = np.random.default_rng(0)
    for _ in range(50):
        times = [rng.uniform(max(after, 0), min(by, 1000)) for after, by in found]
        assert low <= np.median(times) <= high
    assert bracketed_median([Bracket(5, np.inf)] * 2 + [Bracket(1, 2)]) == (5, np.inf)


def holm_by_definition(p: np.ndarray) -> list[float]:
    """The smallest level at which each hypothesis is rejected, stepping down from the smallest p-value."""
    levels = []
    for own in p:
        smaller = sorted(value for value in p if value <= own)
        levels.append(max(min(1.0, (len(p) - i) * value) for i, value in enumerate(smaller)))
    return levels


def test_holm_is_the_step_down_procedure_and_leaves_missing_values_out():
    p = np.array([0.01, 0.04, 0.03, 0.005, 0.6])
    np.testing.assert_allclose(holm(p), holm_by_definition(p))
    np.testing.assert_allclose(holm(p)[[3, 0]], [0.025, 0.04])
    with_gap = holm(np.array([[0.01, np.nan], [0.02, np.nan]]))
    np.testing.assert_allclose(with_gap, [[0.02, np.nan], [0.02, np.nan]])


def test_p_values_are_those_of_the_paired_t_test_and_certain_where_nothing_varies():
    values = np.random.default_rng(0).normal(0.2, 1.0, (3, 20))
    np.testing.assert_allclose(paired_p(values), scipy.stats.ttest_1samp(values, 0, axis=-1).pvalue)
    np.testing.assert_array_equal(paired_p(np.array([[0.0, 0.0], [0.5, 0.5], [np.nan, 1.0]])), [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(paired_p(np.array([[np.inf, 1.0]])), [np.nan])


@pytest.fixture(scope="module")
def answers():
    """Two statistics on 200 prompts: the second is the same in all predictions. The third prediction is missing."""
    random = np.random.default_rng(1)
    seen = random.normal(0.0, 1.0, (200, 2))
    level = np.array([[0.0, 0.5], [2.0, 0.5], [np.nan, np.nan]])
    predicted = seen + level[:, None] + 0.1 * random.normal(size=(3, 200, 2))
    return seen, predicted


def test_effects_are_in_units_of_how_far_predictions_lie_apart(answers):
    found = contrast(*answers)
    np.testing.assert_allclose(found.effect[:, 0], [0.0, -1.0, np.nan], atol=0.02)
    assert np.isnan(found.effect[:, 1]).all()  # what all predict alike tells nothing apart
    np.testing.assert_allclose(found.difference[:2], [[0, -0.5], [-2, -0.5]], atol=0.03)
    assert (found.low[:2] < found.difference[:2]).all()
    assert (found.difference[:2] < found.high[:2]).all()
    # Paired: the prompts' own spread of 1 has no part in the interval, 2·1.96·0.1/√200 wide.
    np.testing.assert_allclose((found.high - found.low)[:2], 2 * 1.96 * 0.1 / np.sqrt(200), rtol=0.3)
    assert found.p[1, 0] < 1e-6
    assert found.p[0, 0] > 0.05
    for values in found:
        assert np.isnan(values[2]).all()


def test_without_resamples_there_are_no_intervals_but_effects(answers):
    found = contrast(*answers, draws=0)
    assert np.isnan(found.low).all()
    np.testing.assert_allclose(found.effect[:2, 0], [0.0, -1.0], atol=0.02)
