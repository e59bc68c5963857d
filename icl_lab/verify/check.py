"""How a check becomes a claim, and what checks share."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.claims import Claim, claim
from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts, Values
from icl_lab.tasks import Task

Learner = Callable[[Prompts], Predictions]

PROMPTS = 1 << 19  # of a Monte Carlo mean
BUDGET = 1 << 27  # numbers that these prompts may hold
FLOATS = 1 << 19  # numbers in a batch of prompts that is computed at once
SEED = 20_220


def number(
    id: str, statement: str, source: str, expected: float, measured: float, tolerance: float, shown: str | None = None
) -> Claim:
    """A number that must come out: |measured − expected| ≤ tolerance."""
    text = f"{statement} (tolerance: {shown})" if shown else statement
    return claim(id, text, "equals", measured, expected, tolerance=tolerance, source=source, gate="exact")


def same(id: str, statement: str, source: str, first: Values, second: Values, tolerance: float) -> Claim:
    """Two computations of one thing: the largest difference, relative to the root mean square, is within tolerance.

    Entries where both are NaN are not compared; a NaN in one of them alone fails.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    compared = ~(np.isnan(first) & np.isnan(second))
    scale = np.sqrt(np.mean(np.square(second[compared])))
    difference = np.max(np.abs(first[compared] - second[compared])) / scale
    text = f"{statement}: largest relative difference"
    return claim(id, text, "at_most", difference, tolerance, source=source, gate="exact")


def draw(task: Task, prompts: int, seed: int = SEED) -> Prompts:
    """Prompts of a task."""
    return exact(lambda task: task.sample(jax.random.key(seed), prompts))(task)


def answers(learner: Callable[..., Any], *arguments: object) -> np.ndarray:
    """Mean of learner(*arguments), compiled, in float64."""
    return np.asarray(exact(lambda given: learner(*given).answer().mean)(arguments), float)


def over_prefixes(prompts: Prompts, compute: Callable[..., object]) -> np.ndarray:
    """compute(x, y, query, outcome) at every position of every prompt, [prompt, position, ...], in float64."""
    x, y = np.asarray(prompts.x, float), np.asarray(prompts.y, float)
    return np.array(
        [[compute(x[b, :i], y[b, :i], x[b, i], y[b, i]) for i in range(prompts.positions)] for b in range(len(y))]
    )


@exact(static=("batch", "batches"))
def _moments(learners: Mapping[str, Learner], task: Task, batch: int, batches: int) -> dict[str, tuple[Array, Array]]:
    """Mean of the squared error and of its square at the last position, per batch of prompts."""

    def one(index: Array) -> dict[str, tuple[Array, Array]]:
        prompts = task.sample(jax.random.fold_in(jax.random.key(SEED), index), batch)
        answer: dict[str, Any] = {name: learner(prompts).answer() for name, learner in learners.items()}
        errors = {name: value.mean - prompts.y for name, value in answer.items()}
        return {name: (jnp.mean(e[:, -1] ** 2), jnp.mean(e[:, -1] ** 4)) for name, e in errors.items()}

    return jax.lax.map(one, jnp.arange(batches))


def mean_square_error(learners: Mapping[str, Learner], task: Task) -> dict[str, tuple[float, float]]:
    """Monte Carlo of E(ŷ − y)² at the last position of every learner on the same prompts, with its standard error.

    Args:
        learners: pytrees that can be called; those of one structure share a compiled program.
        task: half a million prompts of it are drawn, fewer where prompts are long.
    """
    size = task.positions * (task.positions + task.inputs_size)
    batch = max(1, FLOATS // size)
    batches = max(1, min(PROMPTS, BUDGET // size) // batch)
    found = {}
    for name, moments in _moments(learners, task, batch, batches).items():
        first, second = (np.asarray(moment, float).mean() for moment in moments)
        found[name] = (float(first), float(np.sqrt((second - first**2) / (batch * batches))))
    return found
