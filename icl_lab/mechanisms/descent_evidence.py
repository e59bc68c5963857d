"""Gradient steps inside a transformer: are the iterates of the fitted steps where they should be?

The implicit learner (implicit_descent.py) is fitted to the network's *answers*. The iterates inside are then
predictions without free parameters. Answers alone do not determine the order of the steps, which almost commute. So
both orders are tried, and the one that is found inside counts.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.mechanisms.effects import explained, rolled
from icl_lab.mechanisms.implicit_descent import Candidates, State, Steps, candidates, fitted, iterates, stepped
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.interventions import ALL, Worlds, asked, worlds
from icl_lab.probes.inside.patching import patched_answers
from icl_lab.probes.inside.readout import linear_predictions, residual_streams, thirds
from icl_lab.tasks import Task

PROMPTS = 96
# The fewest steps count that leave at most 1e-4 of the answers unexplained, or twice what the best fit leaves.
ENOUGH, AS_GOOD = 1e-4, 2.0


class Fits(NamedTuple):
    """Candidates fitted to the network's answers.

    Attributes:
        tried: where the fits began.
        steps: fitted parameters, leaves lead with the candidate axis.
        states: before the first layer and after every layer, [candidate, layer + 1, prompt, ...].
        unexplained: share of the answers that the fit misses.
        inner: whether a later step uses the iterate after a layer (the last layer excepted).
    """

    tried: Candidates
    steps: Steps
    states: State
    unexplained: Float[Array, " candidate"]
    inner: Bool[np.ndarray, "candidate layer"]


def descent(
    learner: TransformerLearner, task: Task, key: Array, fixed: Mapping[str, Array] | None = None
) -> dict[str, Float[Array, ""]]:
    """Measure the evidence for one gradient step per layer.

    Every statistic is measured twice: with any θ_0, and with θ_0 = 0 (names that end in " from zero"). A statistic that
    makes no sense is NaN.

    - `steps`: the smallest K whose answers are as good as the best fit's.
    - `unexplained`: share of the answers that the fit misses.
    - `iterates`: how well a linear read-out finds r_j in `resid_post` of example j, as a share of what a linear
      function of x_j and y_j misses; the smallest over inner layers. (Small steps leave r_j near y_j, which any network
      may keep.)
    - `remaining steps`: `explained` share when the examples' `resid_post` comes from another prompt; the smallest over
      inner layers. Only for K > 1, like `iterates`.
    - `pattern`: `explained` share when the query's attention in the last layer comes from another prompt. Only for
      K = 1.
    - `departure`: the larger of |f_0| relative to the answers, and the standard deviation of the step sizes relative to
      their mean.
    - `downhill`: the smallest of the layers' mean step sizes over the largest; negative if a step goes up the gradient.

    Args:
        learner: the network.
        task: what it was trained on; prompts are sampled from it.
        key: of the prompts.
        fixed: {"steps": K, "steps from zero": K} to measure a control at; the smallest sufficient K where it is 0.
    """
    prompts = task.sample(key, PROMPTS)
    phi = task.features(prompts.x)
    phi = phi / jnp.sqrt(jnp.mean(jnp.square(phi)))
    layers, causal = learner.model.config.applications, learner.model.config.mask == "causal"
    answers = learner(prompts).mean_target()[:, -1, 0]
    fits = fits_to(answers, phi, prompts.y, layers, causal)
    tried, states = fits.tried, fits.states
    decoded = decoded_residuals(learner, prompts, phi, states.residuals[:, 1:layers])
    pattern = patched_pattern(learner, prompts, answers, fits, causal)
    remaining = patched_residuals(learner, prompts, answers, fits, causal)

    def smallest(values: Float[Array, "candidate layer"]) -> Float[Array, " candidate"]:
        return jnp.where(fits.inner, values, jnp.inf).min(-1, initial=jnp.inf)

    several = jnp.asarray(tried.count > 1)
    initial = jnp.sqrt(jnp.square(states.answer[:, 0]).mean(-1) / jnp.square(answers).mean())
    spread, downhill = step_sizes(fits.steps.rates, tried.free.rates)
    table = {
        "steps": jnp.asarray(tried.count, jnp.float32),
        "unexplained": fits.unexplained,
        "iterates": jnp.where(several, smallest(decoded), jnp.nan),
        "remaining steps": jnp.where(several, smallest(remaining), jnp.nan),
        "pattern": jnp.where(several, jnp.nan, pattern),
        "departure": jnp.maximum(initial, spread),
        "downhill": downhill,
    }
    allowed = {"": tried.learned, " from zero": ~tried.learned}
    chosen = {
        suffix: chosen_candidate(fits, decoded, mine, fixed[f"steps{suffix}"] if fixed else 0)
        for suffix, mine in allowed.items()
    }
    return {name + suffix: values[at] for suffix, at in chosen.items() for name, values in table.items()}


def fits_to(answers: Array, phi: Array, y: Array, layers: int, causal: bool) -> Fits:
    """Fit all candidates to the answers of a network with so many layers."""
    tried = candidates(layers, phi.shape[-1])
    steps, unexplained = jax.vmap(lambda start, free: fitted(start, free, phi, y, answers, causal))(
        tried.start, tried.free
    )
    states = jax.vmap(lambda steps: iterates(steps, phi, y, causal))(steps)
    return Fits(tried, steps, states, unexplained, np.arange(layers - 1) >= layers - tried.count[:, None])


def step_sizes(
    rates: Float[Array, "candidate layer feature"], active: Float[Array, "candidate layer feature"]
) -> tuple[Float[Array, " candidate"], Float[Array, " candidate"]]:
    """Return the standard deviation of step sizes over their mean, and the smallest layer's mean over the largest.

    Args:
        rates: fitted step sizes.
        active: 1 in the layers that take a step, 0 in those before.
    """
    mean = rates.sum((1, 2)) / active.sum((1, 2))
    spread = jnp.sqrt((active * jnp.square(rates - mean[:, None, None])).sum((1, 2)) / active.sum((1, 2)))
    sizes = rates.mean(-1)
    smallest = jnp.where(active[..., 0] > 0, sizes, jnp.inf).min(-1)
    return spread / jnp.abs(mean), smallest / jnp.abs(sizes).max(-1)


def chosen_candidate(
    fits: Fits, decoded: Float[Array, "candidate layer"], mine: Bool[np.ndarray, " candidate"], fixed: Array | int
) -> Array:
    """Return the index of the candidate that counts: the fewest sufficient steps, in the order that is decoded better.

    Args:
        fits: all candidates.
        decoded: how well their residuals are read off each inner layer.
        mine: the candidates to choose from.
        fixed: the number of steps; 0 for the smallest sufficient one.
    """
    count = fits.tried.count
    left = jnp.where(mine & jnp.isfinite(fits.unexplained), fits.unexplained, jnp.inf)
    enough = left <= jnp.maximum(ENOUGH, AS_GOOD * left.min())
    fewest = jnp.where(enough, count, np.inf).min()
    allowed = jnp.where(jnp.asarray(fixed) > 0, mine & (count == fixed), enough & (count == fewest))
    quality = jnp.where(fits.inner, decoded, 0.0).sum(-1) - jnp.minimum(left, 1e6)
    return jnp.where(allowed, quality, -jnp.inf).argmax()


def decoded_residuals(
    learner: TransformerLearner, prompts: Prompts, phi: Array, residuals: Float[Array, "candidate layer prompt example"]
) -> Float[Array, "candidate layer"]:
    """Measure how well each candidate's residuals r are read off the tokens with the outcomes, after each inner layer.

    1 − Σ(r̂ − r)²/Σ(r̃ − r)² on held-out prompts, with r̂ a linear read-out of the token and r̃ one of the example's input
    and label. It is 0 where the latter misses less than 1e-6 of the variance.
    """
    tried, layers = residuals.shape[:2]
    if not layers:
        return jnp.zeros((tried, 0))  # the only step is the last one
    tokens = carriers(learner.format, prompts.positions).outcomes[:-1]
    streams = residual_streams(learner, prompts)[:layers, tokens].swapaxes(1, 2)  # [layer, prompt, example, width]
    features = streams.reshape(layers, -1, streams.shape[-1])
    targets = residuals.reshape(tried * layers, -1)
    targets = jnp.nan_to_num((targets - targets.mean(-1, keepdims=True)) / (targets.std(-1, keepdims=True) + 1e-9))
    own = jnp.concatenate([phi[:, :-1], prompts.y[:, :-1, None]], axis=-1)
    score = thirds(targets.shape[1])[2]

    def missed(features: Array) -> Float[Array, "layer target"]:
        # One read-out per target: a shared penalty would depend on how well the other candidates are read.
        found = jax.vmap(lambda target: linear_predictions(features, target[:, None])[..., 0])(targets).swapaxes(0, 1)
        return jnp.square(found[..., score] - targets[:, score]).mean(-1)

    error, alone = missed(features), missed(own.reshape(1, -1, own.shape[-1]))
    share = jnp.where(alone > 1e-6, 1 - error / jnp.where(alone > 1e-6, alone, 1.0), 0.0)  # targets have variance 1
    return jnp.diagonal(share.reshape(layers, tried, layers), axis1=0, axis2=2)


def patched_pattern(
    learner: TransformerLearner, prompts: Prompts, answers: Array, fits: Fits, causal: bool
) -> Float[Array, " candidate"]:
    """Measure the predicted share of the change when the query's attention in the last layer is another prompt's.

    The prediction: the last step uses the other prompt's inputs and this prompt's residuals.
    """
    config, format = learner.model.config, learner.format
    layers, tokens = config.applications, format.tokens(prompts.positions)
    query = asked(format, prompts.positions, -1)[0].start
    last = worlds(config, "pattern", tokens, np.array(layers - 1), np.array(ALL), np.array(query))
    turned = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, last, "pattern")[0, :, 0, 0]

    def share(state: State, steps: Steps) -> Array:
        mixed = State(rolled(state.inputs), state.residuals, rolled(state.query), state.answer)
        return explained(turned, stepped(mixed, steps.rates[-1], steps.curvature[-1], causal).answer, answers)

    return jax.vmap(share)(jax.tree.map(lambda leaf: leaf[:, layers - 1], fits.states), fits.steps)


def patched_residuals(
    learner: TransformerLearner, prompts: Prompts, answers: Array, fits: Fits, causal: bool
) -> Float[Array, "candidate layer"]:
    """Measure the predicted share of the change when the examples' tokens after an inner layer are another prompt's.

    The prediction: the remaining steps use the other prompt's inputs and residuals, and this prompt's query.
    """
    format, layers = learner.format, learner.model.config.applications
    if layers == 1:
        return jnp.zeros((len(fits.tried.count), 0))
    tokens, query = format.tokens(prompts.positions), asked(format, prompts.positions, -1)[0].start
    mask = np.eye(layers, dtype=bool)[:-1, :, None, None] & (np.arange(tokens) != query)
    examples = Worlds(jnp.arange(layers - 1), jnp.asarray(mask))
    swapped = patched_answers(learner, jax.tree.map(rolled, prompts), prompts, examples, "resid_post")[:, :, 0, 0]

    def shares(layer: int) -> Float[Array, " candidate"]:
        def share(state: State, steps: Steps) -> Array:
            mixed = State(rolled(state.inputs), rolled(state.residuals), state.query, state.answer)
            for index in range(layer, layers):
                mixed = stepped(mixed, steps.rates[index], steps.curvature[index], causal)
            return explained(swapped[layer - 1], mixed.answer, answers)

        return jax.vmap(share)(jax.tree.map(lambda leaf: leaf[:, layer], fits.states), fits.steps)

    return jnp.stack([shares(layer) for layer in range(1, layers)], axis=1)
