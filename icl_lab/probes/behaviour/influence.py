"""Probes of the labels' influences a_i on the last answer, and of interactions between examples.

a_i = ∂ŷ/∂y_i, see `label_influence`. A kernel smoother has a_i ≥ 0, Σa = 1, and moving an example rescales the other
influences together; one gradient step has a_i ∝ x_q·x_i and no interaction; ridge and further steps rotate the whole
vector; copying is one-hot.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner
from icl_lab.probes.behaviour.responses import label_influence
from icl_lab.probes.behaviour.variants import ratio, redraw
from icl_lab.tasks import Task

QUIET = 1e-4  # Σ|a| below which no label moves the answer: rounding of the finite differences


def influence_statistics(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Summarise the influences a_1..a_N of every prompt, [prompt, 4], without unit:

    negative share Σ max(−a, 0)/Σ|a|; sum Σa; concentration Σa²/(Σ|a|)², from 1/N (even) to 1 (one example); recency
    Σ|a_i| p_i/Σ|a|, where the place p_i runs from −1 (first example) to 1 (last). All but the sum are 0 if no label
    moves the answer. If answers jump, the mean of the sum is noisy: a few prompts dominate it.
    """
    influence = label_influence(learner, task, asked)
    size = jnp.abs(influence)
    total = jnp.where(size.sum(-1) > QUIET, size.sum(-1), 0.0)
    place = jnp.linspace(-1.0, 1.0, influence.shape[1]) if influence.shape[1] > 1 else jnp.zeros(1)
    negative = ratio(jnp.maximum(-influence, 0.0).sum(-1), total)
    concentration = ratio(jnp.square(influence).sum(-1), jnp.square(total))
    return jnp.stack([negative, influence.sum(-1), concentration, ratio(size @ place, total)], axis=-1)


def vary_interaction(task: Task, key: Array, given: Prompts) -> tuple[Prompts, Bool[Array, "prompt position"]]:
    """Return the prompts followed by the same with one example moved, and the index of that example."""
    other_key, place_key = jax.random.split(key)
    x, y = redraw(task, other_key, given)
    # From the next place: a latent may fix which item each place holds.
    x, y = jnp.roll(x, 1, axis=1), jnp.roll(y, 1, axis=1)
    here = jnp.arange(given.positions) == jax.random.randint(place_key, (len(x), 1), 0, given.positions - 1)
    moved = given.replace(x=jnp.where(here[..., None], x, given.x), y=jnp.where(here, y, given.y))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), given, moved), here


def interaction(
    learner: Learner, task: Task, asked: tuple[Prompts, Bool[Array, "prompt position"]]
) -> Float[Array, "prompt statistic"]:
    """Measure how the influences of the others change when one example moves, [prompt, 2], both in [0, 1].

    With a and b the influences of the other N − 1 examples before and after: the rotation sin²∠(a, b), 0 if every
    ratio a_i/a_j stays, and the rescaling ||b| − |a||/(|b| + |a|). One gradient step (0, 0); a smoother (0, > 0); ridge
    (> 0, > 0). 0 if no label moves the answer. The example's new input and label come from the same latent. The
    values for gradient descent hold for real outcomes; for classes, the link function adds interactions.
    """
    both, here = asked
    influence = label_influence(learner, task, both) * jnp.tile(~here[:, :-1], (2, 1))
    before, after = jnp.split(influence, 2)
    length, other = jnp.linalg.norm(before, axis=-1), jnp.linalg.norm(after, axis=-1)
    heard = (length > QUIET) & (other > QUIET)
    along = ratio((before * after).sum(-1), jnp.square(length))
    rest = jnp.square(after - along[:, None] * before).sum(-1)
    turn = jnp.where(heard, ratio(rest, jnp.square(other)), 0.0)
    total = jnp.where(length + other > QUIET, length + other, 0.0)
    return jnp.stack([turn, ratio(jnp.abs(other - length), total)], axis=-1)
