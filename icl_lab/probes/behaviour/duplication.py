"""A probe of duplicated examples: does the weight of an example add up, saturate or stay?"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, answers_to, stack
from icl_lab.probes.behaviour.variants import other_labels
from icl_lab.tasks import Task

COPIES = (1, 2, 4)


def vary_duplication(task: Task, key: Array, given: Prompts) -> tuple[Prompts, Float[Array, "prompt target"]]:
    """Return two variants for every number of copies, with the example's label and another one, and their Δt."""
    last = given.positions - 1
    most = max(COPIES)
    places = jax.vmap(lambda k: jax.random.permutation(k, last)[:most])(jax.random.split(key, len(given.x)))
    chosen = places[:, :1]
    x = jnp.take_along_axis(given.x, chosen[..., None], axis=1)
    y, other = (jnp.take_along_axis(labels, chosen, axis=1) for labels in (given.y, other_labels(task, given)))
    asked = given.replace(x=given.x.at[:, -1:].set(x))

    variants = []
    for copies in COPIES:
        here = (jnp.arange(last + 1) == places[:, :copies, None]).any(1)
        inputs = jnp.where(here[..., None], x, asked.x)
        variants += [asked.replace(x=inputs, y=jnp.where(here, label, asked.y)) for label in (y, other)]
    step = (task.outcomes.targets(other) - task.outcomes.targets(y))[:, 0]
    return stack(variants), step


def duplication(
    learner: Learner, task: Task, asked: tuple[Prompts, Float[Array, "prompt target"]]
) -> Float[Array, "prompt statistic"]:
    """Measure the influence A_m of an example's label on the answer to its own input, with m = 1, 2, 4 copies of it.

    A_m = ⟨Δt̂, Δt⟩/|Δt|² with the labels of all m copies changed together by `other_labels`. Copies replace up to
    three other examples at random places, so that the length stays the same. Statistics [prompt, 5],
    without unit: A_1, A_2, A_4 and the growths (A_m − A_1)/(|A_m| + |A_1|) for m = 2 and 4. These are 1/3 and 3/5 for
    one gradient step (A_m = m·η|x|²/n) and 0 for copying; less than the first on average for ridge and smoothers, whose
    A_m saturate at 1 (a single one may gain by the examples that make room).

    For prompts whose inputs do not follow from outcomes, with at least five examples.
    """
    variants, step = asked
    found = answers_to(learner, variants)
    influence = ((found[1::2] - found[::2]) * step).sum(-1) / jnp.square(step).sum(-1)  # [copies, prompt]
    size = jnp.abs(influence)
    total = size[1:] + size[0]
    grown = jnp.where(total > 0, (influence[1:] - influence[0]) / jnp.where(total > 0, total, 1.0), 0.0)
    return jnp.concatenate([influence, grown]).T
