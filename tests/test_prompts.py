"""Predictions of classes: what a leading axis shares."""

import jax.numpy as jnp
import numpy as np

from icl_lab.outcomes import Classes


def test_leading_axes_of_predictions_share_the_outcomes():
    """Predictions of several layers, [layer, prompt, class], scored by one outcome per prompt."""
    natural = np.log([[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]])
    found = Classes(2).from_natural(jnp.asarray(natural)).loss(jnp.array([1, 0, 1]))
    np.testing.assert_allclose(np.exp(-np.asarray(found)), [[0.8, 0.5, 0.1], [0.4, 0.3, 0.9]], rtol=1e-5)
