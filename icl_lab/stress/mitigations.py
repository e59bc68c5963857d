"""What is done against failures without training: learner → learner. Only the last position is answered."""

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

    The null query asks nothing: zeros, or the mean of the prompt's inputs. A factor on class probabilities that does
    not depend on the query is removed exactly, whoever it belongs to: it may be a fault, or what the examples say about
    all queries. So the exact learner is left as it is only where its own answer to the null query is uniform.
    Source: Zhao et al. 2021, "Calibrate before use".
    """

    learner: Learner
    null: Null = static(default="zeros")

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        nothing = prompts.x.mean(1) if self.null == "mean" else jnp.zeros_like(prompts.x[:, -1])
        asked, unasked = self.learner(prompts), self.learner(prompts.replace(x=prompts.x.at[:, -1].set(nothing)))
        if not isinstance(asked, Categorical) or not isinstance(unasked, Categorical):
            raise TypeError("learner: real outcomes have no probabilities to be calibrated")
        return _last(Categorical(jax.nn.log_softmax(asked.log_probs - unasked.log_probs, axis=-1)))


@pytree_dataclass
class Ensembled:
    """Mean answer over K random orders of the same examples: of probabilities, or of means.

    An exact learner of exchangeable examples is left as it is. What another one answers too much to an order is divided
    by K in variance; what it makes of all orders alike stays.

    Attributes:
        learner: to be asked K times.
        task: says what another order is, see `Task.reorder`.
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
    """Only the last position: at others another order, or another query, asks something else."""
    return jax.tree.map(lambda leaf: leaf.at[:, :-1].set(jnp.nan), answer)


MITIGATIONS: dict[str, Callable[[Learner, Task, Array], Learner]] = {
    "calibrated": lambda learner, task, key: Calibrated(learner),
    "calibrated_mean": lambda learner, task, key: Calibrated(learner, "mean"),
    "ensembled": lambda learner, task, key: Ensembled(learner, task, key),
}
