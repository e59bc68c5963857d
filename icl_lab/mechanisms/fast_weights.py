"""Gradient steps inside a recurrent network: are its fast weights those of the steps fitted to it?

The implicit learner reads one example after the other, starting from θ = θ_0:

    θ ← θ + A (y_i − θ_a·x_i) x_i,        answer θ·x_q,

with A diagonal and θ_a the weights at the start of example i's mini-batch. Mini-batches are the network's own: those of
one example are online steps, and one for all examples is a single batch step. θ_0 = 0 is gradient descent,
preconditioned if A's entries differ; a learned θ_0 or different entries are a learned inner loop. Parameters are fitted
to *answers*. The weights after every example are then predictions without free parameters.

A feature determines its entry of A only as far as the answers depend on it. Entries are therefore weighed by the
squared mean square of their feature, and weakly tied to their mean, so that undetermined entries do not matter.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.mechanisms.delta_rule_states import answer_with, examples_per_batch, held, inside
from icl_lab.mechanisms.effects import explained, rolled
from icl_lab.mechanisms.implicit_descent import least_squares
from icl_lab.models.recurrent import DeltaRuleModel
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.readout import linear_predictions, thirds
from icl_lab.tasks import Task

PROMPTS = 384
TIED = 1e-3  # weight of (A's entries − their mean)², in units of their first guess, against the sum of squared errors
CORRELATED = 0.05  # largest correlation of features at which A is taken to be diagonal
FAINT = 0.01  # share of the largest weight of a feature, below which its entry of A is ignored


class FastSteps(NamedTuple):
    """Parameters θ_0 and A of the implicit learner, in units in which inputs have mean square 1."""

    initial: Float[Array, " feature"]
    rates: Float[Array, " feature"]


class Setting(NamedTuple):
    """What every fit of the implicit learner is compared with.

    Attributes:
        examples, y, query: inputs (mean square 1) and labels of the examples, and the query's input.
        weight: of every feature's entry of A, its squared mean square; they sum to 1.
        mini_batch: in examples.
        answers, scale: of the network, and their root mean square.
        states: W_oᵀS after each example, [example, prompt, key·output].
        other_keys: answers with another prompt's keys and queries, and what is written with them held.
        other_start: answers when the loop starts from another prompt's last state.
    """

    examples: Float[Array, "prompt example feature"]
    y: Float[Array, "prompt example"]
    query: Float[Array, "prompt feature"]
    weight: Float[Array, " feature"]
    mini_batch: int
    answers: Float[Array, " prompt"]
    scale: Float[Array, ""]
    states: Float[Array, "example prompt entry"]
    other_keys: Float[Array, " prompt"]
    other_start: Float[Array, " prompt"]


def fast_weights(learner: RecurrentLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Measure the evidence for gradient steps in the fast weights S of a delta-rule network (`has_fast_weights`).

    Every statistic of `evidence` is measured twice: with any θ_0, and with θ_0 = 0 (names that end in " from zero").
    """
    setting = setting_of(learner, task, key)
    one = jnp.ones(setting.query.shape[-1])
    found = {"": evidence(setting, FastSteps(one, one)), " from zero": evidence(setting, FastSteps(0 * one, one))}
    return {name + suffix: value for suffix, table in found.items() for name, value in table.items()}


def setting_of(learner: RecurrentLearner, task: Task, key: Array) -> Setting:
    """Sample prompts, and record the network's answers and states on them and its answers after both patches."""
    prompts = task.sample(key, PROMPTS)
    phi, y = task.features(prompts.x), prompts.y[:, :-1]
    phi = phi / jnp.sqrt(jnp.mean(jnp.square(phi)))
    answers = learner(prompts).mean_target()[:, -1, 0]
    strength = jnp.square(jnp.square(phi).mean((0, 1)))
    own = inside(learner, prompts)
    theirs = jax.tree.map(rolled, own)
    tokens = carriers(learner.format, prompts.positions).outcomes[:-1]
    states = jnp.einsum("btvk,vo->btko", own["after"][:, tokens], learner.params["readout"])
    keys = {"k": theirs["k"], "q": theirs["q"], "v": held(learner, own, theirs["k"])}
    return Setting(
        examples=phi[:, :-1],
        y=y,
        query=phi[:, -1],
        weight=strength / strength.sum(),
        mini_batch=examples_per_batch(learner, prompts.positions),
        answers=answers,
        scale=jnp.sqrt(jnp.mean(jnp.square(answers)) + 1e-12),
        states=states.reshape(PROMPTS, len(tokens), -1).swapaxes(0, 1),
        other_keys=answer_with(learner, prompts, keys),
        other_start=answer_with(learner, prompts, {"initial_state": theirs["after"][:, tokens[-1]]}),
    )


