"""Predictions of classes: what a leading axis shares."""

import numpy as np

from icl_lab.outcomes import Classes


def test_leading_axes_of_predictions_share_the_outcomes():
    """Predictions of several layers, [layer, prompt, class], scored by one outcome per prompt."""
    natural = np.log([[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]])
    found = Classes(2).from_natural(np.asarray(natural, np.float32)).loss(np.array([1, 0, 1]))
    np.testing.assert_allclose(np.exp(-np.asarray(found)), [[0.8, 0.5, 0.1], [0.4, 0.3, 0.9]], rtol=1e-5)
