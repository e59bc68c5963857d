"""The reference bank: predictions of every reference on a parameter grid, computed once for a task.

A bank does not depend on the subject, so that judging a subject is a comparison of arrays. Parameters are fitted to
the subject on calibration prompts that no score uses (half from the training prior, half fresh tasks), then frozen for
every regime.
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
from icl_lab.judging.fitting import Fit, Target, fit, mean_distances, prompts_of
from icl_lab.learners.answers import exact_answers, unit_of
from icl_lab.learners.reference import LAPSE, Reference, ReferenceLearner, Scales, has_pool
from icl_lab.tasks import Task
from icl_lab.tasks.regimes import REGIMES, drawn_from

CALIBRATION = "calibration"


@dataclasses.dataclass(frozen=True)
class Bank:
    """Prompts of every regime, and every reference's predictions on them.

    Attributes:
        task: the task, with its training prior.
        prompts: all prompts, the calibration prompts first.
        slices: regime (and "calibration") → rows of `prompts`.
        unit: variance that distances are measured in, [prompt, position].
        grids: reference → its parameter grid.
        predictions: reference → its predictions, with one leading axis per parameter.
        prepared: reference → what it learned from the task in advance.
        degrees: reference → {parameter: degree of the polynomial that its predictions are in it}.
        exact: answers of the exact posterior predictive under the training prior; None if it is unknown.
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
        """Names of the scored prompt sets."""
        return tuple(name for name in self.slices if name != CALIBRATION)

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the references that apply to the task."""
        return tuple(self.predictions)

    def score(self, scored: np.ndarray) -> "Bank":
        """Return the bank that scores only these positions, [position] bool: those that a subject's format answers."""
        mask = np.asarray(self.prompts.scored) & np.asarray(scored)
        return dataclasses.replace(self, prompts=self.prompts.replace(scored=mask))

    def first(self, prompts: int) -> tuple["Bank", np.ndarray]:
        """Return the bank of the first `prompts` prompts of every set, and their rows in this bank."""
        kept = {name: np.arange(rows.start, rows.stop)[:prompts] for name, rows in self.slices.items()}
        half = self.slices[CALIBRATION].stop // 2  # from both halves, the training prior's and the fresh one's
        kept[CALIBRATION] = np.concatenate([np.arange(half)[: prompts // 2], half + np.arange(half)[: prompts // 2]])
        rows = np.concatenate(list(kept.values()))
        ends = np.cumsum([0, *map(len, kept.values())])
        slices = {name: slice(int(a), int(b)) for name, a, b in zip(kept, ends[:-1], ends[1:], strict=True)}
        predictions = {name: prompts_of(found, rows, len(self.grids[name])) for name, found in self.predictions.items()}
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
        """Return the mean divergence over each prompt's scored positions, in nats. Unscored positions may hold NaN."""
        return mean_distances(subject, other, self.unit, np.asarray(self.prompts.scored))

    def fit(self, name: str, subject: Predictions, rows: slice | None = None) -> Fit:
        """Fit one reference to the subject's answers on the calibration prompts, or on other `rows` of the bank."""
        rows = self.slices[CALIBRATION] if rows is None else rows
        scored = np.asarray(self.prompts.scored)[rows]
        target = Target(prompts_of(subject, rows), rows, self.unit[rows], scored)
        return fit(self.grids[name], self.degrees[name], self.predictions[name], target)

    def fit_all(self, subject: Predictions, rows: slice | None = None) -> dict[str, Fit]:
        """Fit every reference to the subject."""
        return {name: self.fit(name, subject, rows) for name in self.references}

    def fit_to_task(self) -> dict[str, Fit]:
        """Fit every reference to the outcomes themselves, on the calibration prompts of the training prior."""
        calibration = self.slices[CALIBRATION]
        half = slice(calibration.start, calibration.start + (calibration.stop - calibration.start) // 2)
        known = jax.tree.map(np.asarray, self.task.outcomes.certain(jnp.asarray(self.prompts.y)))
        return self.fit_all(known, half)


def reference_answers(learner: ReferenceLearner, prompts: Prompts) -> Predictions:
    """Compute a reference's answers at fixed parameters. All parameters share one compiled program."""
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
    """Compute predictions on a grid, as numpy arrays with a leading axis for every parameter."""
    # A lapse changes finished answers, so answers are computed once for all lapse rates.
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
    """Sample calibration prompts (half training prior, half fresh tasks) and prompts of every regime, in one batch.

    `tasks.regimes.drawn_from` defines the regimes. Without a pool there is no regime of fresh tasks.

    Args:
        task: with its training prior.
        seed: of the prompts.
        prompts: number per regime.
        calibration: number of calibration prompts.

    Returns:
        The prompts, and the rows of each set.
    """
    half = calibration // 2
    # All batches have one size, because compiling a sampler costs more than sampling prompts that are not used.
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
    """Return the references, by default of `REFERENCES`, that apply to the task."""
    table = REFERENCES if references is None else references
    return {name: reference for name, (_, reference) in table.items() if reference.applies(task)}


def taught(task: Task, references: Mapping[str, tuple[str, Reference]] | None = None) -> dict[str, Mapping[str, Any]]:
    """Return what each reference learns from the task in advance; references that learn together do so once."""
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
    """Build a bank: sample prompts and evaluate every reference that applies to the task on its grid.

    Args:
        task: with its training prior; references to a pool need one.
        seed: of the prompts.
        prompts: number per regime.
        calibration: number of prompts that parameters are fitted on.
        references: candidates, by default `REFERENCES`.
        progress: called with the name of a reference before it is evaluated.
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
