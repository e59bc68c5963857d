"""Tasks and learners that the battery is tested on. What is asked of them is made once for all tests."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.prompts import Categorical, Point, Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.answers import Learner
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.probes.behaviour.battery import BATTERY, ask, read
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain, Pool, Task

TASKS: dict[str, Task] = {
    "regression": LinearRegression(dimension=3, examples=6, noise=0.5, prior=Pool(8)),
    "chain": MarkovChain(states=3, examples=14, prior=Pool(4)),
    "rules": BooleanRules(bits=3, examples=6, noise=0.1, inputs="uniform"),
}
KEY = jax.random.key(3)
PROMPTS = 64  # the default: programs that draw this many are shared


def reference(task: Task, name: str, **parameters: Any) -> ReferenceLearner:
    """A reference at these parameters."""
    given = {key: jnp.asarray(value, jnp.float32) for key, value in parameters.items()}
    return ReferenceLearner(task, given, REFERENCES[name][1])


@functools.cache
def asked(probe: str, family: str) -> Any:
    """What the probe asks."""
    return ask(BATTERY[probe], TASKS[family], KEY, PROMPTS)


def measured(probe: str, family: str, learner: Learner) -> dict[str, np.ndarray]:
    """Statistic → one value per prompt."""
    found = np.asarray(read(BATTERY[probe], learner, TASKS[family], asked(probe, family)), np.float64)
    return dict(zip(BATTERY[probe].statistics, found.T, strict=True))


def regression(name: str, **parameters: Any) -> ReferenceLearner:
    """A reference of the regression task."""
    return reference(TASKS["regression"], name, **parameters)


def examples(prompts: Prompts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and labels of the examples, and the last query, in float64."""
    x, y = np.asarray(prompts.x, np.float64), np.asarray(prompts.y, np.float64)
    return x[..., :-1, :], y[..., :-1], x[..., -1, :]


@pytree_dataclass
class Squashed:
    """tanh(ŷ): an answer that is not linear in the labels, and bounded."""

    learner: Learner

    def __call__(self, prompts: Prompts) -> Predictions:
        answer: Any = self.learner(prompts)
        return Point(jnp.tanh(answer.mean))


@pytree_dataclass
class Tempered:
    """p^β, normalised: what no prior answers."""

    learner: Learner
    power: float | jax.Array

    def __call__(self, prompts: Prompts) -> Predictions:
        answer: Any = self.learner(prompts)
        return Categorical(jax.nn.log_softmax(self.power * answer.log_probs, axis=-1))
