"""Early exit: do answers improve from layer to layer like gradient descent, or like Newton's method?

Every layer gets an answer by its own read-out, which is compared with the iterates of an algorithm (Fu et al. 2023).
The best match alone is weak evidence, because k Newton steps match 2^k gradient steps: the *order* of convergence
distinguishes them. With error e_l, linear convergence has log e_l = a − b·l, doubling has log e_l = a − b·2^l.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.learners.linear import prefix_means
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.readout import linear_predictions, thirds
from icl_lab.probes.inside.task_vectors import at_query
from icl_lab.tasks import Task


@exact
def layer_answers(learner: TransformerLearner, prompts: Prompts) -> Float[Array, "layer prompt target"]:
    """Return each layer's mean targets at the last position by a ridge read-out, for the scoring third of prompts.

    Read off `resid_post` at the token that answers and fitted to the outcomes, which fixes the scale. Compare with
    iterates on `scoring(prompts)`, by `match_iterates(…, scale_free=True)`.
    """
    outcomes = learner.outcomes
    targets = outcomes.targets(prompts.y[:, -1])
    found = linear_predictions(at_query(learner, prompts), targets, outcomes)
    return outcomes.from_mean(found[:, thirds(targets.shape[0])[2]]).mean_target()


def scoring(prompts: Prompts) -> Prompts:
    """Return the third of the prompts that scores."""
    return jax.tree.map(lambda leaf: leaf[thirds(prompts.y.shape[0])[2]], prompts)


def gradient_iterates(
    task: Task,
    prompts: Prompts,
    steps: int,
    rate: float | Array,
    causal: bool = False,
    curvature: float | Array | None = None,
) -> Float[Array, "iterate prompt target"]:
    """Return mean targets of 0, 1, …, `steps` gradient steps, at the last position.

    Equal to `learners.gradient.gradient_descent`, or `gradient_descent_plus_plus`, with as many steps, in one pass. In
    every step token i (an example or the query) moves by f_i ← f_i + η Σ_l s_il x_i·x_l (t_l − h(f_l)), and with γ then
    by x_i ← x_i − γ Σ_l s_il (x_i·x_l) x_l.

    Args:
        causal: example j learns from the examples up to j, s_jl = [l ≤ j]/(j+1), as in a model with a causal mask.
            Otherwise, and always for the query, s_il = 1/N.
        curvature: γ of GD++, for real outcomes; None if inputs stay.
    """
    phi, outcomes = task.features(prompts.x), task.outcomes
    positions, examples = prompts.positions, prompts.positions - 1
    seen = jnp.tril(jnp.ones((positions, examples))) if causal else jnp.ones((positions, examples))
    share = (seen / seen.sum(1, keepdims=True)).astype(phi.dtype)
    targets = outcomes.targets(prompts.y)[:, :-1]

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        inputs, natural = state
        likeness = share * jnp.einsum("bif,blf->bil", inputs, inputs[:, :-1], precision="highest")
        residual = targets - outcomes.link(natural[:, :-1])
        moved = natural + rate * jnp.matmul(likeness, residual, precision="highest")
        if curvature is not None:
            inputs = inputs - curvature * jnp.matmul(likeness, inputs[:, :-1], precision="highest")
        return (inputs, moved), outcomes.from_natural(natural[:, -1]).mean_target()

    start = phi, jnp.zeros((*phi.shape[:2], outcomes.size), phi.dtype)
    return jax.lax.scan(step, start, None, length=steps + 1)[1]


def newton_iterates(
    task: Task, prompts: Prompts, steps: int, start: float | Array
) -> Float[Array, "iterate prompt target"]:
    """Return mean targets of 0, 1, …, `steps` Newton-Schulz steps, at the last position, equal to `newton_schulz`."""
    phi, outcomes = task.features(prompts.x), task.outcomes
    gram, moment = (part[:, -1] for part in prefix_means(phi, outcomes.targets(prompts.y) - outcomes.neutral))
    identity = jnp.eye(phi.shape[-1], dtype=phi.dtype)
    first = start / jnp.trace(gram, axis1=-2, axis2=-1)[:, None, None] * identity

    def step(inverse: Array, _: None) -> tuple[Array, Array]:
        found = jnp.einsum("bf,bfg,bgt->bt", phi[:, -1], inverse, moment, precision="highest")
        twice = jnp.matmul(inverse, jnp.matmul(gram, inverse, precision="highest"), precision="highest")
        return 2 * inverse - twice, outcomes.from_mean(outcomes.neutral + found).mean_target()

    return jax.lax.scan(step, first, None, length=steps + 1)[1]


class Match(NamedTuple):
    """Comparison of layers and iterates.

    Attributes:
        distance: mean squared distance between their answers, [layer, iterate].
        best: the nearest iterate of every layer, [layer].
        unexplained: its distance over the mean square of the layer's answers around their mean, [layer].
    """

    distance: Float[Array, "layer iterate"]
    best: Int[Array, " layer"]
    unexplained: Float[Array, " layer"]


def match_iterates(
    answers: Float[Array, "layer prompt target"],
    iterates: Float[Array, "iterate prompt target"],
    scale_free: bool = False,
) -> Match:
    """Compare every layer with every iterate on the same prompts.

    Args:
        scale_free: bring every layer's answers and every iterate to mean square 1 first, so that distances are
            2 − 2 cos. `layer_answers` need it, because a read-out that predicts the outcome rescales the layer's
            answers. For answers around zero.
    """
    if scale_free:
        answers, iterates = unit(answers), unit(iterates)
    distance = jax.lax.map(lambda one: jnp.square(iterates - one).sum(-1).mean(-1), answers)
    spread = jnp.square(answers - answers.mean(1, keepdims=True)).sum(-1).mean(-1)
    return Match(distance, distance.argmin(-1), distance.min(-1) / jnp.where(spread > 0, spread, 1.0))


def unit(answers: Float[Array, "row prompt target"]) -> Float[Array, "row prompt target"]:
    """Scale every row to mean square 1; a row of zeros stays."""
    size = jnp.sqrt(jnp.square(answers).sum(-1).mean(-1))[:, None, None]
    return answers / jnp.where(size > 0, size, 1.0)


class Order(NamedTuple):
    """The order of convergence of a sequence of errors.

    Attributes:
        linear: R² of log e_l = a − b·l.
        doubling: R² of log e_l = a − b·2^l.
        slope_ratio: geometric mean of (log e_{l+2} − log e_{l+1})/(log e_{l+1} − log e_l): 1 for linear convergence, 2
            for doubling; NaN if the error does not always fall, or with fewer than three layers.
    """

    linear: Float[Array, ""]
    doubling: Float[Array, ""]
    slope_ratio: Float[Array, ""]


def convergence_order(errors: Float[Array, " layer"]) -> Order:
    """Fit the order of convergence to the errors of all layers before they level off, in any unit."""
    logs = jnp.log(errors)
    layer = jnp.arange(errors.shape[0], dtype=logs.dtype)

    def fitted(regressor: Array) -> Array:
        x, y = regressor - regressor.mean(), logs - logs.mean()
        return jnp.square(x @ y) / (x @ x) / (y @ y)

    falls = logs[:-1] - logs[1:]
    ratio = jnp.exp(jnp.diff(jnp.log(jnp.where(falls > 0, falls, jnp.nan))).mean())
    return Order(fitted(layer), fitted(2.0**layer), ratio)
