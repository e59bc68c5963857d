"""The implicit learner of gradient steps, one per layer, and how its parameters are fitted to answers. No network here.

A learner of L layers updates, layer by layer, every example j and the query q by

    r_j ← r_j − Σ_l s_jl (x_jᵀ A_k x_l) r_l     x_j ← x_j − γ_k Σ_l s_jl (x_j·x_l) x_l     (r_j = y_j − f(x_j))
    f_q ← f_q + Σ_l s_l (x_qᵀ A_k x_l) r_l      x_q ← x_q − γ_k Σ_l s_l (x_q·x_l) x_l

from f(x) = θ_0·x, with s = 1/n over all examples, or 1/(j+1) over those up to j under a causal mask. The last K layers
take the K steps; A = 0 in the layers before. A_k is diagonal. γ = 0, θ_0 = 0 and A_k = ηI are gradient descent, γ ≠ 0
is GD++ (von Oswald et al. 2022), and learned θ_0 and A_k are Meta-SGD (Li et al. 2017).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

UPDATES = 40  # of Levenberg and Marquardt's method


class State(NamedTuple):
    """What the network should hold: inputs and residuals of the examples, and input and answer of the query."""

    inputs: Float[Array, "batch example feature"]
    residuals: Float[Array, "batch example"]
    query: Float[Array, "batch feature"]
    answer: Float[Array, " batch"]


class Steps(NamedTuple):
    """Parameters θ_0, A and γ of the implicit learner, in units in which inputs have mean square 1."""

    initial: Float[Array, " feature"]
    rates: Float[Array, "layer feature"]
    curvature: Float[Array, " layer"]


def begun(steps: Steps, phi: Float[Array, "batch position feature"], y: Float[Array, "batch position"]) -> State:
    """Return the state before the first layer."""
    answers = jnp.einsum("bpd,d->bp", phi, steps.initial, precision="highest")
    return State(phi[:, :-1], y[:, :-1] - answers[:, :-1], phi[:, -1], answers[:, -1])


def stepped(state: State, rate: Array, curvature: Array, causal: bool) -> State:
    """Return the state after one layer with step sizes A = diag(rate) and γ = curvature."""
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
    """Return the states before the first layer and after every layer, on a leading axis [layer + 1]."""

    def turn(state: State, layer: tuple[Array, Array]) -> tuple[State, State]:
        after = stepped(state, *layer, causal)
        return after, after

    first = begun(steps, phi, y)
    _, later = jax.lax.scan(turn, first, (steps.rates, steps.curvature))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), first, later)


class Candidates(NamedTuple):
    """All starting points of the fit: K = 1 … L steps, larger or smaller steps first, θ_0 zero or learned.

    Attributes:
        count: number of steps K, [candidate].
        learned: whether θ_0 may move, [candidate].
        start: first guess; leaves lead with the candidate axis.
        free: 1 where a parameter may move, 0 elsewhere.
    """

    count: np.ndarray
    learned: np.ndarray
    start: Steps
    free: Steps


def candidates(layers: int, size: int) -> Candidates:
    """Return the 4·L candidates of a network with L layers, for inputs of `size` features."""
    count, order, learned = (
        part.ravel() for part in np.meshgrid(np.arange(1, layers + 1), [1, -1], [False, True], indexing="ij")
    )
    active = (np.arange(layers) >= layers - count[:, None]).astype(np.float32)
    place = (np.arange(layers) - (layers - count[:, None])) / np.maximum(count[:, None] - 1, 1)
    rates = 0.5 * 1.5 ** (order[:, None] * (1 - 2 * place)) * active
    spread = np.ones(size, np.float32)
    shared = np.zeros_like(active)
    shared[:, 0] = count > 1  # one γ for all layers, kept in the first entry

    def steps(initial: np.ndarray, rates: np.ndarray, curvature: np.ndarray) -> Steps:
        return Steps(*(jnp.asarray(part, jnp.float32) for part in (initial, rates, curvature)))

    start = steps(np.zeros((len(count), size)), rates[..., None] * spread, np.zeros_like(active))
    return Candidates(count, learned, start, steps(learned[:, None] * spread, active[..., None] * spread, shared))


def least_squares(errors: Callable[[Array], Array], start: Array, free: Array) -> Array:
    """Minimise the sum of squared errors by Levenberg and Marquardt's method.

    Args:
        errors: parameters → errors, both vectors.
        start: first guess of the parameters.
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
    """Return the steps whose answers are nearest to the network's, and the unexplained share of these answers.

    Args:
        start, free: of one candidate.
        phi, y: inputs (mean square 1) and labels; the last position is the query.
        answers: of the network, to the query.
        causal: whether the network has a causal mask.
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
