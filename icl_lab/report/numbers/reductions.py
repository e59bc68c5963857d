"""Reductions that skip missing values in silence: positions a format does not read are NaN, and that is no warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


def _quiet(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            return reduce(values, axis=axis)

    return reduced


median = _quiet(np.nanmedian)
mean = _quiet(np.nanmean)
smallest = _quiet(np.nanmin)
largest = _quiet(np.nanmax)


def last(values: np.ndarray) -> float:
    """The last finite entry of a vector, NaN where there is none."""
    found = np.flatnonzero(np.isfinite(values))
    return float(values[found[-1]]) if len(found) else float("nan")
