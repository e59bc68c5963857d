"""Fit a reference's free parameters to a subject: search a grid and the interpolation between its points."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from icl_lab.core.prompts import Predictions
from icl_lab.judging.interpolation import Block

TRIALS = 9  # values of each parameter tried at once, on a range that shrinks LEVELS times
LEVELS = 4
STARTS = 4  # grid points from which a search over two parameters begins

Grid = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Fit:
    """One reference fitted to a subject.

    Attributes:
        parameters: the fitted values.
        predictions: the reference's answers at these values, on all prompts of the bank.
        at_edge: names of parameters whose best value is an end of the grid.
    """

    parameters: dict[str, float]
    predictions: Predictions
    at_edge: tuple[str, ...]


class Target(NamedTuple):
    """What parameters are fitted to: a subject's answers on some of the bank's prompts.

    Attributes:
        answers: of the subject, on these prompts.
        rows: of the prompts in the bank.
        unit: variance that distances are measured in.
        scored: positions that count.
    """

    answers: Predictions
    rows: slice
    unit: Float[np.ndarray, "prompt position"]
    scored: Bool[np.ndarray, "prompt position"]

    @property
    def weight(self) -> Float[np.ndarray, "prompt position"]:
        """Weight of each position in the mean over prompts of the mean over scored positions."""
        return self.scored / self.scored.sum(-1, keepdims=True) / len(self.scored)


def fit(grid: Grid, degrees: Mapping[str, int], predictions: Predictions, target: Target) -> Fit:
    """Return the parameters at which a reference is nearest to the target, and its predictions there.

    The search starts from the nearest grid points. Predictions between grid points are interpolated.

    Args:
        grid: parameter → its values; empty if the reference has no free parameter.
        degrees: parameter → degree of the polynomial that the predictions are in it.
        predictions: of the reference on all prompts, one leading axis per parameter.
        target: what to fit.
    """
    if not grid:
        return Fit({}, predictions, ())
    on_target = prompts_of(predictions, target.rows, len(grid))
    blocks = starts(grid, degrees, predictions, mean_distances(target.answers, on_target, target.unit, target.scored))
    block, point = nearest_point(blocks, on_target, target)
    fitted = prompts_of(block.blend(predictions, point[None]), 0)
    parameters = block.parameters(point)
    return Fit(parameters, jax.tree.map(np.asarray, fitted), at_edge(grid, parameters))


def starts(
    grid: Grid, degrees: Mapping[str, int], predictions: Predictions, distance: Float[np.ndarray, "*grid prompt"]
) -> list[Block]:
    """Return the blocks around the nearest grid points, each once.

    Two parameters can make a curved valley that no line of the grid follows, so several points are tried.

    Args:
        grid, degrees, predictions: see `fit`.
        distance: of the predictions at every grid point to the target.
    """
    coarse = distance.mean(-1)
    coarse = np.where(np.isfinite(coarse), coarse, np.inf)
    lowest = np.argsort(coarse, axis=None)[: STARTS if len(grid) > 1 else 1]
    centres = np.stack(np.unravel_index(lowest, coarse.shape), -1)
    blocks = (Block.around(grid, degrees, centre, predictions) for centre in centres)
    return list({tuple(part.start for part in block.window): block for block in blocks}.values())


def nearest_point(
    blocks: list[Block], predictions: Predictions, target: Target
) -> tuple[Block, Float[np.ndarray, " parameter"]]:
    """Return the block and the point in it at which the interpolated predictions are nearest to the target.

    Each block is searched on a mesh of TRIALS values per parameter; the mesh of the best one then shrinks.

    Args:
        blocks: to search.
        predictions: on the whole grid, on the target's prompts.
        target: what to fit.
    """
    measures = [target.answers.divergence_to_blends(b.parts(predictions), target.unit, target.weight) for b in blocks]

    def search(which: int, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
        """The smallest distance on an even mesh of a block, and its place."""
        trial = np.stack(np.meshgrid(*np.linspace(low, high, TRIALS).T, indexing="ij"), -1).reshape(-1, len(low))
        distance = measures[which](blocks[which].coefficients(trial))
        distance = np.where(np.isfinite(distance), distance, np.inf)
        return float(distance.min()), trial[np.argmin(distance)]

    found = [search(which, block.low, block.high) for which, block in enumerate(blocks)]
    best = int(np.argmin([distance for distance, _ in found]))
    block, point = blocks[best], found[best][1]
    step = (block.high - block.low) / (TRIALS - 1)
    for _ in range(LEVELS - 1):
        _, point = search(best, np.maximum(point - step, block.low), np.minimum(point + step, block.high))
        step = 2 * step / (TRIALS - 1)
    return block, point


def at_edge(grid: Grid, parameters: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names of parameters at an end of their grid."""
    ends = zip(grid.items(), parameters.values(), strict=True)
    return tuple(name for (name, v), x in ends if np.isclose(x, v[0]) or np.isclose(x, v[-1]))


def prompts_of(predictions: Predictions, rows: slice | int | np.ndarray, leading: int = 0) -> Predictions:
    """Return predictions on some prompts; `leading` axes stand before the prompt axis."""
    return jax.tree.map(lambda leaf: leaf[(slice(None),) * leading + (rows,)], predictions)


def mean_distances(
    subject: Predictions,
    other: Predictions,
    unit: Float[np.ndarray, "prompt position"],
    scored: Bool[np.ndarray, "prompt position"],
) -> Float[np.ndarray, "*lead prompt"]:
    """Return the mean divergence over each prompt's scored positions, in nats. Unscored positions may hold NaN."""
    divergence = np.asarray(subject.divergence(other, unit))
    return np.where(scored, divergence, 0.0).sum(-1, dtype=np.float64) / scored.sum(-1)
