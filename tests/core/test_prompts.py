"""Predictions: what a leading axis shares, and distances to many blends at once."""

import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import Classes
from icl_lab.core.prompts import Categorical, Point


def test_leading_axes_of_predictions_share_the_outcomes():
    """Predictions of several layers, [layer, prompt, class], scored by one outcome per prompt."""
    natural = np.log([[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]])
    found = Classes(2).from_natural(jnp.asarray(natural)).loss(jnp.array([1, 0, 1]))
    np.testing.assert_allclose(np.exp(-np.asarray(found)), [[0.8, 0.5, 0.1], [0.4, 0.3, 0.9]], rtol=1e-5)


def _classes(generator, *shape):
    return Categorical(np.log(generator.dirichlet(np.ones(3), shape)))


def _means(generator, *shape):
    return Point(generator.normal(size=shape))


@pytest.mark.parametrize("draw", [_classes, _means])
def test_distances_to_blends_are_those_to_each_blend(draw):
    """Against blending first, and at positions that do not count anything may stand."""
    generator = np.random.default_rng(0)
    own, parts = draw(generator, 5, 4), draw(generator, 3, 5, 4)
    coefficients = generator.normal(size=(7, 3))
    coefficients /= coefficients.sum(-1, keepdims=True)
    unit, weight = generator.uniform(0.5, 2, (5, 4)), generator.uniform(size=(5, 4))
    weight[0] = 0
    each = [np.asarray(own.divergence(parts.blend(row), unit)) for row in coefficients]
    expected = [(weight * distance).sum() for distance in each]
    values = next(iter(vars(parts).values()))
    values[:, 0] = np.nan
    found = own.divergence_to_blends(parts, unit, weight)(coefficients)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
