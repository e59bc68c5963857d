"""Kernel learners: similarity-weighted averages of the labels, and kernel ridge regression."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.prompts import Point, Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sequential_regression


def inner_products(phi: Float[Array, "batch position feature"]) -> Float[Array, "batch position position"]:
    """x_i·x_j at full float32 precision."""
    return jnp.einsum("bif,bjf->bij", phi, phi, precision="highest")


def squared_distances(phi: Float[Array, "batch position feature"]) -> Float[Array, "batch position position"]:
    """|x_i − x_j|²."""
    gram = inner_products(phi)
    norm = jnp.diagonal(gram, axis1=-2, axis2=-1)
    return jnp.maximum(norm[..., :, None] + norm[..., None, :] - 2 * gram, 0.0)


def _average(log_weight: Float[Array, "batch position position"], y: Float[Array, "batch position"]) -> Point:
    """Σ_{j<i} a_ij y_j with a = softmax of log_weight over the examples before i; 0 before the first example."""
    positions = y.shape[-1]
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
    weight = jax.nn.softmax(jnp.where(earlier, log_weight, -1e30), axis=-1) * earlier
    return Point(jnp.einsum("bij,bj->bi", weight, y, precision="highest"))


def nadaraya_watson(task: Task, prompts: Prompts, bandwidth: Array | float) -> Point:
    """ŷ_i = Σ_{j<i} a_j y_j, a_j ∝ exp(−|x_i − x_j|²/2h²). h → 0 is the nearest example, h → ∞ the mean label."""
    return _average(-squared_distances(task.features(prompts.x)) / (2 * bandwidth**2), prompts.y)


def softmax_kernel(task: Task, prompts: Prompts, inverse_temperature: Array | float) -> Point:
    """ŷ_i = Σ_{j<i} a_j y_j, a_j ∝ exp(β x_i·x_j): softmax attention with fixed weights (Han et al. 2023)."""
    return _average(inverse_temperature * inner_products(task.features(prompts.x)), prompts.y)


def linear_kernel(task: Task, prompts: Prompts, scale: Array | float) -> Point:
    """The unnormalised linear smoother ŷ_i = (s/i) Σ_{j<i} (x_i·x_j) y_j: the same function as one GD step from 0."""
    positions = prompts.positions
    weight = jnp.tril(inner_products(task.features(prompts.x)), -1)
    total = jnp.einsum("bij,bj->bi", weight, prompts.y, precision="highest")
    return Point(scale * total / jnp.maximum(jnp.arange(positions), 1))


def kernel_ridge(task: Task, prompts: Prompts, bandwidth: Array | float, penalty: Array | float) -> Point:
    """ŷ_i = k_iᵀ(K + λI)⁻¹y with the RBF kernel exp(−|x − x'|²/2h²), over the examples before i."""
    kernel = jnp.exp(-squared_distances(task.features(prompts.x)) / (2 * bandwidth**2))
    return Point(sequential_regression(kernel, penalty, prompts.y).mean)


def linear_kernel_ridge(task: Task, prompts: Prompts, penalty: Array | float) -> Point:
    """ŷ_i = k_iᵀ(K + λI)⁻¹y with the linear kernel, solved at every prefix: the same function as ridge(λ)."""
    kernel = inner_products(task.features(prompts.x))
    positions = prompts.positions
    seen = jnp.tril(jnp.ones((positions, positions), kernel.dtype), -1)
    masked = kernel[:, None] * seen[None, :, :, None] * seen[None, :, None, :]
    system = masked + penalty * jnp.eye(positions, dtype=kernel.dtype)
    labels = (prompts.y[:, None] * seen)[..., None]
    dual = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(system), True), labels)[..., 0]
    return Point(jnp.einsum("bpi,bpi->bp", dual * seen, kernel, precision="highest"))
