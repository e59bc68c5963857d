"""Paired contrasts: corrected p-values against a definition by loops, effects and intervals on made-up answers."""

import numpy as np
import pytest
from scipy import stats

from icl_lab.core.statistics import contrast, holm, paired_p


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
    np.testing.assert_allclose(paired_p(values), stats.ttest_1samp(values, 0, axis=-1).pvalue)
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
