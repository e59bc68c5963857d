"""Gradient steps inside a recurrent network: are its fast weights the weights of the steps that are fitted to it?

The implicit learner reads one example after the other, and begins with θ = θ_0:

    θ ← θ + A (y_i − θ_a·x_i) x_i,        answer θ·x_q,

A diagonal, θ_a the weights that example i's mini-batch began with: mini-batches are the network's own. Those of one are
online steps, one for all examples is one batch step. θ_0 = 0 is descent, preconditioned where A's entries differ; a
learned θ_0 or different entries are an inner loop that was learned. Parameters are fitted to *answers*; the weights
after every example are then predictions with nothing left to fit.

Features tell of A as far as the answers depend on them: entries are weighed by the squared mean square of their
feature, and pulled together by a little, so that those which answers leave open decide nothing.

Changed since it was first looked at, with thresholds as they were: what is written is held when keys are exchanged
(trained networks form a part of the residual in the values), S is seen through the read-out, and features are weighed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.mechanisms.descent import explained, least_squares, rolled
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.readout import linear_predictions, thirds
from icl_lab.tasks import Task

PROMPTS = 384
TIED = 1e-3  # weight of (A's entries − their mean)², in units of their first guess, against the squared errors' sum
CORRELATED = 0.05  # of features: more, and A would be no diagonal matrix
FAINT = 0.01  # share of the largest weight of a feature, below which its entry of A is not looked at


class FastSteps(NamedTuple):
    """Parameters of the implicit learner, in units in which inputs have mean square 1."""

    initial: Float[Array, " feature"]
    rates: Float[Array, " feature"]


def taken(
    rates: Float[Array, " feature"],
    start: Float[Array, "batch feature"],
    phi: Float[Array, "batch example feature"],
    y: Float[Array, "batch example"],
    mini_batch: int,
) -> tuple[Float[Array, "batch example feature"], Float[Array, "batch example"]]:
    """θ after every example, and the residual y − θ_a·x that its step was made of. `mini_batch` counts examples."""

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


def fast_weights(learner: RecurrentLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Evidence for steps in the fast weights S of a delta-rule network. With " from zero" θ_0 = 0, without it any θ_0.

    Statistics: `unexplained`, the share of the answers that the fit misses; `iterates`, the smallest share over
    examples of the variance of θ after an example that a linear read-out of W_oᵀS finds there, on held-out prompts (of
    all of S a large random network's would tell every second moment of x and y, and so θ of a batch step); `keys`,
    the share foreseen (`explained`) of the change of answers when all keys and queries come from another prompt and
    what is written with them stays (`held`): these residuals' steps along those inputs; `start`, that share when the
    loop starts from the S that another prompt ended with, and so from its θ; NaN for a single batch step; `departure`,
    the larger of |θ_0·x_q| against the answers and of the standard deviation of A's entries against their mean;
    `downhill`, A's smallest entry over the largest: below 0 where a step goes up the gradient. −1 stands for `iterates`
    of a state that is not finite. Of networks that `has_fast_weights` is true of.
    """
    prompts = task.sample(key, PROMPTS)
    phi, y = task.features(prompts.x), prompts.y[:, :-1]
    phi = phi / jnp.sqrt(jnp.mean(jnp.square(phi)))
    examples, query = phi[:, :-1], phi[:, -1]
    mini_batch = examples_per_batch(learner, prompts.positions)
    answers = learner(prompts).mean_target()[:, -1, 0]
    scale = jnp.sqrt(jnp.mean(jnp.square(answers)) + 1e-12)
    own = inside(learner, prompts)
    theirs = jax.tree.map(rolled, own)
    tokens = carriers(learner.format, prompts.positions).outcomes[:-1]
    states = jnp.einsum("btvk,vo->btko", own["after"][:, tokens], learner.params["readout"])
    states = states.reshape(PROMPTS, len(tokens), -1).swapaxes(0, 1)  # [example, prompt, key·output]
    guess, strength = 0.5 / y.shape[1], jnp.square(jnp.square(phi).mean((0, 1)))
    weight = strength / strength.sum()
    score = thirds(PROMPTS)[2]

    def answered(steps: FastSteps, start: Array) -> Array:
        return (taken(steps.rates, start, examples, y, mini_batch)[0][:, -1] * query).sum(-1)

    def at_start(steps: FastSteps) -> Array:
        return jnp.broadcast_to(steps.initial, query.shape)

    def look(free: FastSteps) -> dict[str, Array]:
        flat, unravel = ravel_pytree(FastSteps(jnp.zeros(phi.shape[-1]), jnp.full(phi.shape[-1], guess)))

        def errors(vector: Array) -> Array:
            steps = unravel(vector)
            return (answered(steps, at_start(steps)) - answers) / scale

        def errors_and_ties(vector: Array) -> Array:
            rates = unravel(vector).rates
            return jnp.concatenate([errors(vector), TIED**0.5 * (rates - rates.mean()) / guess])

        vector = least_squares(errors_and_ties, flat, ravel_pytree(free)[0])
        steps = unravel(vector)
        after, residuals = taken(steps.rates, at_start(steps), examples, y, mini_batch)
        after = after.swapaxes(0, 1)
        read = jax.vmap(linear_predictions)(states, after)
        missed = jnp.square((read - after)[:, score]).sum((1, 2))
        spread = jnp.square((after - after.mean(1, keepdims=True))[:, score]).sum((1, 2))
        written = steps.initial + steps.rates * jnp.einsum("be,bef->bf", residuals, rolled(examples))
        along_theirs, from_theirs = (written * rolled(query)).sum(-1), answered(steps, rolled(after[-1]))
        first = jnp.sqrt(jnp.square(query @ steps.initial).mean()) / scale
        several = mini_batch < y.shape[1]
        mean = weight @ steps.rates
        spread_of_rates = jnp.sqrt(weight @ jnp.square(steps.rates - mean))
        seen = jnp.where(weight > FAINT * weight.max(), steps.rates, jnp.inf)
        iterates = jnp.where(spread > 0, 1 - missed / jnp.where(spread > 0, spread, 1.0), 0.0).min()
        return {
            "unexplained": jnp.square(errors(vector)).mean(),
            "iterates": jnp.nan_to_num(iterates, nan=-1.0, neginf=-1.0),
            "keys": explained(turned, along_theirs, answers),
            "start": explained(begun, from_theirs, answers) if several else jnp.asarray(jnp.nan),
            "departure": jnp.maximum(first, spread_of_rates / jnp.abs(mean)),
            "downhill": seen.min() / jnp.abs(steps.rates).max(),
        }

    turned = answer_with(learner, prompts, {"k": theirs["k"], "q": theirs["q"], "v": held(learner, own, theirs["k"])})
    begun = answer_with(learner, prompts, {"initial_state": theirs["after"][:, tokens[-1]]})
    one = jnp.ones(phi.shape[-1])
    found = {"": look(FastSteps(one, one)), " from zero": look(FastSteps(0 * one, one))}
    return {name + suffix: value for suffix, table in found.items() for name, value in table.items()}


