"""A probe of the martingale property: outcomes drawn from a predictive leave it unchanged on average.

The predictives of a posterior are a martingale (Falck et al. 2024): the expected belief after the next outcome is the
current belief. This is necessary for Bayesian inference under *any* prior, but does not exclude smoothed counts.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.answers import Learner, stack
from icl_lab.tasks import Task


def vary_martingale(task: Task, key: Array, given: Prompts) -> Prompts:
    """Return the prompts, the same with the last query one position earlier, and with each class as last example."""
    count = task.outcomes.size
    swapped = given.replace(x=given.x.at[:, -2].set(given.x[:, -1]))  # query x with N − 1 examples
    return stack([given, swapped, *(given.replace(y=given.y.at[:, -2].set(label)) for label in range(count))])


def martingale(learner: Learner, task: Task, asked: Prompts) -> Float[Array, "prompt statistic"]:
    """Compare Σ_c p(c | x', D) p(· | x, D, (x', c)) with p(· | x, D), for N − 1 examples D, [prompt, 2], without unit.

    The sum over the classes of example N is exact. Drift: total variation ½Σ|q − p| in [0, 1]. Sharpening: ⟨q − p, p −
    1/K⟩, whose mean over prompts is 0 if the learner is a posterior, positive if its own outcomes make it more
    confident. It is signed, so that noise in the answers averages out of it, but not out of the drift.

    For classes, if inputs neither follow from outcomes nor are evidence about the latent. NaN for learners that answer
    the last position only, because p(· | D) is read one position earlier.
    """
    found = jax.lax.map(lambda p: learner(p).mean_target()[:, -2:], asked)  # [variant, prompt, 2, class]
    weight, before, after = found[0, :, 0], found[1, :, 0], found[2:, :, 1]
    expected = jnp.einsum("bc,cbk->bk", weight, after, precision="highest")
    drift = 0.5 * jnp.abs(expected - before).sum(-1)
    sharpening = ((expected - before) * (before - task.outcomes.neutral)).sum(-1)
    return jnp.stack([drift, sharpening], axis=-1)
