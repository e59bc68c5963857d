"""The reference bank: predictions of every reference on a parameter grid, computed once for a task.

Nothing in it depends on a subject. Judging one is then a comparison of arrays: parameters are fitted to the subject on
calibration prompts that no score uses (half from the training prior, half fresh), by the nearest grid points and
interpolation between their neighbours, then frozen for every regime.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Categorical, Predictions, Prompts
from icl_lab.core.streams import stream
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.interpolation import Block
from icl_lab.learners.answers import exact_answers, unit_of
from icl_lab.learners.reference import LAPSE, Reference, ReferenceLearner, Scales, has_pool
from icl_lab.tasks import Task
from icl_lab.tasks.regimes import REGIMES, drawn_from

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
        scored = np.asarray(part.prompts.scored)
        weight = scored / scored.sum(-1, keepdims=True) / len(scored)
        calibration = self.rows(predictions, rows, len(grid))
        coarse = part.distances(target, calibration).mean(-1)
        coarse = np.where(np.isfinite(coarse), coarse, np.inf)
        # Two parameters can make a curved valley that no line of the grid follows: start from its lowest few points.
        lowest = np.argsort(coarse, axis=None)[: STARTS if len(grid) > 1 else 1]
        starts = np.stack(np.unravel_index(lowest, coarse.shape), -1)
        around = (Block.around(grid, self.degrees[name], start, predictions) for start in starts)
        blocks = list({tuple(part.start for part in block.window): block for block in around}.values())
        measures = [target.divergence_to_blends(block.parts(calibration), part.unit, weight) for block in blocks]

        def search(which: int, low: np.ndarray, high: np.ndarray) -> tuple[float, np.ndarray]:
            """The least distance on an even mesh of trial values of a block, and where it is."""
            trial = np.stack(np.meshgrid(*np.linspace(low, high, TRIALS).T, indexing="ij"), -1).reshape(-1, len(grid))
            distance = measures[which](blocks[which].coefficients(trial))
            distance = np.where(np.isfinite(distance), distance, np.inf)
            return float(distance.min()), trial[np.argmin(distance)]

        found = [search(which, block.low, block.high) for which, block in enumerate(blocks)]
        first = int(np.argmin([distance for distance, _ in found]))
        block, chosen = blocks[first], found[first][1]
        step = (block.high - block.low) / (TRIALS - 1)
        for _ in range(LEVELS - 1):
            _, chosen = search(first, np.maximum(chosen - step, block.low), np.minimum(chosen + step, block.high))
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


def reference_answers(learner: ReferenceLearner, prompts: Prompts) -> Predictions:
    """A reference's answers at fixed parameters. One program for all parameters, also those of grids."""
    parameters = {key: jnp.asarray(value, jnp.float32) for key, value in learner.parameters.items()}
    lapse = parameters.pop(LAPSE, None)
    found = _reference_answers(learner.reference, learner.task, prompts, parameters)
    return found.lapsed(lapse) if lapse is not None and isinstance(found, Categorical) else found


@exact(effort="quick", static=("reference",))
def _reference_answers(reference: Reference, task: Task, prompts: Prompts, parameters: dict[str, Any]) -> Predictions:
    return reference(task, prompts, **parameters).answer()


def _on_grid(
    reference: Reference, task: Task, prompts: Prompts, grid: Mapping[str, np.ndarray], prepared: Mapping[str, Any]
) -> Predictions:
    """Predictions as numpy arrays, with a leading axis for every parameter of the grid."""
    # Lapses change finished answers, which are therefore worked out once and not for every rate.
    own = {key: values for key, values in grid.items() if key != LAPSE}
    points = []
    for values in itertools.product(*own.values()):
        learner = ReferenceLearner(task, {**prepared, **dict(zip(own, values, strict=True))}, reference)
        point = reference_answers(learner, prompts)
        if LAPSE in grid and isinstance(point, Categorical):
            points += [point.lapsed(jnp.float32(rate)) for rate in grid[LAPSE]]
        else:
            points.append(point)
    shape = tuple(len(values) for values in grid.values())
    stacked = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *points)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), stacked)


@exact(effort="quick", static=("count",))
def _sample(task: Task, key: Array, count: int, shifted: Array) -> Prompts:
    return task.sample(key, count, shifted)


def draw_prompts(task: Task, seed: int, prompts: int, calibration: int) -> tuple[Prompts, dict[str, slice]]:
    """Calibration prompts (half training prior, half fresh) and `prompts` of every regime, in one batch.

    What each regime draws: `tasks.regimes.drawn_from`. Where there is no pool, fresh_tasks are left out.
    """
    half = calibration // 2
    # Batches of one size: compiling a sampler costs more than drawing prompts that are not used.
    count = prompts + calibration - half
    keys = jax.random.split(stream(seed, "bank"), 3)
    drawn = {}
    for regime, key in zip(REGIMES, keys, strict=True):
        source, shifted = drawn_from(task, regime)
        drawn[regime] = _sample(source, key, count, jnp.asarray(shifted))
    sets = {name: batch for name, batch in drawn.items() if has_pool(task) or name != "fresh_tasks"}
    pieces = [(drawn["in_distribution"], slice(0, half)), (drawn["fresh_tasks"], slice(0, calibration - half))]
    slices = {CALIBRATION: slice(0, calibration)}
    for index, (name, batch) in enumerate(sets.items()):
        pieces.append((batch, slice(count - prompts, count)))
        slices[name] = slice(calibration + index * prompts, calibration + (index + 1) * prompts)
    parts = [jax.tree.map(lambda leaf, r=rows: np.asarray(leaf)[r], batch) for batch, rows in pieces]
    return jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *parts), slices


def applying_to(task: Task, references: Mapping[str, tuple[str, Reference]] | None = None) -> dict[str, Reference]:
    """Those references, by default of all, that make sense for the task."""
    table = REFERENCES if references is None else references
    return {name: reference for name, (_, reference) in table.items() if reference.applies(task)}


def taught(task: Task, references: Mapping[str, tuple[str, Reference]] | None = None) -> dict[str, Mapping[str, Any]]:
    """What the task teaches each reference that applies beforehand; those that learn together do so once."""
    applying = applying_to(task, references)
    lessons = dict.fromkeys(reference.prepare for reference in applying.values() if reference.prepare is not None)
    learned = {prepare: prepare(task) for prepare in lessons}
    return {name: {} if r.prepare is None else learned[r.prepare][name] for name, r in applying.items()}


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
    batch, slices = draw_prompts(task, seed, prompts, calibration)
    scales = Scales.of(task)
    applying = applying_to(task, references)
    grids = {name: reference.free(scales) for name, reference in applying.items()}
    prepared = taught(task, references)
    predictions = {}
    for name, reference in applying.items():
        progress(name)
        predictions[name] = _on_grid(reference, task, batch, grids[name], prepared[name])
    unit = np.asarray(unit_of(task, batch))
    degrees = {name: reference.polynomial(task) for name, reference in applying.items()}
    ideal = jax.tree.map(np.asarray, exact_answers(task, batch))
    return Bank(task, jax.tree.map(np.asarray, batch), slices, unit, grids, predictions, prepared, degrees, ideal)