def config_of(learner: RecurrentLearner) -> DeltaRuleConfig:
    """Of a delta-rule network."""
    assert isinstance(learner.model, DeltaRuleModel)
    return learner.model.config


def inside(learner: RecurrentLearner, prompts: Prompts) -> dict[str, Array]:
    """The values at `RECURRENT_SITES`, and S "before" and "after" a token is written, [prompt, token, value, key]."""
    found: dict[str, Array] = {}

    def tap(site: str, value: Array) -> Array:
        found[site.partition(".")[2]] = value
        return value

    learner.model.apply(learner.params, learner.format.encode(prompts, learner.outcomes), tap=tap)
    state = found["state"]
    if config_of(learner).order == "write_read":
        return found | {"before": jnp.concatenate([found["initial_state"][:, None], state[:, :-1]], 1), "after": state}
    return found | {"before": state, "after": jnp.concatenate([state[:, 1:], state[:, -1:]], 1)}


def held(learner: RecurrentLearner, own: Mapping[str, Array], keys: Array) -> Float[Array, "prompt token value"]:
    """Values v' with which other keys k' write what was written with the own: v' − A'k' = v − Ak at every token.

    What is subtracted from a label may come out of the values as well as out of the state: this leaves it alone.
    """
    tokens = np.arange(keys.shape[1])
    first = tokens - tokens % config_of(learner).mini_batch

    def read(before: Array, keys: Array) -> Array:
        return jnp.einsum("btvk,btk->btv", before[:, first], keys)

    errors = own["v"] - read(own["before"], own["k"])
    written = jnp.cumsum(jnp.einsum("bt,btv,btk->btvk", own["beta"], errors, keys), axis=1)
    start = own["initial_state"][:, None]
    return errors + read(jnp.concatenate([start, start + written[:, :-1]], axis=1), keys)


def answer_with(learner: RecurrentLearner, prompts: Prompts, values: Mapping[str, Array]) -> Float[Array, " prompt"]:
    """The last answer with the values at some sites replaced."""

    def tap(site: str, value: Array) -> Array:
        return values.get(site.partition(".")[2], value)

    inputs = learner.format.encode(prompts, learner.outcomes)
    read = learner.format.read(prompts.positions)
    answers = learner.format.read_back(learner.model.apply(learner.params, inputs, read=read, tap=tap))
    return learner.outcomes.from_natural(answers).mean_target()[:, -1, 0]


def examples_per_batch(learner: RecurrentLearner, positions: int) -> int:
    """The mini-batch in examples: 1, all of them, or where tokens are examples what the network has."""
    size, tokens = config_of(learner).mini_batch, learner.format.tokens(positions)
    return positions - 1 if size >= tokens - 1 else size


def has_fast_weights(learner: Any, task: Task) -> bool:
    """Whether `fast_weights` says something: of a delta-rule network with steps of one size, in mini-batches of one
    example, of all, or where tokens are examples of any number, that writes an example with its label's token, and not
    the query, of which it has no label, before it answers; on features without correlations, where A is diagonal.
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
