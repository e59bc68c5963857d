"""A probe of inputs with another scale or covariance and unchanged labels."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, stack
from icl_lab.probes.behaviour.variants import departure, growth
from icl_lab.tasks import Task

LARGER, STRETCHED = 2.0, 3.0


def vary_input_shifts(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts, and the same with inputs doubled, and stretched threefold along a random direction."""
    direction = jax.random.normal(key, (len(given.x), 1, given.x.shape[-1]))
    direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
    stretched = given.x + (STRETCHED - 1) * (given.x * direction).sum(-1, keepdims=True) * direction
    return stack([given.replace(x=x) for x in (given.x, LARGER * given.x, stretched)])


def input_shifts(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Compare answers before and after the inputs of examples and query change alike, [prompt, 4].

    Growth (|b| − |a|)/(|b| + |a|) and departure |b − a|²/(|a|² + |b|²), both without unit, for all inputs times two
    and for inputs stretched threefold along a random direction. Labels stay, so that least squares answers the same
    from n ≥ d examples on, and for the first change at any n; a gradient step from zero answers four times as much
    (growth 3/5) at twice the inputs, several steps may blow up; ridge with a fixed penalty and kernels of a fixed width
    are in between; the nearest example ignores the scale.

    For real outcomes whose inputs do not follow from them.
    """
    before, *changed = answers_to(learner, asked)
    return jnp.stack([compare(before, after) for after in changed for compare in (growth, departure)], axis=-1)
