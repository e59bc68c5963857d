"""Learners that take gradient steps on the prompt's squared error.

Loss over n examples: L(w) = |y − Xw|²/2n. Each method has two forms.

*Full*: at position i, K steps on all i examples before it, w_{k+1} = w_k + A_k Xᵀ(y − Xw_k)/n.
*Causal*: what a causally masked model can compute with one step per layer. Example j carries a residual r_j that only
knows the examples up to j, so from the second step on it differs from the full form:

    r_j ← r_j − (1/(j+1)) Σ_{l≤j} (x_jᵀ A_k x_l) r_l        f_i ← f_i + (1/i) Σ_{l<i} (x_iᵀ A_k x_l) r_l

At K = 1 the two are the same. GD++ (von Oswald et al. 2022) also moves the inputs, x ← x − γ (XᵀX/n) x, in each step.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.learners.linear import prefix_sums
from icl_lab.prompts import Point, Prompts
from icl_lab.tasks import LinearRegression, Population, Task


def unrolled_descent(
    phi: Float[Array, "batch position feature"],
    y: Float[Array, "batch position"],
    initial: Float[Array, " feature"],
    rates: Float[Array, "step feature"],
    curvature: Array | float | None = None,
    causal: bool = False,
) -> Float[Array, "batch position"]:
    """Answers after K = len(rates) steps from `initial` with diagonal step sizes `rates`.

    Args:
        curvature: γ of GD++, or None for plain steps. With γ the initial weights must be zero and each rate uniform.
        causal: which of the two forms.
    """
    return (_causal if causal else _full)(phi, y, initial, rates, curvature)


def _full(phi: Array, y: Array, initial: Array, rates: Array, curvature: Array | float | None) -> Array:
    count = jnp.maximum(jnp.arange(phi.shape[1]), 1)[:, None]
    gram, moment = prefix_sums(phi, y)
    gram, moment = gram / count[..., None], moment / count
    weights = jnp.zeros_like(moment) + initial
    # GD++: after k steps the inputs are X T with T a polynomial in the Gram matrix, so answers stay linear in x.
    transform = jnp.eye(phi.shape[-1], dtype=phi.dtype) * jnp.ones_like(gram)
    for rate in rates:
        gradient = moment - jnp.einsum("bpfg,bpg->bpf", gram, weights, precision="highest")
        if curvature is None:
            weights = weights + rate * gradient
            continue
        moved = jnp.matmul(transform, transform, precision="highest")
        weights = weights + rate * jnp.einsum("bpfg,bpg->bpf", moved, gradient, precision="highest")
        current = jnp.matmul(jnp.matmul(transform, gram, precision="highest"), transform, precision="highest")
        transform = transform - curvature * jnp.matmul(transform, current, precision="highest")
    return (weights * phi).sum(-1)


def _causal(phi: Array, y: Array, initial: Array, rates: Array, curvature: Array | float | None) -> Array:
    positions = phi.shape[1]
    upto = jnp.tril(jnp.ones((positions, positions), phi.dtype)) / (jnp.arange(positions)[:, None] + 1)
    before = jnp.tril(jnp.ones((positions, positions), phi.dtype), -1)
    before = before / jnp.maximum(jnp.arange(positions)[:, None], 1)

    def products(a: Array, b: Array) -> Array:
        return jnp.einsum("bif,bjf->bij", a, b, precision="highest")

    def apply(matrix: Array, vector: Array) -> Array:
        return jnp.einsum("bij,bj->bi", matrix, vector, precision="highest")

    answer = phi @ initial
    residual = y - answer
    example, query = phi, phi
    for rate in rates:
        answer = answer + apply(products(query * rate, example) * before, residual)
        residual = residual - apply(products(example * rate, example) * upto, residual)
        if curvature is not None:
            from_query = jnp.matmul(products(query, example) * before, example, precision="highest")
            from_example = jnp.matmul(products(example, example) * upto, example, precision="highest")
            query, example = query - curvature * from_query, example - curvature * from_example
    return answer


def gradient_descent(task: Task, prompts: Prompts, steps: int, rate: Array | float, causal: bool = False) -> Point:
    """K steps of size η from zero. K = 1 is (η/n) Σ y_j x_j·x_i."""
    phi = task.features(prompts.x)
    rates = rate * jnp.ones((steps, phi.shape[-1]), phi.dtype)
    return Point(unrolled_descent(phi, prompts.y, jnp.zeros(phi.shape[-1]), rates, None, causal))


def gradient_descent_plus_plus(
    task: Task, prompts: Prompts, steps: int, rate: Array | float, curvature: Array | float, causal: bool = False
) -> Point:
    """GD++: K steps of size η, each followed by x ← x − γ(XᵀX/n)x for examples and query (von Oswald et al. 2022).

    Their γ multiplies the unnormalised Gram matrix; ours is theirs times n.
    """
    phi = task.features(prompts.x)
    rates = rate * jnp.ones((steps, phi.shape[-1]), phi.dtype)
    return Point(unrolled_descent(phi, prompts.y, jnp.zeros(phi.shape[-1]), rates, curvature, causal))


def preconditioned_descent(
    task: Task, prompts: Prompts, steps: int, rate: Array | float, damping: Array | float, causal: bool = False
) -> Point:
    """K steps of w ← w + η P Xᵀ(y − Xw)/n with P = s(Λ + c·s·I)⁻¹·(1 + c), Λ = E[φφᵀ], s = tr(Λ)/d.

    c → ∞ is plain gradient descent; isotropic inputs make P the identity. Ahn et al. 2023; Mahankali et al. 2023.
    """
    covariance = task.feature_covariance()
    values, vectors = jnp.linalg.eigh(covariance)
    mean = values.mean()
    root = jnp.sqrt(mean * (1 + damping) / (values + damping * mean))
    whitened = jnp.matmul(task.features(prompts.x), (vectors * root) @ vectors.T, precision="highest")
    rates = rate * jnp.ones((steps, whitened.shape[-1]), whitened.dtype)
    return Point(unrolled_descent(whitened, prompts.y, jnp.zeros(whitened.shape[-1]), rates, None, causal))


def newton_schulz(task: Task, prompts: Prompts, steps: int, start: Array | float) -> Point:
    """w = M_K Xᵀy/n with M_0 = αI, M_{k+1} = 2M_k − M_k(XᵀX/n)M_k and α = start / tr(XᵀX/n).

    Converges quadratically to min-norm least squares for start < 2; the same polynomial as 2^K GD steps of size α.
    Fu et al. 2023.
    """
    phi = task.features(prompts.x)
    count = jnp.maximum(jnp.arange(phi.shape[1]), 1)[:, None]
    gram, moment = prefix_sums(phi, prompts.y)
    gram, moment = gram / count[..., None], moment / count
    trace = jnp.trace(gram, axis1=-2, axis2=-1)
    scale = jnp.where(trace > 0, start / jnp.where(trace > 0, trace, 1.0), 0.0)
    inverse = scale[..., None, None] * jnp.eye(phi.shape[-1], dtype=phi.dtype)
    for _ in range(steps):
        product = jnp.matmul(inverse, jnp.matmul(gram, inverse, precision="highest"), precision="highest")
        inverse = 2 * inverse - product
    weights = jnp.einsum("bpfg,bpg->bpf", inverse, moment, precision="highest")
    return Point((weights * phi).sum(-1))


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
