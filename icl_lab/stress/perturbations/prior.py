"""Tasks from outside the training prior: latents on another scale, tasks the pool does not hold, shifted inputs."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.probes.behaviour.order import inputs_say_nothing
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.derived import Derived, undescribed
from icl_lab.tasks import Pool, Task, task_dataclass

MOST = 64  # members of a pool whose pairs are summed over


def _scaled_applies(task: Task) -> str:
    return f"the latents of {type(task).__name__} have no scale" if type(task).rescaled is Task.rescaled else ""


def _scaled(task: Task, strength: Strength) -> Task:
    return task if strength == 1 else task.rescaled(strength)


def _needs_pool(task: Task) -> str:
    return "" if isinstance(task.prior, Pool) else "the prior has no pool: every task belongs to it"


def _unseen(task: Task, strength: Strength) -> Task:
    return task.unseen() if strength else task


@task_dataclass
class Between(Derived):
    """Latents a `share` of the way between two members of the base's pool: a pool of M(M − 1) latents."""

    share: Any = 0.5

    def pool_latent(self, index: Array) -> Any:
        size = self.base.prior.size  # pyrefly: ignore[missing-attribute]
        first, step = jnp.divmod(index, size - 1)
        second = (first + 1 + step) % size
        return self.base.interpolate(self.base.pool_latent(first), self.base.pool_latent(second), self.share)


def _between_applies(task: Task) -> str:
    if why := undescribed(task):
        return why
    if not isinstance(task.prior, Pool):
        return _needs_pool(task)
    if int(task.prior.size) < 2:
        return "a pool of one member has no pair to interpolate"
    if int(task.prior.size) > MOST:
        return f"pool: {int(task.prior.size)} members have too many pairs; at most {MOST} members"
    try:
        jax.eval_shape(lambda i: task.interpolate(task.pool_latent(i), task.pool_latent(i + 1), 0.5), jnp.asarray(0))
    except TypeError as error:
        return str(error)
    return ""


def _between(task: Task, strength: Strength) -> Task:
    if not strength:
        return task
    assert isinstance(task.prior, Pool)
    pairs = Pool(task.prior.size * (task.prior.size - 1), task.prior.seed)  # pyrefly: ignore[bad-argument-type]
    return Between(examples=task.examples, prior=pairs, base=task, share=strength)


@task_dataclass
class ShiftedInputs(Derived):
    """Inputs moved by `shift_inputs`. They are no evidence about the latent, so the posterior is the base's."""

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        return self.base.shift_inputs(self.base.draw_inputs(key, latent))

    def population_predictive(self, prompts: Prompts) -> Predictions | None:
        return self.base.posterior_predictive(prompts)


def _shifted_applies(task: Task) -> str:
    if why := undescribed(task):
        return why
    if task.is_stream:
        return f"the inputs of {type(task).__name__} follow from its outcomes"
    if type(task).shift_inputs is Task.shift_inputs and not task.outcomes.linear:
        return f"{type(task).__name__} does not say how its inputs could be shifted"
    return "" if inputs_say_nothing(task) else f"the inputs of {type(task).__name__} are evidence about its latent"


def _shifted(task: Task, strength: Strength) -> Task:
    return ShiftedInputs(examples=task.examples, base=task) if strength else task


PRIOR = Perturbation(
    name="prior",
    title="tasks on another scale",
    question="how far does the subject shrink towards the training prior?",
    unit="scale of the latents (training: 1)",
    strengths=(1.0, 1.5, 2.0, 3.0),
    standard=2.0,
    applies=_scaled_applies,
    task=_scaled,
)
UNSEEN = Perturbation(
    name="unseen",
    title="tasks outside the pool",
    question="does the subject solve tasks outside its training pool?",
    unit="tasks of the pool (0) or others (1)",
    strengths=(0.0, 1.0),
    standard=1.0,
    applies=_needs_pool,
    task=_unseen,
)
BETWEEN = Perturbation(
    name="between",
    title="tasks between two of the pool",
    question="does the subject interpolate between the tasks it was trained on?",
    unit="share of the way from one pool task to another",
    strengths=(0.0, 0.25, 0.5),
    standard=0.5,
    applies=_between_applies,
    task=_between,
)
INPUTS = Perturbation(
    name="inputs",
    title="shifted inputs",
    question="do inputs of another distribution mislead the subject?",
    unit="inputs of training (0) or shifted (1)",
    strengths=(0.0, 1.0),
    standard=1.0,
    applies=_shifted_applies,
    task=_shifted,
)
