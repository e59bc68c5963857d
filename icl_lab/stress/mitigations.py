"""Mitigations without training, learner → learner, which answer the last position only."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Categorical, Point, Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.tasks import Task

Learner = Callable[[Prompts], Predictions]
Null = Literal["zeros", "mean"]
ORDERS = 8


@pytree_dataclass
class Calibrated:
    """Contextual calibration: p(y | examples, x) / p(y | examples, null), normalised.

    The null query has no content: zeros, or the mean of the prompt's inputs. Calibration removes every factor on class
    probabilities that does not depend on the query, whether it is a bias or evidence of the examples about all queries.
    The exact learner is unchanged only if its own answer to the null query is uniform.
    Source: Zhao et al. 2021, "Calibrate before use".
    """

    learner: Learner
    null: Null = static(default="zeros")

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        nothing = prompts.x.mean(1) if self.null == "mean" else jnp.zeros_like(prompts.x[:, -1])
        query, null = self.learner(prompts), self.learner(prompts.replace(x=prompts.x.at[:, -1].set(nothing)))
        if not isinstance(query, Categorical) or not isinstance(null, Categorical):
            raise TypeError("learner: real outcomes have no probabilities to calibrate")
        return _last(Categorical(jax.nn.log_softmax(query.log_probs - null.log_probs, axis=-1)))


@pytree_dataclass
class Ensembled:
    """The mean answer (probabilities, or means) over K random orders of the same examples.

    The exact learner of exchangeable examples is unchanged. The variance due to order is divided by K; a bias that is
    the same in all orders stays.

    Attributes:
        learner: evaluated K times.
        task: defines reordering, see `Task.reorder`.
        key: of the orders.
        orders: K.
    """

    learner: Learner
    task: Task
    key: Any
    orders: int = static(default=ORDERS)

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        def one(key: Array) -> Predictions:
            return self.learner(self.task.reorder(key, prompts)).answer()

        every = jax.lax.map(one, jax.random.split(self.key, self.orders))
        if isinstance(every, Categorical):
            return _last(Categorical.mix(jnp.full((self.orders, 1, 1), 1 / self.orders), every))
        return _last(Point(every.mean.mean(0)))


def _last(answer: Predictions) -> Predictions:
    """Keep the last position only: the others belong to other orders or queries."""
    return jax.tree.map(lambda leaf: leaf.at[:, :-1].set(jnp.nan), answer)


MITIGATIONS: dict[str, Callable[[Learner, Task, Array], Learner]] = {
    "calibrated": lambda learner, task, key: Calibrated(learner),
    "calibrated_mean": lambda learner, task, key: Calibrated(learner, "mean"),
    "ensembled": lambda learner, task, key: Ensembled(learner, task, key),
}
