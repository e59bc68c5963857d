"""A reference: a learner with free parameters, a grid to fit them on, and the tasks it applies to."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Categorical, Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.tasks import Pool, Task

Grid = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Scales:
    """Natural scales of a task, in whose units parameter grids are written.

    Attributes:
        variance: mean variance of a feature, tr E[φφᵀ]/d.
        size: number of features d.
        label: standard deviation of the targets.
        classes: number of classes; 0 for real outcomes.
    """

    variance: float
    size: int
    label: float
    classes: int = 0

    @property
    def distance(self) -> float:
        """Typical distance √(2 d · variance) between two inputs."""
        return float(np.sqrt(2 * self.size * self.variance))

    @classmethod
    def of(cls, task: Task) -> "Scales":
        """The scales of this task."""
        covariance, resolution = jax.device_get(_measure(task))
        outcomes = task.outcomes
        classes = 0 if outcomes.linear else outcomes.size
        return cls(float(np.trace(covariance)) / len(covariance), len(covariance), 10 * float(resolution), classes)


@exact(effort="quick")
def _measure(task: Task) -> tuple[Any, Any]:
    return task.feature_covariance(), task.resolution()


def geometric(low: float, high: float, points: int) -> np.ndarray:
    """`points` values from low to high at a constant ratio."""
    return np.geomspace(low, high, points)


def step_sizes(parameter: str) -> Callable[[Scales], Grid]:
    """A grid of step sizes, in units of 1/curvature: cross-entropy is at most half as curved as squared error."""

    def grid(scales: Scales) -> Grid:
        unit = (4 if scales.classes else 1) / scales.variance
        return {parameter: geometric(0.05 * unit, 2.5 * unit, 16)}

    return grid


def has_pool(task: Task) -> bool:
    """Whether the task's prior is a finite pool."""
    return isinstance(task.prior, Pool)


def has_population_predictive(task: Task) -> bool:
    """Whether the task knows its population predictive, in closed form or by enumeration."""
    return jax.eval_shape(lambda: task.population_predictive(task.sample(jax.random.key(0), 1))) is not None


def has_support(task: Task) -> bool:
    """Whether the population can be enumerated."""
    return bool(task.support)


def has_real_outcomes(task: Task) -> bool:
    """Whether outcomes are real numbers."""
    return task.outcomes.linear


def has_classes(task: Task) -> bool:
    """Whether outcomes are classes."""
    return not task.outcomes.linear


def is_stream(task: Task) -> bool:
    """Whether inputs follow from earlier outcomes."""
    return task.is_stream


LAPSE = "lapse"  # the free parameter of references whose answers are mixed with uniform guesses


@dataclasses.dataclass(frozen=True)
class Reference:
    """A family of learners indexed by free parameters.

    Attributes:
        name: identifier, such as "ridge".
        title: for figures and tables.
        predict: (task, prompts, **settings, **parameters) → Predictions, pure and jittable; `settings` are static.
        settings: fixed keyword arguments (step counts, forms).
        grid: scales → {parameter: increasing positive values at a constant ratio}; empty for no free parameter.
        degrees: parameters in which answers are a polynomial, with its degree; interpolation is then exact. Holds for
            real outcomes: with classes the link is in between.
        lapses: with classes, answers are mixed with a fitted share of uniform guesses (`lapse`): copied or retrieved
            answers may be certain, and a divergence from them infinite.
        prepare: task → {reference name: {argument: array}}, what it and others learn on the task beforehand, in one go
            (Meta-SGD); or None.
        applies: which tasks it makes sense for.
        yields_to: names of references that this one can mimic. Of decoys: it blocks no verdict where one of them is as
            near as itself, it only shows that they are not near enough.
    """

    name: str
    title: str
    predict: Callable[..., Predictions]
    settings: tuple[tuple[str, Any], ...] = ()
    grid: Callable[[Scales], Grid] = lambda scales: {}
    degrees: tuple[tuple[str, int], ...] = ()
    lapses: bool = False
    prepare: Callable[[Task], Mapping[str, Mapping[str, Any]]] | None = None
    applies: Callable[[Task], bool] = lambda task: True
    yields_to: tuple[str, ...] = ()

    def __call__(
        self, task: Task, prompts: Prompts, lapse: Array | float | None = None, **parameters: Any
    ) -> Predictions:
        """Predictions at these parameters, those of `prepared` among them.

        Raises:
            TypeError, ValueError: prompts of another kind of task.
        """
        task.check(prompts)
        found = self.predict(task, prompts, **dict(self.settings), **parameters)
        return found.lapsed(lapse) if lapse is not None and isinstance(found, Categorical) else found

    def free(self, scales: Scales) -> Grid:
        """The grid of all free parameters, the lapse rate last."""
        lapse = {LAPSE: geometric(1e-3, 0.4, 6)} if self.lapses and scales.classes else {}
        return {**self.grid(scales), **lapse}

    def parameters(self, task: Task) -> tuple[str, ...]:
        """Names of the free parameters on this task, in the order of `free`; they do not depend on its scales."""
        return tuple(self.free(Scales(1.0, 1, 1.0, 0 if task.outcomes.linear else task.outcomes.size)))

    def polynomial(self, task: Task) -> dict[str, int]:
        """Parameters in which answers on this task are a polynomial, with its degree."""
        return dict(self.degrees) if task.outcomes.linear else {}

    def prepared(self, task: Task) -> Mapping[str, Any]:
        """What the task teaches this reference beforehand: arguments for every call."""
        return {} if self.prepare is None else self.prepare(task)[self.name]

    def middle(self, scales: Scales) -> dict[str, Any]:
        """The middle of the grid: some sensible parameters, for tests and lists."""
        return {name: jnp.asarray(values[len(values) // 2]) for name, values in self.free(scales).items()}


@pytree_dataclass
class ReferenceLearner:
    """A reference at fixed parameters, as a learner: `learner(prompts) -> Predictions`. A pytree.

    Attributes:
        task: what the reference knows of the task.
        parameters: free parameters, and what `reference.prepared(task)` gave.
        reference: the family.
    """

    task: Task
    parameters: Mapping[str, Any]
    reference: Reference = static()

    def __call__(self, prompts: Prompts) -> Predictions:
        return self.reference(self.task, prompts, **self.parameters)
