"""Duels: which of two references does a learner follow where the two disagree?

A duel compares two references only. Prompts on which some pair of many references disagrees say nothing about another
pair, and a mean over them would name the reference that most often stands alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.learners.answers import Learner
from icl_lab.tasks import Task


@pytree_dataclass
class Duel:
    """A subject's answers where two references disagree most.

    Attributes:
        nearer_first: whether the subject's answer is nearer to the first, in nats; their mean is the share.
        score: ⟨s − b, a − b⟩/|a − b|² with s, a, b the expected targets of the subject, the first and the second: 1
            like the first, 0 like the second, and outside [0, 1] if the subject is more extreme than either.
        remainder: |s − b − c(a − b)|²/|a − b|² with c the mean score: 0 for a subject that is the same mixture of the
            two on every prompt, large for one that is neither. A score means little if the remainder is large.
        separation: nats between the two references.
    """

    __no_type_check__ = True  # fields may be traced

    nearer_first: Bool[Array, " prompt"]
    score: Float[Array, " prompt"]
    remainder: Float[Array, " prompt"]
    separation: Float[Array, " prompt"]


def _last(learner: Learner, prompts: Prompts) -> Predictions:
    """Return the last answer, [batch, 1, …], as plain arrays."""
    return jax.tree.map(lambda leaf: leaf[:, -1:], learner(prompts).answer())


def _between(first: Predictions, second: Predictions, unit: Array) -> Float[Array, " batch"]:
    """Return the divergence of two last answers in nats, the mean of both directions."""
    return (first.divergence(second, unit) + second.divergence(first, unit))[:, 0] / 2


def discriminating_prompts(
    first: Learner, second: Learner, task: Task, key: Array, sample: int = 1024, keep: int = 64
) -> Prompts:
    """Return the `keep` prompts of `sample` on which the last answers of two learners differ most in nats.

    Prompts come from the task's prior; pass `task.unseen()` for prompts off its pool. The distance is Δmean²/2v, or for
    classes the mean of KL in both directions. A confident wrong answer is far from everything, so references that copy
    or retrieve classes should have a lapse rate.
    """
    return _choose(first, second, task, key, sample, keep)[0]


def _choose(
    first: Learner, second: Learner, task: Task, key: Array, sample: int, keep: int
) -> tuple[Prompts, Float[Array, "prompt 1"], Float[Array, " prompt"]]:
    """Return the prompts, the unit of their last answers, and the distance of these."""
    prompts = task.sample(key, sample)
    unit = task.unit(prompts)[:, -1:]
    distance, chosen = jax.lax.top_k(_between(_last(first, prompts), _last(second, prompts), unit), keep)
    return jax.tree.map(lambda leaf: leaf[chosen], prompts), unit[chosen], distance


def duel(
    subject: Learner, first: Learner, second: Learner, task: Task, key: Array, sample: int = 1024, keep: int = 64
) -> Duel:
    """Compare the subject with `first` and `second` where these disagree most (`discriminating_prompts`).

    The prompts do not depend on the subject, so that duels of several subjects with one key are paired.
    """
    prompts, unit, separation = _choose(first, second, task, key, sample, keep)
    own, one, other = (_last(learner, prompts) for learner in (subject, first, second))
    to_first, to_second = own.divergence(one, unit)[:, 0], own.divergence(other, unit)[:, 0]
    s, a, b = (answer.mean_target()[:, 0] for answer in (own, one, other))
    apart = jnp.square(a - b).sum(-1)
    apart = jnp.where(apart > 0, apart, jnp.nan)  # equal answers everywhere are no duel
    score = ((s - b) * (a - b)).sum(-1) / apart
    remainder = jnp.square(s - b - score.mean() * (a - b)).sum(-1) / apart
    return Duel(to_first < to_second, score, remainder, separation)
