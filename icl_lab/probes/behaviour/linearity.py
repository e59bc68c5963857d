"""Probes of linearity in the labels, of the answer without labels, and of label noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, stack
from icl_lab.probes.behaviour.responses import label_responses, superposed
from icl_lab.probes.behaviour.variants import departure, growth, label_scale, ratio
from icl_lab.tasks import Task


def vary_label_linearity(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts with labels 0, y, y' and (y + y')/√2, with y' of the same inputs under another latent."""
    return superposed(task, given, key)


def label_linearity(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Measure the departure from superposition, and the answer to labels that are all 0, [prompt, 2], without unit.

    With g(y) = ŷ(y) − ŷ(0) and s = (g(y) + g(y'))/√2 the nonlinearity is (g((y+y')/√2) − s)²/(g(…)² + (g(y)² +
    g(y')²)/2), between 0 (affine in the labels) and 3 (g(y) = g(y') of the opposite sign to g(…) = −s/2). The
    denominator is the prompt's own, so that prompts can be averaged; `label_nonlinearity` is a ratio of means. The
    offset |ŷ(0)|/std(y) is 0 for learners that start from zero, and |θ₀·x|/std(y) for learned starting points.

    For real outcomes whose inputs do not follow from them.
    """
    first, second, both, start = label_responses(learner, asked)
    scale = jnp.std(asked.y[1])
    expected = (first + second) / jnp.sqrt(2.0)
    size = jnp.square(both) + (jnp.square(first) + jnp.square(second)) / 2
    nonlinearity = ratio(jnp.square(both - expected).sum(-1), size.sum(-1))
    return jnp.stack([nonlinearity, jnp.linalg.norm(start, axis=-1) / scale], axis=-1)


def vary_label_noise(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts, and the same with noisier labels, twice."""
    if task.outcomes.linear:
        noise = label_scale(task, given) * jax.random.normal(key, given.y.shape)
        noisy = (given.y + noise, given.y - noise)
    else:
        wrong = jax.random.bernoulli(key, 0.25, (2, *given.y.shape))
        noisy = tuple(jnp.where(flip, task.outcomes.altered(given.y), given.y) for flip in wrong)
    return stack([given, *(task.with_outcomes(given, y) for y in noisy)])


def label_noise(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Compare the mean answer under two draws of noisier labels with the answer before, [prompt, 2].

    Growth (|b| − |a|)/(|b| + |a|) and departure |b − a|²/(|a|² + |b|²) of answers around the neutral one. Real labels
    get noise ±ε of their own standard deviation, so that learners affine in them answer the same on average;
    one that infers the noise from the prompt answers less (growth < 0). For classes, a quarter of the labels become the
    next class, twice independently.
    """
    found = answers_to(learner, asked) - task.outcomes.neutral
    before, after = found[0], (found[1] + found[2]) / 2
    return jnp.stack([growth(before, after), departure(before, after)], axis=-1)
