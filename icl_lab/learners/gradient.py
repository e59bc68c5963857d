"""Learners that take gradient steps on the prompt's loss: a generalised linear model of the task's features.

Loss over n examples: squared error |y − Xw|²/2n of real outcomes, cross-entropy of softmax(Xw) of classes. With h the
link (identity or softmax) and T the targets each method has two forms.

*Full*: at position i, K steps on all i examples before it, w_{k+1} = w_k + A_k Xᵀ(T − h(Xw_k))/n.
*Causal*: what a causally masked model can compute with one step per layer. Example j carries an answer f_j that only
knows the examples up to j, so from the second step on it differs from the full form, r = T − h(f):

    f_j ← f_j + (1/(j+1)) Σ_{l≤j} (x_jᵀ A_k x_l) r_l        f_i ← f_i + (1/i) Σ_{l<i} (x_iᵀ A_k x_l) r_l

At K = 1 the two are the same. GD++ (von Oswald et al. 2022) also moves the inputs, x ← x − γ (XᵀX/n) x, in each step.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.learners.linear import apply_weights, prefix_means
from icl_lab.tasks import LinearRegression, Population, Task

ENTRIES = 1 << 22  # residuals (prompt, example, position, target) that `link_gradient` holds at once


def unrolled_descent(
    outcomes: Outcomes,
    phi: Float[Array, "batch position feature"],
    targets: Float[Array, "batch position target"],
    initial: Float[Array, "feature target"],
    rates: Float[Array, "step feature"],
    curvature: Array | float | None = None,
    causal: bool = False,
) -> Float[Array, "batch position target"]:
    """Natural parameters answered after K = len(rates) steps from `initial` with diagonal step sizes `rates`.

    Args:
        outcomes: gives the link.
        curvature: γ of GD++, or None for plain steps. With γ the initial weights must be zero, each rate uniform and
            the link the identity.
        causal: which of the two forms.
    """
    if causal:
        return _causal(outcomes, phi, targets, initial, rates, curvature)
    if outcomes.linear:
        return _full(phi, targets, initial, rates, curvature)
    return _full_with_link(outcomes, phi, targets, initial, rates)


def _full(phi: Array, targets: Array, initial: Array, rates: Array, curvature: Array | float | None) -> Array:
    gram, moment = prefix_means(phi, targets)
    weights = jnp.zeros_like(moment) + initial
    # GD++: after k steps the inputs are X T with T a polynomial in the Gram matrix, so answers stay linear in x.
    transform = jnp.eye(phi.shape[-1], dtype=phi.dtype) * jnp.ones_like(gram)
    for rate in rates:
        gradient = moment - jnp.matmul(gram, weights, precision="highest")
        if curvature is None:
            weights = weights + rate[:, None] * gradient
            continue
        moved = jnp.matmul(transform, transform, precision="highest")
        weights = weights + rate[:, None] * jnp.matmul(moved, gradient, precision="highest")
        current = jnp.matmul(jnp.matmul(transform, gram, precision="highest"), transform, precision="highest")
        transform = transform - curvature * jnp.matmul(transform, current, precision="highest")
    return apply_weights(phi, weights)


def _full_with_link(outcomes: Outcomes, phi: Array, targets: Array, initial: Array, rates: Array) -> Array:
    weights = jnp.broadcast_to(initial, (*phi.shape[:2], *initial.shape))
    for rate in rates:
        weights = weights + rate[:, None] * link_gradient(outcomes, phi, targets, weights)
    return apply_weights(phi, weights)


def link_gradient(
    outcomes: Outcomes, phi: Array, targets: Array, weights: Float[Array, "batch position feature target"]
) -> Float[Array, "batch position feature target"]:
    """Xᵀ(T − h(XW_i))/n over the examples before i, for the weights W_i of every position, in bounded memory."""
    positions = phi.shape[1]
    share = jnp.triu(jnp.ones((positions, positions), phi.dtype), 1) / jnp.maximum(jnp.arange(positions), 1)

    def one(prompt: tuple[Array, Array, Array]) -> Array:
        phi, targets, weights = prompt
        # Targets lead: a sum over the few of them is slow along the last axis.
        natural = jnp.einsum("jf,ift->tji", phi, weights, precision="highest")
        residual = (targets.T[:, :, None] - outcomes.link(natural, axis=0)) * share
        return jnp.einsum("jf,tji->ift", phi, residual, precision="highest")

    at_once = max(1, ENTRIES // (positions * positions * targets.shape[-1]))
    if at_once >= phi.shape[0]:
        return jax.vmap(lambda *prompt: one(prompt))(phi, targets, weights)
    return jax.lax.map(one, (phi, targets, weights), batch_size=at_once)


def _causal(
    outcomes: Outcomes, phi: Array, targets: Array, initial: Array, rates: Array, curvature: Array | float | None
) -> Array:
    positions = phi.shape[1]
    upto = jnp.tril(jnp.ones((positions, positions), phi.dtype)) / (jnp.arange(positions)[:, None] + 1)
    before = jnp.tril(jnp.ones((positions, positions), phi.dtype), -1)
    before = before / jnp.maximum(jnp.arange(positions)[:, None], 1)

    def products(a: Array, b: Array) -> Array:
        return jnp.einsum("bif,bjf->bij", a, b, precision="highest")

    answer = known = jnp.matmul(phi, initial, precision="highest")
    example, query = phi, phi
    for rate in rates:
        residual = targets - outcomes.link(known)
        answer = answer + jnp.matmul(products(query * rate, example) * before, residual, precision="highest")
        known = known + jnp.matmul(products(example * rate, example) * upto, residual, precision="highest")
        if curvature is not None:
            from_query = jnp.matmul(products(query, example) * before, example, precision="highest")
            from_example = jnp.matmul(products(example, example) * upto, example, precision="highest")
            query, example = query - curvature * from_query, example - curvature * from_example
    return answer


def _descend(
    task: Task,
    prompts: Prompts,
    steps: int,
    rate: Array | float,
    phi: Array,
    curvature: Array | float | None = None,
    causal: bool = False,
) -> Predictions:
    """K steps of one size from zero."""
    outcomes = task.outcomes
    initial = jnp.zeros((phi.shape[-1], outcomes.size))
    rates = rate * jnp.ones((steps, phi.shape[-1]), phi.dtype)
    targets = outcomes.targets(prompts.y)
    return outcomes.from_natural(unrolled_descent(outcomes, phi, targets, initial, rates, curvature, causal))


def gradient_descent(
    task: Task, prompts: Prompts, steps: int, rate: Array | float, causal: bool = False
) -> Predictions:
    """K steps of size η from zero. K = 1 with real outcomes is (η/n) Σ y_j x_j·x_i."""
    return _descend(task, prompts, steps, rate, task.features(prompts.x), None, causal)


def gradient_descent_plus_plus(
    task: Task, prompts: Prompts, steps: int, rate: Array | float, curvature: Array | float, causal: bool = False
) -> Predictions:
    """GD++: K steps of size η, each followed by x ← x − γ(XᵀX/n)x for examples and query (von Oswald et al. 2022).

    Their γ multiplies the unnormalised Gram matrix; ours is theirs times n. For real outcomes.
    """
    return _descend(task, prompts, steps, rate, task.features(prompts.x), curvature, causal)


def preconditioned_descent(
    task: Task, prompts: Prompts, steps: int, rate: Array | float, damping: Array | float, causal: bool = False
) -> Predictions:
    """K steps of w ← w + η P XᵀR/n with P = s(Λ + c·s·I)⁻¹·(1 + c), Λ = E[φφᵀ], s = tr(Λ)/d.

    c → ∞ is plain gradient descent; isotropic inputs make P the identity. Ahn et al. 2023; Mahankali et al. 2023.
    """
    covariance = task.feature_covariance()
    values, vectors = jnp.linalg.eigh(covariance)
    mean = values.mean()
    root = jnp.sqrt(mean * (1 + damping) / (values + damping * mean))
    whitened = jnp.matmul(task.features(prompts.x), (vectors * root) @ vectors.T, precision="highest")
    return _descend(task, prompts, steps, rate, whitened, None, causal)


def newton_schulz(task: Task, prompts: Prompts, steps: int, start: Array | float) -> Predictions:
    """w = M_K Xᵀy/n with M_0 = αI, M_{k+1} = 2M_k − M_k(XᵀX/n)M_k and α = start / tr(XᵀX/n).

    Converges quadratically to min-norm least squares for start < 2; the same polynomial as 2^K GD steps of size α.
    Classes are regressed on as one-hot vectors around 1/K. Fu et al. 2023.
    """
    phi, outcomes = task.features(prompts.x), task.outcomes
    gram, moment = prefix_means(phi, outcomes.targets(prompts.y) - outcomes.neutral)
    trace = jnp.trace(gram, axis1=-2, axis2=-1)
    scale = jnp.where(trace > 0, start / jnp.where(trace > 0, trace, 1.0), 0.0)
    inverse = scale[..., None, None] * jnp.eye(phi.shape[-1], dtype=phi.dtype)
    for _ in range(steps):
        product = jnp.matmul(inverse, jnp.matmul(gram, inverse, precision="highest"), precision="highest")
        inverse = 2 * inverse - product
    weights = jnp.matmul(inverse, moment, precision="highest")
    return outcomes.from_mean(outcomes.neutral + apply_weights(phi, weights))


def newton_with_link(task: Task, prompts: Prompts, steps: int, damping: Array | float) -> Predictions:
    """K steps w ← w + 2(XᵀX/n + λsI)⁻¹ Xᵀ(T − softmax(Xw))/n from zero, s the mean variance of a feature.

    Newton's method on cross-entropy with the curvature's upper bound ½XᵀX/n in place of the Hessian, which costs one
    inverse and never overshoots (Böhning 1992).
    """
    phi, outcomes = task.features(prompts.x), task.outcomes
    targets = outcomes.targets(prompts.y)
    gram, moment = prefix_means(phi, targets)
    size = phi.shape[-1]
    ridge = damping * jnp.trace(task.feature_covariance()) / size
    factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(size, dtype=phi.dtype))
    weights = jnp.zeros_like(moment)
    for _ in range(steps):
        gradient = link_gradient(outcomes, phi, targets, weights)
        weights = weights + 2 * jax.scipy.linalg.cho_solve((factor, True), gradient)
    return outcomes.from_natural(apply_weights(phi, weights))


def best_single_step(task: LinearRegression) -> tuple[float, float]:
    """The step size that minimises the expected squared error of one GD step at the last query, and that error.

    With weights of variance τ² around 0, inputs of covariance Λ and fourth moments as below, n = N examples,

        E(η) = σ² + τ² tr(Λ) − 2η τ² tr(Λ²) + η² [τ² E tr(SΛS) + σ² tr(Λ²)/n],   S = XᵀX/n,
        E tr(SΛS) = (1 − 1/n) tr(Λ³) + (1/n) E[(xᵀΛx) |x|²],

    minimal at η* = τ² tr(Λ²)/[…]. For Gaussian x the last moment is 2 tr(Λ³) + tr(Λ²) tr(Λ); for U(−h, h)^d with
    v = h²/3 it is v (d·h⁴/5 + d(d−1)v²). Isotropic Gaussian, v = 1: η* = N/(N + d + 1 + σ²/τ²) (Zhang et al. 2023).
    d = N = 10, h = ½, σ = 0: η* = 6.061 and E = 2·0.2062 (von Oswald et al. 2022).

    Raises:
        ValueError: weights of non-zero mean or unequal scales, for which another formula holds.
    """
    scale = np.asarray(task.weight_scale, float)
    if np.any(np.asarray(task.weight_mean)) or scale.ndim or not isinstance(task.prior, Population):
        raise ValueError("weight_mean, weight_scale, pool: need mean 0, one scale and no pool for this closed form")
    covariance, count = np.asarray(task.input_covariance(), float), task.examples
    one, two, three = (np.trace(np.linalg.matrix_power(covariance, power)) for power in (1, 2, 3))
    if task.inputs == "gaussian":
        fourth = 2 * three + two * one
    else:
        size, half = task.dimension, float(task.half_width)
        variance = half**2 / 3
        fourth = variance * (size * half**4 / 5 + size * (size - 1) * variance**2)
    prior, noise = float(scale) ** 2, float(task.noise) ** 2
    curvature = prior * ((1 - 1 / count) * three + fourth / count) + noise * two / count
    rate = prior * two / curvature
    return float(rate), float(noise + prior * one - rate * prior * two)
