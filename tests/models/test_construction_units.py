"""What hand-built models are made of: matrices of blocks, and GELU units that square and take logarithms."""

import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models.constructions.parts import add, channels
from icl_lab.models.constructions.units import gelu as gelu_in_double
from icl_lab.models.constructions.units import logarithm, square
from icl_lab.models.layers import gelu


def test_the_unit_is_the_models() -> None:
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(gelu_in_double(x), gelu(jnp.float32(x)), atol=1e-6)


@pytest.mark.parametrize("largest", [3.0, 24.0])
def test_squares_in_single_precision(largest: float) -> None:
    scales, shares = square(largest)
    a = np.linspace(-largest, largest, 2001).astype(np.float32)
    found = gelu(a[:, None] * jnp.float32(scales)) @ jnp.float32(shares)
    wanted = np.square(a, dtype=float)
    assert np.abs((found - wanted) / (wanted + 1e-3 * largest**2)).max() < 1e-5
    assert np.abs(gelu(2 * a[:1, None] * jnp.float32(scales)) @ jnp.float32(shares) - 4 * largest**2) > 1e-3


@pytest.mark.parametrize("smallest", [0.3, 1e-4])
def test_logarithms_in_single_precision(smallest: float) -> None:
    slopes, offsets, shares, rise = logarithm(smallest)
    p = np.geomspace(smallest, 1, 3001).astype(np.float32)
    units = gelu(p[:, None] * jnp.float32(slopes) + jnp.float32(offsets))
    error = np.asarray(units @ jnp.float32(shares) + jnp.float32(rise) * p, float) - np.log(p.astype(float))
    assert np.ptp(error) < 1.5e-5  # up to a constant, which no softmax sees


def test_blocks_add_up_where_they_are_put() -> None:
    at, width = channels(x=2, y=1, z=2)
    assert width == 5
    twice, row = (at["x"], slice(0, 2), 2.0), (at["y"], slice(1, 3), np.array([[3.0, 4.0]]))
    found = np.zeros((width, 3))
    add(found, twice, row, (at["x"], slice(0, 2), 1))
    expected = [[3, 0, 0], [0, 3, 0], [0, 3, 4], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="broadcast"):
        add(np.zeros((3, 3)), (slice(0, 2), slice(0, 2), np.ones((3, 3))))
