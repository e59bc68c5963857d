"""Gradient steps inside a network: which steps are fitted to its answers, and are their iterates where they should be?

The implicit learner of L layers is, layer by layer, for every example j and the query q,

    r_j ← r_j − Σ_l s_jl (x_jᵀ A_k x_l) r_l     x_j ← x_j − γ_k Σ_l s_jl (x_j·x_l) x_l     (r_j = y_j − f(x_j))
    f_q ← f_q + Σ_l s_l (x_qᵀ A_k x_l) r_l      x_q ← x_q − γ_k Σ_l s_l (x_q·x_l) x_l

from f(x) = θ_0·x, with s = 1/n over all examples, or 1/(j+1) over those up to j under a causal mask. The last K layers
take the K steps, those before none (A = 0). A_k is diagonal. γ = 0, θ_0 = 0 and A_k = ηI are gradient descent, γ ≠ 0
GD++ (von Oswald et al. 2022), learned θ_0 and A_k Meta-SGD (Li et al. 2017).

Parameters are fitted to *answers*; iterates inside are then predictions with nothing left to fit. Answers alone leave
the order of the steps open (they almost commute), so both orders are tried, and the one that is found inside counts.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from icl_lab.core.prompts import Prompts
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.probes.inside.interventions import ALL, Worlds, asked, worlds
from icl_lab.probes.inside.patching import patched_answers
from icl_lab.probes.inside.readout import linear_predictions, residual_streams, thirds
from icl_lab.probes.inside.weights import interpolation_losses, weight_cosine
from icl_lab.tasks import Task

PROMPTS = 96
UPDATES = 40  # of Levenberg and Marquardt's method
# Fewer steps suffice if they leave no more than 1e-4 of the answers unexplained, or twice what the best fit leaves. A
# learned start alone may leave 1%.
ENOUGH, AS_GOOD = 1e-4, 2.0


class State(NamedTuple):
    """What the network should hold: of examples inputs and residuals, of the query its input and answer."""

    inputs: Float[Array, "batch example feature"]
    residuals: Float[Array, "batch example"]
    query: Float[Array, "batch feature"]
    answer: Float[Array, " batch"]


class Steps(NamedTuple):
    """Parameters of the implicit learner, in units in which inputs have mean square 1."""

    initial: Float[Array, " feature"]
    rates: Float[Array, "layer feature"]
    curvature: Float[Array, " layer"]


def begun(steps: Steps, phi: Float[Array, "batch position feature"], y: Float[Array, "batch position"]) -> State:
    """The state before the first layer."""
    answers = jnp.einsum("bpd,d->bp", phi, steps.initial, precision="highest")
    return State(phi[:, :-1], y[:, :-1] - answers[:, :-1], phi[:, -1], answers[:, -1])


def stepped(state: State, rate: Array, curvature: Array, causal: bool) -> State:
    """The state after one layer."""
    x, r, query, answer = state
    count = x.shape[1]
    share = np.tri(count) / (np.arange(count)[:, None] + 1) if causal else np.full((count, count), 1 / count)

    def product(axes: str, *factors: Array) -> Array:
        return jnp.einsum(axes, *factors, precision="highest")

    among, asked = product("bid,bjd->bij", x * rate, x) * share, product("bd,bjd->bj", query * rate, x) / count
    moved = x - curvature * product("bij,bjd->bid", product("bid,bjd->bij", x, x) * share, x)
    turned = query - curvature * product("bj,bjd->bd", product("bd,bjd->bj", query, x) / count, x)
    return State(moved, r - product("bij,bj->bi", among, r), turned, answer + product("bj,bj->b", asked, r))


def iterates(steps: Steps, phi: Array, y: Array, causal: bool) -> State:
    """The states before the first layer and after every one, on a leading axis [layer + 1]."""

    def turn(state: State, layer: tuple[Array, Array]) -> tuple[State, State]:
        after = stepped(state, *layer, causal)
        return after, after

    first = begun(steps, phi, y)
    _, later = jax.lax.scan(turn, first, (steps.rates, steps.curvature))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)


class Candidates(NamedTuple):
    """Every fit that is tried: with K = 1 … L steps, large or small ones first, from zero or from a learned start."""

    count: np.ndarray  # K, [candidate]
    learned: np.ndarray  # [candidate] bool
    start: Steps
    free: Steps  # 1 where a parameter may move


def candidates(layers: int, size: int) -> Candidates:
    """[candidate], 4 L of them."""
    count, order, learned = (
        part.ravel() for part in np.meshgrid(np.arange(1, layers + 1), [1, -1], [False, True], indexing="ij")
    )
    active = (np.arange(layers) >= layers - count[:, None]).astype(np.float32)
    place = (np.arange(layers) - (layers - count[:, None])) / np.maximum(count[:, None] - 1, 1)
    rates = 0.5 * 1.5 ** (order[:, None] * (1 - 2 * place)) * active
    spread = np.ones(size, np.float32)
    shared = np.zeros_like(active)
    shared[:, 0] = count > 1  # one γ for all layers: its first entry

    def steps(initial: np.ndarray, rates: np.ndarray, curvature: np.ndarray) -> Steps:
        return Steps(*(jnp.asarray(part, jnp.float32) for part in (initial, rates, curvature)))

    start = steps(np.zeros((len(count), size)), rates[..., None] * spread, np.zeros_like(active))
    return Candidates(count, learned, start, steps(learned[:, None] * spread, active[..., None] * spread, shared))


def least_squares(errors: Callable[[Array], Array], start: Array, free: Array) -> Array:
    """Where the sum of squared errors is smallest, by Levenberg and Marquardt's method.

    Args:
        errors: parameters → errors, both vectors.
        start: parameters.
        free: 1 where a parameter may move, 0 elsewhere.
    """

    def update(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        vector, damping = carry
        error, slope = errors(vector), jax.jacfwd(errors)(vector) * free
        normal = jnp.matmul(slope.T, slope, precision="highest")
        damped = normal + jnp.diag(damping * jnp.diag(normal) + 1e-6 + (1 - free))
        new = vector - free * jax.scipy.linalg.cho_solve(
            jax.scipy.linalg.cho_factor(damped), jnp.matmul(slope.T, error, precision="highest")
        )
        better = jnp.square(errors(new)).sum() < jnp.square(error).sum()
        return (jnp.where(better, new, vector), jnp.where(better, damping / 4, damping * 4)), None

    (vector, _), _ = jax.lax.scan(update, (start, jnp.asarray(1e-2)), None, length=UPDATES)
    return vector


def fitted(start: Steps, free: Steps, phi: Array, y: Array, answers: Array, causal: bool) -> tuple[Steps, Array]:
    """The steps whose answers are nearest, by Levenberg and Marquardt's method, and the share they leave unexplained.

    Args:
        start, free: of one candidate.
        phi, y: inputs (mean square 1) and labels, the last position asked for.
        answers: the network's.
    """
    flat, unravel = ravel_pytree(start)
    mask = ravel_pytree(free)[0]
    active = (free.rates.sum(-1) > 0).astype(phi.dtype)
    scale = jnp.sqrt(jnp.mean(jnp.square(answers)) + 1e-12)

    def whole(vector: Array) -> Steps:
        found = unravel(vector)
        return found._replace(curvature=found.curvature[0] * active)

    def errors(vector: Array) -> Array:
        state = begun(whole(vector), phi, y)
        for layer in range(active.shape[0]):
            state = stepped(state, whole(vector).rates[layer], whole(vector).curvature[layer], causal)
        return (state.answer - answers) / scale

    vector = least_squares(errors, flat, mask)
    return whole(vector), jnp.square(errors(vector)).mean()


def explained(found: Array, predicted: Array, before: Array) -> Float[Array, ""]:
    """1 − Σ w|found − predicted|²/Σ w|found − before|²: how much of a change was foreseen. 0 where nothing changed.

    Arrays lead with an axis of prompts; all axes are summed over. With s = |before|² + |found|² of a prompt its weight
    w is 1/(s + median s): a few prompts whose answers explode, as random networks' do, must not decide.
    """

    def size(values: Array) -> Float[Array, " prompt"]:
        return jnp.square(values).reshape(len(values), -1).sum(1)

    answered = size(before) + size(found)
    weight = 1 / (answered + jnp.median(answered) + 1e-30)
    change, error = weight @ size(found - before), weight @ size(found - predicted)
    moved = change > 1e-6 * (weight @ answered)
    return jnp.nan_to_num(jnp.where(moved, 1 - error / jnp.where(moved, change, 1.0), 0.0), nan=-1.0, neginf=-1.0)


def rolled(batch: Array) -> Array:
    """Of every prompt, the one that values come from: the next of the batch."""
    return jnp.roll(batch, -1, axis=0)


def descent(
    learner: TransformerLearner, task: Task, key: Array, told: Mapping[str, Array] | None = None
) -> dict[str, Float[Array, ""]]:
    """Evidence for one step per layer. With " from zero" θ_0 = 0, without it any θ_0.

    Statistics: `steps` K, the fewest that answer as the best fit does; `unexplained`, by the fit; `iterates`, the
    smallest share over inner layers of r_j read off `resid_post` of example j by a linear read-out, of what a linear
    function of x_j and y_j alone misses there (small steps leave r_j near y_j, which any network may keep); `remaining
    steps`, the smallest share over inner layers of the change of answers that is foreseen when the example tokens'
    `resid_post` comes from another prompt (`explained`); `pattern`, that share when the query's attention in the last
    layer comes from there, for K = 1 only, as the two before are for K > 1 only; `departure`, the larger of |f_0|
    against the answers and of the standard deviation of the step sizes against their mean; `downhill`, the smallest of
    the layers' mean step sizes over the largest: below 0 where a step goes up the gradient.

    A statistic that makes no sense is NaN.

    Args:
        told: {"steps": K, "steps from zero": K}, at which a control is looked at; 0, None: the fewest that do.
    """
    prompts = task.sample(key, PROMPTS)
    phi, y = task.features(prompts.x), prompts.y
    phi = phi / jnp.sqrt(jnp.mean(jnp.square(phi)))
    layers, causal = learner.model.config.applications, learner.model.config.mask == "causal"
    answers = learner(prompts).mean_target()[:, -1, 0]
    tried = candidates(layers, phi.shape[-1])
    found, remainder = jax.vmap(lambda start, free: fitted(start, free, phi, y, answers, causal))(
        tried.start, tried.free
    )
    states = jax.vmap(lambda steps: iterates(steps, phi, y, causal))(found)  # [candidate, layer + 1, prompt, …]
    inner = np.arange(layers - 1) >= layers - tried.count[:, None]  # layers after which an iterate is still to be used
    decoded = _decoded(learner, prompts, phi, states.residuals[:, 1:layers])
    remaining, pattern = _patched(learner, prompts, answers, found, states, causal)

    def smallest(values: Float[Array, "candidate layer"]) -> Float[Array, " candidate"]:
        return jnp.where(inner, values, jnp.inf).min(-1, initial=jnp.inf)

    several = jnp.asarray(tried.count > 1)
    initial = jnp.sqrt(jnp.square(states.answer[:, 0]).mean(-1) / jnp.square(answers).mean())
    active = tried.free.rates
    mean = found.rates.sum((1, 2)) / active.sum((1, 2))
    spread = jnp.sqrt((active * jnp.square(found.rates - mean[:, None, None])).sum((1, 2)) / active.sum((1, 2)))
    sizes = found.rates.mean(-1)
    smallest_step = jnp.where(active[..., 0] > 0, sizes, jnp.inf).min(-1) / jnp.abs(sizes).max(-1)
    table = {
        "steps": jnp.asarray(tried.count, jnp.float32),
        "unexplained": remainder,
        "iterates": jnp.where(several, smallest(decoded), jnp.nan),
        "remaining steps": jnp.where(several, smallest(remaining), jnp.nan),
        "pattern": jnp.where(several, jnp.nan, pattern),
        "departure": jnp.maximum(initial, spread / jnp.abs(mean)),
        "downhill": smallest_step,
    }
    chosen = {"": tried.learned, " from zero": ~tried.learned}
    found_at = {
        suffix: _choose(remainder, decoded, inner, tried.count, mine, told[f"steps{suffix}"] if told else 0)
        for suffix, mine in chosen.items()
    }
    return {name + suffix: values[at] for suffix, at in found_at.items() for name, values in table.items()}


def _choose(
    remainder: Array,
    decoded: Array,
    inner: np.ndarray,
    count: np.ndarray,
    mine: Bool[np.ndarray, " candidate"],
    told: Array | int,
) -> Array:
    """The fewest steps that suffice, or as many as told, and of their two orders the one that is decoded better."""
    left = jnp.where(mine & jnp.isfinite(remainder), remainder, jnp.inf)
    enough = left <= jnp.maximum(ENOUGH, AS_GOOD * left.min())
    fewest = jnp.where(enough, count, np.inf).min()
    allowed = jnp.where(jnp.asarray(told) > 0, mine & (count == told), enough & (count == fewest))
    quality = jnp.where(inner, decoded, 0.0).sum(-1) - jnp.minimum(left, 1e6)
    return jnp.where(allowed, quality, -jnp.inf).argmax()


def _decoded(
    learner: TransformerLearner, prompts: Prompts, phi: Array, residuals: Float[Array, "candidate layer prompt example"]
) -> Float[Array, "candidate layer"]:
    """Of every candidate's residuals after every inner layer, what the tokens that carry the outcomes say beyond x, y.

    1 − Σ(r̂ − r)²/Σ(r̃ − r)² on held-out prompts, r̂ a linear read-out of the token and r̃ one of its example's input and
    label; 0 where the latter misses less than 1e-6 of the variance.
    """
    tried, layers = residuals.shape[:2]
    if not layers:
        return jnp.zeros((tried, 0))  # nothing comes after the only step
    tokens = carriers(learner.format, prompts.positions).outcomes[:-1]
    streams = residual_streams(learner, prompts)[:layers, tokens].swapaxes(1, 2)  # [layer, prompt, example, width]
    features = streams.reshape(layers, -1, streams.shape[-1])
    targets = residuals.reshape(tried * layers, -1)
    targets = jnp.nan_to_num((targets - targets.mean(-1, keepdims=True)) / (targets.std(-1, keepdims=True) + 1e-9))
    # A read-out of its own for every candidate: its penalty must not be chosen for what the others get wrong.
    own = jnp.concatenate([phi[:, :-1], prompts.y[:, :-1, None]], axis=-1)
    score = thirds(targets.shape[1])[2]

    def missed(features: Array) -> Float[Array, "layer target"]:
        found = jax.vmap(lambda target: linear_predictions(features, target[:, None])[..., 0])(targets).swapaxes(0, 1)
        return jnp.square(found[..., score] - targets[:, score]).mean(-1)

    error, alone = missed(features), missed(own.reshape(1, -1, own.shape[-1]))
    share = jnp.where(alone > 1e-6, 1 - error / jnp.where(alone > 1e-6, alone, 1.0), 0.0)  # targets have variance 1
    return jnp.diagonal(share.reshape(layers, tried, layers), axis1=0, axis2=2)


def _patched(
    learner: TransformerLearner, prompts: Prompts, answers: Array, found: Steps, states: State, causal: bool
) -> tuple[Float[Array, "candidate layer"], Float[Array, " candidate"]]:
    """Shares of changes foreseen: examples' residuals of every inner layer, and the last layer's pattern."""
    config, format = learner.model.config, learner.format
    layers, tokens = config.applications, format.tokens(prompts.positions)
    query = asked(format, prompts.positions, -1)[0].start
    source = jax.tree.map(rolled, prompts)
    last = worlds(config, "pattern", tokens, np.array(layers - 1), np.array(ALL), np.array(query))
    turned = patched_answers(learner, source, prompts, last, "pattern")[0, :, 0, 0]

    def looked(state: State, steps: Steps) -> Array:
        """The share foreseen of answers whose last step has the source's inputs and the target's residuals."""
        now = State(rolled(state.inputs), state.residuals, rolled(state.query), state.answer)
        return explained(turned, stepped(now, steps.rates[-1], steps.curvature[-1], causal).answer, answers)

    def mixed(layer: int, state: State, steps: Steps, swapped: Array) -> Array:
        """The share foreseen of answers for which the examples' state after that many layers is the source's."""
        now = State(rolled(state.inputs), rolled(state.residuals), state.query, state.answer)
        for index in range(layer, layers):
            now = stepped(now, steps.rates[index], steps.curvature[index], causal)
        return explained(swapped, now.answer, answers)

    def after(layer: int) -> State:
        return jax.tree.map(lambda leaf: leaf[:, layer], states)

    pattern = jax.vmap(looked)(after(layers - 1), found)
    if layers == 1:
        return jnp.zeros((pattern.shape[0], 0)), pattern
    mask = np.eye(layers, dtype=bool)[:-1, :, None, None] & (np.arange(tokens) != query)
    examples = Worlds(jnp.arange(layers - 1), jnp.asarray(mask))
    swapped = patched_answers(learner, source, prompts, examples, "resid_post")[:, :, 0, 0]
    remaining = [
        jax.vmap(functools.partial(mixed, layer), (0, 0, None))(after(layer), found, swapped[layer - 1])
        for layer in range(1, layers)
    ]
    return jnp.stack(remaining, axis=1), pattern


def weights(learner: TransformerLearner, task: Task, key: Array) -> dict[str, Float[Array, ""]]:
    """Evidence for one step in the weights of one bare head of linear attention (`probes.weights`).

    The construction is the step with the diagonal A whose answers are nearest. Statistics: `cosine`, the smaller of
    those of W_QK and W_VO; `halfway`, minus the relative difference between the loss halfway to it and the head's own.
    """
    prompts = task.sample(key, 8 * PROMPTS)
    x, y = prompts.x, prompts.y
    answers = learner(prompts).mean_target()[:, -1, 0]
    terms = jnp.einsum("bid,bi->bd", x[:, :-1], y[:, :-1], precision="highest") / (x.shape[1] - 1) * x[:, -1]
    normal = jnp.matmul(terms.T, terms, precision="highest")
    rates = jnp.linalg.solve(normal, jnp.matmul(terms.T, answers, precision="highest"))
    _, construction = one_step_gd(x.shape[-1], task.examples, jnp.diag(rates))
    cosine = jnp.stack([*weight_cosine(learner, construction).values()]).min()
    losses = interpolation_losses(learner, construction, prompts, jnp.array([0.0, 0.5]))
    return {"cosine": cosine, "halfway": -jnp.abs(losses[1] / losses[0] - 1)}


def one_bare_head(learner: TransformerLearner, task: Task) -> bool:
    """Whether `weights` makes sense: one head of linear attention, applied once, on the inputs themselves."""
    config = learner.model.config
    bare = not (config.embedding or config.bias or config.mlp) and config.attention == "linear"
    bare &= config.normalisation == config.positions == "none" and config.width == task.inputs_size + 1
    return bare and config.applications == config.heads == 1 and type(task).features is Task.features