def evidence(setting: Setting, free: FastSteps) -> dict[str, Float[Array, ""]]:
    """Fit the implicit learner and compare the network's states and patched answers with its predictions.

    - `unexplained`: share of the answers that the fit misses.
    - `iterates`: share of the variance of θ after an example that a linear read-out of W_oᵀS finds, on held-out
      prompts; the smallest over examples, −1 if the state is not finite. (A large random network's S as a whole would
      reveal every second moment of x and y, and with them θ of a batch step.)
    - `keys`: `explained` share when all keys and queries come from another prompt and what is written with them is
      `held`. The prediction: the steps of these residuals along those inputs.
    - `start`: `explained` share when the loop starts from another prompt's last S. The prediction: the steps from that
      prompt's θ. NaN for a single batch step.
    - `departure`: the larger of |θ_0·x_q| relative to the answers, and the standard deviation of A's entries relative
      to their mean.
    - `downhill`: A's smallest entry over the largest; negative if a step goes up the gradient.

    Args:
        setting: the network's.
        free: 1 where a parameter may move, 0 elsewhere.
    """
    steps, unexplained = fitted(setting, free)
    examples, query, weight = setting.examples, setting.query, setting.weight
    after, residuals = taken(steps.rates, started(setting, steps), examples, setting.y, setting.mini_batch)
    after = after.swapaxes(0, 1)
    written = steps.initial + steps.rates * jnp.einsum("be,bef->bf", residuals, rolled(examples))
    from_theirs = answered(setting, steps, rolled(after[-1]))
    several = setting.mini_batch < setting.y.shape[1]
    first = jnp.sqrt(jnp.square(query @ steps.initial).mean()) / setting.scale
    mean = weight @ steps.rates
    spread = jnp.sqrt(weight @ jnp.square(steps.rates - mean))
    seen = jnp.where(weight > FAINT * weight.max(), steps.rates, jnp.inf)
    return {
        "unexplained": unexplained,
        "iterates": decoded_weights(setting.states, after),
        "keys": explained(setting.other_keys, (written * rolled(query)).sum(-1), setting.answers),
        "start": explained(setting.other_start, from_theirs, setting.answers) if several else jnp.asarray(jnp.nan),
        "departure": jnp.maximum(first, spread / jnp.abs(mean)),
        "downhill": seen.min() / jnp.abs(steps.rates).max(),
    }


def fitted(setting: Setting, free: FastSteps) -> tuple[FastSteps, Float[Array, ""]]:
    """Return the steps whose answers are nearest to the network's, and the unexplained share of these answers."""
    features, guess = setting.query.shape[-1], 0.5 / setting.y.shape[1]
    flat, unravel = ravel_pytree(FastSteps(jnp.zeros(features), jnp.full(features, guess)))

    def errors(vector: Array) -> Array:
        steps = unravel(vector)
        return (answered(setting, steps, started(setting, steps)) - setting.answers) / setting.scale

    def errors_and_ties(vector: Array) -> Array:
        rates = unravel(vector).rates
        return jnp.concatenate([errors(vector), TIED**0.5 * (rates - rates.mean()) / guess])

    vector = least_squares(errors_and_ties, flat, ravel_pytree(free)[0])
    return unravel(vector), jnp.square(errors(vector)).mean()


def started(setting: Setting, steps: FastSteps) -> Float[Array, "prompt feature"]:
    """Return θ_0 for every prompt."""
    return jnp.broadcast_to(steps.initial, setting.query.shape)


def answered(setting: Setting, steps: FastSteps, start: Float[Array, "prompt feature"]) -> Float[Array, " prompt"]:
    """Return the implicit learner's answers to the query when it starts from the given θ."""
    after, _ = taken(steps.rates, start, setting.examples, setting.y, setting.mini_batch)
    return (after[:, -1] * setting.query).sum(-1)


def taken(
    rates: Float[Array, " feature"],
    start: Float[Array, "batch feature"],
    phi: Float[Array, "batch example feature"],
    y: Float[Array, "batch example"],
    mini_batch: int,
) -> tuple[Float[Array, "batch example feature"], Float[Array, "batch example"]]:
    """Return θ after every example, and the residual y − θ_a·x of its step. `mini_batch` counts examples."""

    def turn(carry: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], tuple]:
        theta, anchor = carry
        index, x, label = now
        anchor = jnp.where(index % mini_batch == 0, theta, anchor)
        residual = label - (anchor * x).sum(-1)
        theta = theta + rates * residual[:, None] * x
        return (theta, anchor), (theta, residual)

    examples = (jnp.arange(phi.shape[1]), phi.swapaxes(0, 1), y.T)
    after, residuals = jax.lax.scan(turn, (start, start), examples)[1]
    return after.swapaxes(0, 1), residuals.T


def decoded_weights(
    states: Float[Array, "example prompt entry"], weights: Float[Array, "example prompt feature"]
) -> Float[Array, ""]:
    """Measure the share of the variance of θ that a linear read-out of the states finds; the smallest over examples."""
    score = thirds(PROMPTS)[2]
    read = jax.vmap(linear_predictions)(states, weights)
    missed = jnp.square((read - weights)[:, score]).sum((1, 2))
    spread = jnp.square((weights - weights.mean(1, keepdims=True))[:, score]).sum((1, 2))
    share = jnp.where(spread > 0, 1 - missed / jnp.where(spread > 0, spread, 1.0), 0.0).min()
    return jnp.nan_to_num(share, nan=-1.0, neginf=-1.0)


def has_fast_weights(learner: Any, task: Task) -> bool:
    """Return whether `fast_weights` applies.

    It needs a delta-rule network with steps of one size, in mini-batches of one example, of all examples, or of any
    number if every example is one token. The network must write an example at its label's token, and must answer before
    it writes the query, which has no label. The features must be uncorrelated, so that A is diagonal.
    """
    if not isinstance(learner, RecurrentLearner) or not isinstance(learner.model, DeltaRuleModel):
        return False
    config, positions = learner.model.config, task.positions
    tokens, at = learner.format.tokens(positions), carriers(learner.format, positions)
    whole = tokens == positions or config.mini_batch == 1 or config.mini_batch >= tokens - 1
    together = (at.inputs[:-1] == at.outcomes[:-1]).all()
    unwritten = not together or config.order == "read_write"
    plain = config.step != "gated" and not config.normalised and config.window <= 2
    covariance = np.asarray(task.feature_covariance(), float)
    size = np.sqrt(np.diag(covariance))
    apart = (np.abs(covariance - np.diag(size**2)) <= CORRELATED * np.outer(size, size)).all()
    return bool(whole and unwritten and plain and apart and (at.outcomes[:-1] >= 0).all())
