"""Predictions between the points of a parameter grid, by Lagrange interpolation.

Quadratic in log θ; exact where predictions are a polynomial in θ, as those of gradient descent are in its step size.
"""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float

from icl_lab.core.prompts import Predictions


@dataclasses.dataclass(frozen=True)
class Block:
    """Neighbouring grid points, and the polynomial through them.

    Attributes:
        window: one slice of the grid per parameter.
        names: of the parameters.
        logarithmic: for each parameter, whether its coordinate is log θ.
        nodes: for each parameter, the coordinates of the grid points in the block.
    """

    window: tuple[slice, ...]
    names: tuple[str, ...]
    logarithmic: tuple[bool, ...]
    nodes: tuple[np.ndarray, ...]

    @classmethod
    def around(
        cls, grid: Mapping[str, np.ndarray], degrees: Mapping[str, int], centre: np.ndarray, predictions: Predictions
    ) -> "Block":
        """Return the block around a grid point, as wide as the degrees require and the grid allows.

        Args:
            grid: parameter → its values.
            degrees: parameter → degree of the polynomial that predictions are in it; others are of degree 2 in log θ.
            centre: index of the grid point.
            predictions: on the whole grid. If a neighbour's are not finite the block is the grid point alone.
        """
        windows = []
        for (name, values), index in zip(grid.items(), centre, strict=True):
            size = min(max(degrees.get(name, 0), 2) + 1, len(values))
            start = min(max(int(index) - size // 2, 0), len(values) - size)
            windows.append(slice(start, start + size))
        if not all(np.isfinite(leaf[tuple(windows)]).all() for leaf in jax.tree.leaves(predictions)):
            windows = [slice(int(index), int(index) + 1) for index in centre]
        logarithmic = tuple(name not in degrees for name in grid)
        chosen = [values[window] for values, window in zip(grid.values(), windows, strict=True)]
        nodes = tuple(np.log(v) if log else v for v, log in zip(chosen, logarithmic, strict=True))
        return cls(tuple(windows), tuple(grid), logarithmic, nodes)

    @property
    def low(self) -> Float[np.ndarray, " parameter"]:
        """Coordinates of the block's first corner."""
        return np.array([nodes[0] for nodes in self.nodes])

    @property
    def high(self) -> Float[np.ndarray, " parameter"]:
        """Coordinates of the block's last corner."""
        return np.array([nodes[-1] for nodes in self.nodes])

    def blend(self, predictions: Predictions, points: Float[np.ndarray, "point parameter"]) -> Predictions:
        """Interpolate predictions, given on the whole grid, at points of the block; points lead."""
        return jax.tree.map(np.asarray, self.parts(predictions).blend(self.coefficients(points).astype(np.float32)))

    def parts(self, predictions: Predictions) -> Predictions:
        """Select the block's part of predictions on the whole grid, along one leading axis."""
        lead = len(self.nodes)
        return jax.tree.map(lambda leaf: leaf[self.window].reshape(-1, *leaf.shape[lead:]), predictions)

    def coefficients(self, points: Float[np.ndarray, "point parameter"]) -> Float[np.ndarray, "point part"]:
        """Return the coefficient of every part at points of the block."""
        product = np.ones((len(points), 1))
        for parameter, nodes in enumerate(self.nodes):
            along = lagrange(nodes, points[:, parameter])
            product = (product[:, :, None] * along[:, None, :]).reshape(len(points), -1)
        return product

    def parameters(self, point: Float[np.ndarray, " parameter"]) -> dict[str, float]:
        """Return the parameters at a point."""
        named = zip(self.names, self.logarithmic, point, strict=True)
        return {name: float(np.exp(x) if log else x) for name, log, x in named}


def lagrange(nodes: Float[np.ndarray, " node"], points: Float[np.ndarray, " point"]) -> Float[np.ndarray, "point node"]:
    """Return coefficients c_i(v) = Π_{j≠i} (v − t_j)/(t_i − t_j) of the polynomial through nodes t, at points v."""
    own = np.eye(len(nodes), dtype=bool)
    factors = (points[:, None, None] - nodes) / np.where(own, 1.0, nodes[:, None] - nodes)
    return np.where(own, 1.0, factors).prod(-1)
