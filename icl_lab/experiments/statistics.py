"""Statistics of measured arrays: means with intervals, accuracies, and which references can be distinguished."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.thresholds import THRESHOLDS

if TYPE_CHECKING:
    import xarray

RESOLUTION = THRESHOLDS.near * THRESHOLDS.floor  # nats; the judge treats nearer references as one function


class Mean(NamedTuple):
    """A mean over one dimension with its 95% interval: value [*rest], low [*rest], high [*rest]."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def interval(self) -> np.ndarray:
        """[*rest, 2], for claims."""
        return np.stack([self.low, self.high], axis=-1)


def mean_over(values: "xarray.DataArray", dimension: str = "prompt", draws: int = 500) -> Mean:
    """Return the mean over a dimension with its percentile bootstrap interval; all rest is resampled together.

    NaN where there is nothing to average.
    """
    rest = [name for name in values.dims if name != dimension]
    array = np.asarray(values.transpose(*rest, dimension).values, float)
    if not array.shape[-1]:
        return Mean(*np.full((3, *array.shape[:-1]), np.nan))
    low, high = bootstrap_interval(array, draws=draws)
    return Mean(array.mean(-1), low, high)


def by_pool(data: "xarray.Dataset") -> dict[int, "xarray.Dataset"]:
    """Return the members trained on every number of tasks, from few to many; 0 stands for a population and is last."""
    pools = sorted(set(data.pool.values), key=lambda pool: pool or np.inf)
    return {int(pool): data.sel(member=data.pool.values == pool) for pool in pools}


def first_step(passed: Any, steps: Any) -> float:
    """Return the first step at which something is true; infinite (censored) if it never is.

    Args:
        passed: [step], booleans.
        steps: [step].
    """
    found = np.flatnonzero(np.asarray(passed))
    return float(np.asarray(steps)[found[0]]) if len(found) else np.inf


def shown_steps(times: Any, last: Any) -> list[str]:
    """Return steps as text, ">last" for those that are censored."""
    return [f"{time:.0f}" if np.isfinite(time) else f">{last:.0f}" for time in np.ravel(times)]


def right(shares: Any, outcomes: Any) -> np.ndarray:
    """Return whether the most probable class is the outcome, as 0 or 1; among several most probable ones, as a share.

    Args:
        shares: probabilities, [..., class].
        outcomes: [...].
    """
    shares, outcomes = np.asarray(shares), np.asarray(outcomes)
    top = np.isclose(shares, shares.max(-1, keepdims=True), atol=1e-6)
    return np.take_along_axis(top, outcomes[..., None], -1)[..., 0] / top.sum(-1)


def distinguishable(between: Any, to_nearer: Any = 0.0, resolution: Any = RESOLUTION) -> np.ndarray:
    """Return whether two references can be distinguished by a network's answers, elementwise.

    Their distance must exceed the resolution and the network's distance from the nearer of them: a network farther
    from both than they are from each other may be nearer either by chance.

    Args:
        between: distance of the references.
        to_nearer: distance of the network from the nearer one, in the same unit; 0 where the question is whether one
            reference can take the place of the other.
        resolution: distances up to this count as none; 0 where the unit is not nats.
    """
    return np.asarray(between) > np.maximum(resolution, to_nearer)
