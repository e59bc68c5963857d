"""The reference bank: predictions of every reference on a parameter grid, computed once for a task.

Nothing in it depends on a subject. Judging one is then a comparison of arrays: parameters are fitted to the subject on
calibration prompts that no score uses (half from the training prior, half fresh), by the nearest grid points and
interpolation between their neighbours, then frozen for every regime.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.interpolation import Block
from icl_lab.learners.reference import Reference, Scales, has_pool
from icl_lab.prompts import Predictions, Prompts
from icl_lab.streams import stream
from icl_lab.tasks import Task

CALIBRATION = "calibration"
TRIALS = 9  # values of a parameter tried at once, on a range that shrinks LEVELS times
LEVELS = 4
STARTS = 4  # grid points from which a search over two parameters begins


@dataclasses.dataclass(frozen=True)
class Fit:
    """One reference fitted to a subject.

    Attributes:
        parameters: the fitted values.
        predictions: the reference's answers at them, on all prompts of the bank.
        at_edge: names of parameters whose best value is an end of the grid.
    """

    parameters: dict[str, float]
    predictions: Predictions
    at_edge: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Bank:
    """Prompts of every regime, and every reference's predictions on them.

    Attributes:
        task: the task, with its training prior.
        prompts: all prompts, the calibration prompts first.
        slices: regime (and "calibration") → rows of `prompts`.
        unit: variance that distances are measured in, [prompt, position].
        grids: reference → its parameter grid.
        predictions: reference → predictions with one leading axis per parameter.
        prepared: reference → what it learned on the task beforehand.
        degrees: reference → {parameter: degree of the polynomial that its predictions are}.
        exact: answers of the exact posterior predictive under the training prior, None where it is not known.
    """

    task: Task
    prompts: Prompts
    slices: Mapping[str, slice]
    unit: np.ndarray
    grids: Mapping[str, Mapping[str, np.ndarray]]
    predictions: Mapping[str, Predictions]
    prepared: Mapping[str, Mapping[str, Any]]
    degrees: Mapping[str, Mapping[str, int]]
    exact: Predictions | None = None

    @property
    def regimes(self) -> tuple[str, ...]:
        """The scored prompt sets."""
        return tuple(name for name in self.slices if name != CALIBRATION)

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the references that apply to the task."""
        return tuple(self.predictions)

    def score(self, scored: np.ndarray) -> "Bank":
        """The same bank counting only these positions, [position] bool: those a subject's format answers."""
        mask = np.asarray(self.prompts.scored) & np.asarray(scored)
        return dataclasses.replace(self, prompts=self.prompts.replace(scored=mask))

    def first(self, prompts: int) -> tuple["Bank", np.ndarray]:
        """The bank of the first so many prompts of every set, and their rows in this one."""
        kept = {name: np.arange(rows.start, rows.stop)[:prompts] for name, rows in self.slices.items()}
        half = self.slices[CALIBRATION].stop // 2  # from both halves, the training prior's and the fresh one's
        kept[CALIBRATION] = np.concatenate([np.arange(half)[: prompts // 2], half + np.arange(half)[: prompts // 2]])
        rows = np.concatenate(list(kept.values()))
        ends = np.cumsum([0, *map(len, kept.values())])
        slices = {name: slice(int(a), int(b)) for name, a, b in zip(kept, ends[:-1], ends[1:], strict=True)}
        predictions = {name: self.rows(found, rows, len(self.grids[name])) for name, found in self.predictions.items()}
        part = dataclasses.replace(
            self,
            prompts=jax.tree.map(lambda leaf: leaf[rows], self.prompts),
            slices=slices,
            unit=self.unit[rows],
            predictions=predictions,
            exact=None if self.exact is None else jax.tree.map(lambda leaf: leaf[rows], self.exact),
        )
        return part, rows

    def distances(self, subject: Predictions, other: Predictions) -> Float[np.ndarray, "*lead prompt"]:
        """Mean divergence of every prompt over its scored positions, in nats. Unscored positions may hold NaN."""
        divergence = np.asarray(subject.divergence(other, self.unit))
        scored = np.asarray(self.prompts.scored)
        return np.where(scored, divergence, 0.0).sum(-1, dtype=np.float64) / scored.sum(-1)

    def rows(self, predictions: Predictions, rows: slice | int | np.ndarray, leading: int = 0) -> Predictions:
        """Some prompts of predictions that have `leading` axes before the prompt axis."""
        return jax.tree.map(lambda leaf: leaf[(slice(None),) * leading + (rows,)], predictions)

    def fit(self, name: str, subject: Predictions, rows: slice | None = None) -> Fit:
        """Fit one reference's free parameters to the subject on the calibration prompts (or on `rows` of the bank)."""
        grid, predictions = self.grids[name], self.predictions[name]
        if not grid:
            return Fit({}, predictions, ())
        rows = self.slices[CALIBRATION] if rows is None else rows
        part = dataclasses.replace(self, prompts=jax.tree.map(lambda a: a[rows], self.prompts), unit=self.unit[rows])
        target = self.rows(subject, rows)

        def mean_distance(candidates: Predictions) -> np.ndarray:
            value = part.distances(target, candidates).mean(-1)
            return np.where(np.isfinite(value), value, np.inf)

        calibration = self.rows(predictions, rows, len(grid))
        coarse = mean_distance(calibration)

        def search(block: Block, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
            """The least distance on an even mesh of trial values, and where it is."""
            trial = np.stack(np.meshgrid(*np.linspace(low, high, TRIALS).T, indexing="ij"), -1).reshape(-1, len(grid))
            distance = mean_distance(block.blend(calibration, trial))
            return float(distance.min()), trial[np.argmin(distance)]

        # Two parameters can make a curved valley that no line of the grid follows: start from its lowest few points.
        lowest = np.argsort(coarse, axis=None)[: STARTS if len(grid) > 1 else 1]
        starts = np.stack(np.unravel_index(lowest, coarse.shape), -1)
        blocks = [Block.around(grid, self.degrees[name], start, predictions) for start in starts]
        found = [search(block, block.low, block.high) for block in blocks]
        first = int(np.argmin([distance for distance, _ in found]))
        block, chosen = blocks[first], found[first][1]
        step = (block.high - block.low) / (TRIALS - 1)
        for _ in range(LEVELS - 1):
            _, chosen = search(block, np.maximum(chosen - step, block.low), np.minimum(chosen + step, block.high))
            step = 2 * step / (TRIALS - 1)
        fitted = self.rows(block.blend(predictions, chosen[None]), 0)
        parameters = block.parameters(chosen)
        ends = zip(grid.items(), parameters.values(), strict=True)
        at_edge = tuple(key for (key, v), x in ends if np.isclose(x, v[0]) or np.isclose(x, v[-1]))
        return Fit(parameters, jax.tree.map(np.asarray, fitted), at_edge)

    def fit_all(self, subject: Predictions, rows: slice | None = None) -> dict[str, Fit]:
        """Every reference fitted to the subject."""
        return {name: self.fit(name, subject, rows) for name in self.references}

    def fit_to_task(self) -> dict[str, Fit]:
        """Every reference fitted to the outcomes themselves, on the calibration prompts of the training prior."""
        calibration = self.slices[CALIBRATION]
        half = slice(calibration.start, calibration.start + (calibration.stop - calibration.start) // 2)
        known = jax.tree.map(np.asarray, self.task.outcomes.certain(jnp.asarray(self.prompts.y)))
        return self.fit_all(known, half)


@functools.partial(jax.jit, static_argnames="reference")
def _predict_grid(
    reference: Reference, task: Task, prompts: Prompts, points: dict[str, Array], prepared: dict[str, Any]
) -> Predictions:
    """Predictions at every grid point, mapped one after the other: memory of one point at a time."""
    with jax.default_matmul_precision("highest"):
        if not points:
            return reference(task, prompts, **prepared).answer()
        return jax.lax.map(lambda point: reference(task, prompts, **prepared, **point).answer(), points)


@functools.partial(jax.jit, static_argnames="count")
def _sample(task: Task, key: Array, count: int, shifted: Array) -> Prompts:
    return task.sample(key, count, shifted)


@jax.jit
def _exact(task: Task, prompts: Prompts) -> Predictions | None:
    with jax.default_matmul_precision("highest"):
        found = task.posterior_predictive(prompts)
        return None if found is None else found.answer()


@jax.jit
def _unit(task: Task, prompts: Prompts) -> Array:
    with jax.default_matmul_precision("highest"):
        return task.unit(prompts)


def draw_prompts(task: Task, seed: int, prompts: int, calibration: int) -> tuple[Prompts, dict[str, slice]]:
    """Calibration prompts (half training prior, half fresh) and `prompts` of every regime, in one batch.

    Regimes: in_distribution (training prior), fresh_tasks (latents not in the pool, `task.unseen`; left out where there
    is no pool), shifted (such latents too, `task.shift_inputs`, `task.shift_latent`).
    """
    half = calibration // 2
    # Batches of one size: compiling a sampler costs more than drawing prompts that are not used.
    count = prompts + calibration - half
    keys = jax.random.split(stream(seed, "bank"), 3)
    own = _sample(task, keys[0], count, jnp.asarray(False))
    fresh = _sample(task.unseen(), keys[1], count, jnp.asarray(False))
    shifted = _sample(task.unseen(), keys[2], count, jnp.asarray(True))
    sets = {"in_distribution": own} | ({"fresh_tasks": fresh} if has_pool(task) else {}) | {"shifted": shifted}
    pieces = [(own, slice(0, half)), (fresh, slice(0, calibration - half))]
    slices = {CALIBRATION: slice(0, calibration)}
    for index, (name, batch) in enumerate(sets.items()):
        pieces.append((batch, slice(count - prompts, count)))
        slices[name] = slice(calibration + index * prompts, calibration + (index + 1) * prompts)
    parts = [jax.tree.map(lambda leaf, r=rows: np.asarray(leaf)[r], batch) for batch, rows in pieces]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *parts), slices


def build_bank(
    task: Task,
    seed: int = 0,
    prompts: int = 512,
    calibration: int = 512,
    references: Mapping[str, tuple[str, Reference]] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Bank:
    """Sample the prompts and run every reference that applies to the task over its grid.

    Args:
        task: with its training prior; a pool is needed for pool references.
        seed: of the prompts.
        prompts: per regime.
        calibration: prompts that parameters are fitted on.
        references: by default all of `REFERENCES`.
        progress: called with a reference's name before it is computed.
    """
    table = REFERENCES if references is None else references
    batch, slices = draw_prompts(task, seed, prompts, calibration)
    scales = Scales.of(task)
    grids: dict[str, Mapping[str, np.ndarray]] = {}
    predictions: dict[str, Predictions] = {}
    prepared: dict[str, Mapping[str, Any]] = {}
    taught: dict[Callable[[Task], Any], Mapping[str, Mapping[str, Any]]] = {}
    for name, (_, reference) in table.items():
        if not reference.applies(task):
            continue
        progress(name)
        grid = reference.free(scales)
        mesh = np.meshgrid(*grid.values(), indexing="ij") if grid else []
        points = {key: jnp.asarray(axis.reshape(-1), jnp.float32) for key, axis in zip(grid, mesh, strict=True)}
        if reference.prepare is not None and reference.prepare not in taught:
            taught[reference.prepare] = reference.prepare(task)
        prepared[name] = taught[reference.prepare][name] if reference.prepare is not None else {}
        flat = _predict_grid(reference, task, batch, points, prepared[name])
        shape = tuple(len(values) for values in grid.values())
        predictions[name] = jax.tree.map(
            lambda leaf, s=shape: np.asarray(leaf).reshape(s + leaf.shape[bool(s) :]), flat
        )
        grids[name] = grid
    unit = np.asarray(_unit(task, batch))
    degrees = {name: table[name][1].polynomial(task) for name in grids}
    exact = jax.tree.map(np.asarray, _exact(task, batch))
    return Bank(task, jax.tree.map(np.asarray, batch), slices, unit, grids, predictions, prepared, degrees, exact)
