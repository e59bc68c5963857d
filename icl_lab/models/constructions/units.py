"""Functions that a few GELU units compute: square and logarithm. Coefficients are fitted in float64.

The fits are over ranges given beforehand; outside of them the functions are wrong, and nothing warns.
"""

import functools

import numpy as np
from jaxtyping import Float

from icl_lab.models.layers import CUBIC, SLOPE

SQUARE_SCALES = np.geomspace(0.6, 3.2, 5)  # of the units' arguments at the end of the range
RATIO, SHARPNESS = 1.3, 2.5  # of neighbouring knots of the logarithm; slope of its units at their knots

Vector = Float[np.ndarray, " unit"]


def gelu(x: np.ndarray) -> np.ndarray:
    """The models' GELU, in float64."""
    return 0.5 * x * (1 + np.tanh(SLOPE * (x + CUBIC * x**3)))


@functools.cache
def square(largest: float) -> tuple[Vector, Vector]:
    """Scales e and coefficients b with Σ_j b_j gelu(e_j a) ≈ a² for |a| ≤ largest.

    Scales come in pairs ±e: gelu(a) + gelu(−a) = a·tanh(√(2/π)(a + .0447a³)) is even and √(2/π) a² for small a; five of
    them cancel what is not quadratic to 4e-6·(a² + 2e-4·largest²) in exact arithmetic. In float32 rounding adds about
    3e-7·largest·|a|: small scales mean large coefficients.
    """
    scales = SQUARE_SCALES / largest
    a = largest * np.concatenate([np.geomspace(1e-4, 1, 800), np.linspace(0, 1, 800)])
    table = np.stack([gelu(e * a) + gelu(-e * a) for e in scales], axis=1)
    weight = 1 / (2e-4 * largest**2 + a**2)
    coefficients = _least_squares(table * weight[:, None], a**2 * weight, 1e-13)
    return np.concatenate([scales, -scales]), np.concatenate([coefficients, coefficients])


@functools.cache
def logarithm(smallest: float) -> tuple[Vector, Vector, Vector, float]:
    """Slopes s, offsets o, coefficients c and a slope r with log p ≈ Σ_j c_j gelu(s_j p + o_j) + r·p + constant.

    For smallest ≤ p ≤ 1, to about 3e-6. The units fall to zero at knots of a constant ratio, log p being an integral
    over such ramps, −∫ (k − p)₊ dk/k² + p: for large p few of them are open and for small p none is large, so nothing
    cancels and float32 adds no more than 1e-6.
    """
    count = int(np.ceil(np.log(1 / smallest) / np.log(RATIO))) + 1
    knots = smallest * RATIO ** np.arange(-2.0, count + 2)
    p = np.geomspace(smallest, 1, 4000)
    slopes = -SHARPNESS / knots
    offsets = np.full_like(knots, SHARPNESS)
    table = np.concatenate([gelu(p[:, None] * slopes + offsets), p[:, None], np.ones((len(p), 1))], axis=1)
    *coefficients, rise, _ = _least_squares(table, np.log(p), 1e-7)
    return slopes, offsets, np.array(coefficients), float(rise)


def _least_squares(table: np.ndarray, wanted: np.ndarray, cutoff: float) -> np.ndarray:
    """Coefficients of the columns, each taken at unit length, without directions below the cutoff."""
    length = np.linalg.norm(table, axis=0)
    return np.linalg.lstsq(table / length, wanted, rcond=cutoff)[0] / length
