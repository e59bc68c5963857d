"""The measurements that the signatures of hypotheses refer to: numbers from inside a network, never a verdict.

All of them patch values from independent prompts, with other inputs and other labels. The patched network then answers
no prompt at all, so that predicting its answer is about the circuit and not about behaviour. `explained` is the share
of the change that was predicted. A statistic that makes no sense for a learner is NaN.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.compiling import exact
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.learners.reference import has_pool, has_population_predictive, has_real_outcomes, is_stream
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.mechanisms.descent_evidence import descent
from icl_lab.mechanisms.fast_weights import fast_weights, has_fast_weights
from icl_lab.mechanisms.heads import heads
from icl_lab.mechanisms.one_step_weights import one_bare_head, weights
from icl_lab.mechanisms.posteriors import counts, pool
from icl_lab.probes.behaviour.interpolation import can_interpolate
from icl_lab.tasks import Pool, Task

LARGEST_POOL = 256  # members whose posterior is held in memory at once
Statistics = dict[str, Float[Array, ""]]
Network = TransformerLearner | RecurrentLearner


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        applies: (learner, task) → whether it makes sense for a learner of the class `of`.
        measure: (learner, task, key, **settings) → statistics; pure and jittable.
        settings: task → arguments that fix shapes.
        fixed: statistics that a control takes over from its learner, passed to `measure` as the argument `fixed`.
        of: the class of learners.
    """

    applies: Callable[[Any, Task], bool]
    measure: Callable[..., Statistics]
    settings: Callable[[Task], dict[str, int]] = lambda task: {}
    fixed: tuple[str, ...] = ()
    of: type = TransformerLearner

    def __call__(
        self, learner: Network, task: Task, key: Array, found: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """Compute the statistics as numbers, compiled and at full float32 precision.

        Args:
            learner: the network.
            task: what it was trained on; prompts are sampled from it.
            key: of the prompts.
            found: statistics of the learner whose control this is.
        """
        settings = tuple(self.settings(task).items())
        fixed = {name: jnp.float32(found[name] if found else 0) for name in self.fixed}
        values = jax.device_get(_measured(self.measure, settings, learner, task, key, fixed))
        return {name: float(value) for name, value in values.items()}


@exact(effort="once", static=("measure", "settings"))
def _measured(
    measure: Callable, settings: tuple, learner: Network, task: Task, key: Array, fixed: dict[str, Array]
) -> Statistics:
    return measure(learner, task, key, **dict(settings), **({"fixed": fixed} if fixed else {}))


def members(task: Task) -> int:
    """Return the size of the pool, 0 without one."""
    return int(task.prior.size) if isinstance(task.prior, Pool) else 0


MEASUREMENTS: dict[str, Measurement] = {
    "weights": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream and one_bare_head(learner, task), weights
    ),
    "descent": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream,
        descent,
        fixed=("steps", "steps from zero"),
    ),
    "heads": Measurement(lambda learner, task: task.examples > 1, heads),
    "pool": Measurement(
        lambda learner, task: can_interpolate(task) and 1 < members(task) <= LARGEST_POOL,
        pool,
        lambda task: {"members": members(task)},
    ),
    "counts": Measurement(
        lambda learner, task: is_stream(task) and not has_pool(task) and has_population_predictive(task), counts
    ),
    "fast weights": Measurement(
        lambda learner, task: has_real_outcomes(task) and not task.is_stream and has_fast_weights(learner, task),
        fast_weights,
        of=RecurrentLearner,
    ),
}
