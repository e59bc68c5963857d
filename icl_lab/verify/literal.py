"""The learners once more, word for word: one prompt, one prefix, one token at a time, in float64 and with no trick.

Nothing here is fast and nothing is shared with the package, which is the point: what agrees with it is right.
Throughout, x [n, d] and y [n] are the examples before a query [d].
"""

import numpy as np
from jaxtyping import Float

Inputs = Float[np.ndarray, "n d"]
Labels = Float[np.ndarray, " n"]
Vector = Float[np.ndarray, " d"]


def gaussian_posterior(
    x: Inputs, y: Labels, query: Vector, noise: float, mean: Vector, scale: Vector
) -> tuple[float, float]:
    """Mean and variance of y at the query, for y = w·x + σε and w ~ N(mean, diag(scale²)).

    Posterior precision diag(1/scale²) + XᵀX/σ², by the normal equations.
    """
    precision = np.diag(1 / scale**2) + x.T @ x / noise**2
    weights = np.linalg.solve(precision, mean / scale**2 + x.T @ y / noise**2)
    return float(query @ weights), float(noise**2 + query @ np.linalg.solve(precision, query))


def quadrature_posterior(x: Labels, y: Labels, query: float, outcome: float, noise: float) -> tuple[float, float]:
    """Mean of y at the query and log density of the outcome, for one feature and w ~ N(0, 1), by a sum over a grid."""
    w = np.linspace(-12, 12, 48_001)
    log_weight = -0.5 * w**2 - 0.5 * ((y - np.outer(w, x)) ** 2).sum(-1) / noise**2
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    density = np.exp(-0.5 * ((outcome - w * query) / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
    return float((weight * w * query).sum()), float(np.log((weight * density).sum()))


def pool_posterior(
    x: Inputs, y: Labels, query: Vector, outcome: float, noise: float, pool: Float[np.ndarray, "m d"]
) -> tuple[float, float, float, int]:
    """Mean, variance and log density of y at the query under a uniform prior over the pool; its MAP member."""
    log_weight = np.array([-0.5 * ((y - x @ w) ** 2).sum() / noise**2 for w in pool])
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    answers = pool @ query
    mean = float(weight @ answers)
    variance = float(noise**2 + weight @ (answers - mean) ** 2)
    density = np.exp(-0.5 * ((outcome - answers) / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
    return mean, variance, float(np.log(weight @ density)), int(log_weight.argmax())


def ridge(x: Inputs, y: Labels, query: Vector, penalty: float) -> float:
    """query · (XᵀX + λI)⁻¹Xᵀy."""
    return float(query @ np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y))


def least_squares(x: Inputs, y: Labels, query: Vector) -> float:
    """Minimum-norm least squares, by the pseudo-inverse."""
    return float(query @ np.linalg.pinv(x) @ y) if len(y) else 0.0


def gradient_descent(x: Inputs, y: Labels, query: Vector, initial: Vector, rates: Float[np.ndarray, "step d"]) -> float:
    """query · w after the steps w ← w + rate·Xᵀ(y − Xw)/n."""
    weights = initial.copy()
    for rate in rates:
        if len(y):
            weights = weights + rate * (x.T @ (y - x @ weights)) / len(y)
    return float(query @ weights)


def layer_by_layer(
    x: Float[np.ndarray, "token d"], y: Labels, rate: float, curvature: float, steps: int, causal: bool
) -> float:
    """The answer at the last token of a stack of GD++ layers that moves every token in every layer.

    Tokens are (x_j, r_j) with r_j = y_j for examples and 0 for the last, the query. With S_j the examples that token j
    sees (all of them, or with a causal mask those up to and including itself, but never the query):

        r_j ← r_j − (η/|S_j|) Σ_{l∈S_j} r_l x_l·x_j        x_j ← x_j − (γ/|S_j|) Σ_{l∈S_j} (x_l·x_j) x_l

    The answer is −r of the query (von Oswald et al. 2022, Section 3).
    """
    last = len(x) - 1
    inputs, residuals = x.astype(float).copy(), np.append(y, 0.0)
    for _ in range(steps):
        moved, changed = inputs.copy(), residuals.copy()
        for j in range(last + 1):
            seen = range(min(j + 1, last)) if causal else range(last)
            for other in seen:
                product = inputs[other] @ inputs[j] / len(seen)
                changed[j] -= rate * residuals[other] * product
                moved[j] -= curvature * product * inputs[other]
        inputs, residuals = moved, changed
    return float(-residuals[last])
