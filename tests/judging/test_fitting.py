"""Fits on grids made up for them: between grid points, at the edges, in curved valleys, without parameters."""

import numpy as np
import pytest

from icl_lab.core.prompts import Point
from icl_lab.judging.fitting import Target, fit, mean_distances

PROMPTS, POSITIONS = 6, 3
ROWS = slice(0, 4)
GRID = {"rate": np.geomspace(0.1, 10.0, 9)}
BASIS = np.random.default_rng(0).normal(size=(2, PROMPTS, POSITIONS))


def target(mean: np.ndarray, scored: np.ndarray | None = None) -> Target:
    scored = np.ones((4, POSITIONS), bool) if scored is None else scored
    return Target(Point(mean[ROWS].astype(np.float32)), ROWS, np.ones((4, POSITIONS)), scored)


def linear(rate: np.ndarray) -> np.ndarray:
    return rate[..., None, None] * BASIS[0]


def product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Answers that depend on a product and, weakly, on the second parameter alone: a curved valley of the grid."""
    return (first * second)[..., None, None] * BASIS[0] + 0.2 * np.log(second)[..., None, None] * BASIS[1]


@pytest.mark.parametrize("rate", [0.17, 1.3, 6.0])
def test_a_parameter_between_grid_points_is_found(rate):
    wanted = linear(np.array(rate))
    found = fit(GRID, {"rate": 1}, Point(linear(GRID["rate"]).astype(np.float32)), target(wanted))
    assert found.parameters["rate"] == pytest.approx(rate, rel=1e-2)
    assert found.at_edge == ()
    assert found.predictions.mean.shape == (PROMPTS, POSITIONS)  # on all prompts, also those not fitted to
    np.testing.assert_allclose(found.predictions.mean, wanted, rtol=1e-2)


@pytest.mark.parametrize(("rate", "edge"), [(0.01, 0), (50.0, -1)])
def test_a_parameter_beyond_the_grid_ends_at_its_edge(rate, edge):
    found = fit(GRID, {"rate": 1}, Point(linear(GRID["rate"]).astype(np.float32)), target(linear(np.array(rate))))
    assert found.at_edge == ("rate",)
    assert found.parameters["rate"] == pytest.approx(GRID["rate"][edge])


def test_two_parameters_in_a_curved_valley_are_found():
    grid = {"first": np.geomspace(0.2, 5.0, 9), "second": np.geomspace(0.2, 5.0, 9)}
    predictions = Point(product(*np.meshgrid(*grid.values(), indexing="ij")).astype(np.float32))
    wanted = product(np.array(0.37), np.array(2.9))
    found = fit(grid, {}, predictions, target(wanted))
    np.testing.assert_allclose(found.predictions.mean, wanted, atol=0.02)
    assert found.parameters["second"] == pytest.approx(2.9, rel=0.1)


def test_positions_that_do_not_count_may_hold_anything():
    scored = np.ones((4, POSITIONS), bool)
    scored[:, 0] = False
    wanted = linear(np.array(1.3))
    wanted[:, 0] = np.nan
    found = fit(GRID, {"rate": 1}, Point(linear(GRID["rate"]).astype(np.float32)), target(wanted, scored))
    assert found.parameters["rate"] == pytest.approx(1.3, rel=1e-2)


def test_without_parameters_the_predictions_are_the_fit():
    predictions = Point(BASIS[0])
    found = fit({}, {}, predictions, target(BASIS[1]))
    assert (found.parameters, found.at_edge) == ({}, ())
    assert found.predictions is predictions


def test_a_distance_is_the_mean_over_scored_positions():
    first, second = np.array([[1.0, 2.0, np.nan]]), np.array([[0.0, 4.0, 0.0]])
    scored, unit = np.array([[True, True, False]]), np.array([[0.5, 2.0, 1.0]])
    np.testing.assert_allclose(mean_distances(Point(first), Point(second), unit, scored), [(1.0 + 1.0) / 2])
