"""A reference: a learner with free parameters, a grid to fit them on, and the tasks it applies to."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.prompts import Predictions, Prompts
from icl_lab.tasks import Pool, Task

Grid = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Scales:
    """Natural scales of a task, in whose units parameter grids are written.

    Attributes:
        variance: mean variance of a feature, tr E[φφᵀ]/d.
        size: number of features d.
        label: standard deviation of the outcomes.
    """

    variance: float
    size: int
    label: float

    @property
    def distance(self) -> float:
        """Typical distance √(2 d · variance) between two inputs."""
        return float(np.sqrt(2 * self.size * self.variance))

    @classmethod
    def of(cls, task: Task) -> "Scales":
        """The scales of this task."""
        covariance, resolution = jax.device_get(_measure(task))
        return cls(float(np.trace(covariance)) / len(covariance), len(covariance), 10 * float(resolution))


@jax.jit
def _measure(task: Task) -> tuple[Any, Any]:
    return task.feature_covariance(), task.resolution()


def geometric(low: float, high: float, points: int) -> np.ndarray:
    """`points` values from low to high at a constant ratio."""
    return np.geomspace(low, high, points)


def has_pool(task: Task) -> bool:
    """Whether the task's prior is a finite pool."""
    return isinstance(task.prior, Pool)


def has_population_predictive(task: Task) -> bool:
    """Whether the task knows its population predictive in closed form."""
    return type(task).population_predictive is not Task.population_predictive


@dataclasses.dataclass(frozen=True)
class Reference:
    """A family of learners indexed by free parameters.

    Attributes:
        name: identifier, such as "ridge".
        title: for figures and tables.
        predict: (task, prompts, **settings, **parameters) → Predictions, pure and jittable; `settings` are static.
        settings: fixed keyword arguments (step counts, forms).
        grid: scales → {parameter: increasing positive values at a constant ratio}; empty for no free parameter.
        degrees: parameters in which predictions are a polynomial, with its degree; interpolation is then exact.
        prepare: task → {reference name: {argument: array}}, what it and others learn on the task beforehand, in one go
            (Meta-SGD); or None.
        applies: which tasks it makes sense for.
    """

    name: str
    title: str
    predict: Callable[..., Predictions]
    settings: tuple[tuple[str, Any], ...] = ()
    grid: Callable[[Scales], Grid] = lambda scales: {}
    degrees: tuple[tuple[str, int], ...] = ()
    prepare: Callable[[Task], Mapping[str, Mapping[str, Any]]] | None = None
    applies: Callable[[Task], bool] = lambda task: True

    def __call__(self, task: Task, prompts: Prompts, **parameters: Any) -> Predictions:
        """Predictions at these parameters, those of `prepared` among them."""
        return self.predict(task, prompts, **dict(self.settings), **parameters)

    def prepared(self, task: Task) -> Mapping[str, Any]:
        """What the task teaches this reference beforehand: arguments for every call."""
        return {} if self.prepare is None else self.prepare(task)[self.name]

    def middle(self, scales: Scales) -> dict[str, Any]:
        """The middle of the grid: some sensible parameters, for tests and lists."""
        return {name: jnp.asarray(values[len(values) // 2]) for name, values in self.grid(scales).items()}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReferenceLearner:
    """A reference at fixed parameters, as a learner: `learner(prompts) -> Predictions`. A pytree.

    Attributes:
        task: what the reference knows of the task.
        parameters: free parameters, and what `reference.prepared(task)` gave.
        reference: the family.
    """

    task: Task
    parameters: Mapping[str, Any]
    reference: Reference = dataclasses.field(metadata={"static": True})

    def __call__(self, prompts: Prompts) -> Predictions:
        return self.reference(self.task, prompts, **self.parameters)
