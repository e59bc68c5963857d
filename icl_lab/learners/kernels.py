"""Kernel learners: similarity-weighted averages of the labels, and kernel ridge regression."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sequential_means


def inner_products(phi: Float[Array, "batch position feature"]) -> Float[Array, "batch position position"]:
    """x_i·x_j at full float32 precision."""
    return jnp.einsum("bif,bjf->bij", phi, phi, precision="highest")


def squared_distances(phi: Float[Array, "batch position feature"]) -> Float[Array, "batch position position"]:
    """|x_i − x_j|²."""
    gram = inner_products(phi)
    norm = jnp.diagonal(gram, axis1=-2, axis2=-1)
    return jnp.maximum(norm[..., :, None] + norm[..., None, :] - 2 * gram, 0.0)


def _weighted(weight: Float[Array, "batch position position"], values: Array) -> Float[Array, "batch position target"]:
    """Σ_j w_ij v_j."""
    return jnp.einsum("bij,bjt->bit", weight, values, precision="highest")


def _average(task: Task, prompts: Prompts, log_weight: Array, pseudo_count: Array | float) -> Predictions:
    """(c·t₀ + Σ_{j<i} w_ij t_j) / (c + Σ_{j<i} w_ij), t₀ neutral, also before the first example.

    With c = 0 the weights are a softmax, so that bandwidth → 0 does not divide zero by zero.
    """
    outcomes, positions = task.outcomes, prompts.positions
    earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
    masked = jnp.where(earlier, log_weight, -1e30)
    log_count = jnp.broadcast_to(jnp.log(jnp.asarray(pseudo_count, masked.dtype)), (*masked.shape[:-1], 1))
    weight = jax.nn.softmax(jnp.concatenate([jnp.maximum(log_count, -2e30), masked], -1), axis=-1)[..., 1:] * earlier
    centred = outcomes.targets(prompts.y) - outcomes.neutral
    return outcomes.from_mean(outcomes.neutral + _weighted(weight, centred))


def nadaraya_watson(
    task: Task, prompts: Prompts, bandwidth: Array | float, pseudo_count: Array | float = 0.0
) -> Predictions:
    """ŷ_i = Σ_{j<i} a_j y_j, a_j ∝ exp(−|x_i − x_j|²/2h²). h → 0 is the nearest example, h → ∞ the mean label.

    A pseudo-count c is one more example of weight c with the neutral label: on one-hot features and h → 0 the answer is
    (C + c/K)/(n + c), the Dirichlet(c/K) posterior predictive.
    """
    return _average(task, prompts, -squared_distances(task.features(prompts.x)) / (2 * bandwidth**2), pseudo_count)


def softmax_kernel(task: Task, prompts: Prompts, inverse_temperature: Array | float) -> Predictions:
    """ŷ_i = Σ_{j<i} a_j y_j, a_j ∝ exp(β x_i·x_j): softmax attention with fixed weights (Han et al. 2023)."""
    return _average(task, prompts, inverse_temperature * inner_products(task.features(prompts.x)), 0.0)


def linear_kernel(task: Task, prompts: Prompts, scale: Array | float) -> Predictions:
    """The unnormalised linear smoother ŷ_i = (s/i) Σ_{j<i} (x_i·x_j) y_j, of classes logits: one GD step from 0."""
    outcomes = task.outcomes
    weight = jnp.tril(inner_products(task.features(prompts.x)), -1)
    total = _weighted(weight, outcomes.targets(prompts.y) - outcomes.neutral)
    return outcomes.from_natural(scale * total / jnp.maximum(jnp.arange(prompts.positions), 1)[:, None])


def kernel_ridge(task: Task, prompts: Prompts, bandwidth: Array | float, penalty: Array | float) -> Predictions:
    """ŷ_i = k_iᵀ(K + λI)⁻¹y with the RBF kernel exp(−|x − x'|²/2h²), over the examples before i."""
    outcomes = task.outcomes
    kernel = jnp.exp(-squared_distances(task.features(prompts.x)) / (2 * bandwidth**2))
    centred = outcomes.targets(prompts.y) - outcomes.neutral
    return outcomes.from_mean(outcomes.neutral + sequential_means(kernel, penalty, centred)[0])


def linear_kernel_ridge(task: Task, prompts: Prompts, penalty: Array | float) -> Predictions:
    """ŷ_i = k_iᵀ(K + λI)⁻¹y with the linear kernel, solved at every prefix: the same function as ridge(λ)."""
    outcomes = task.outcomes
    kernel = inner_products(task.features(prompts.x))
    positions = prompts.positions
    seen = jnp.tril(jnp.ones((positions, positions), kernel.dtype), -1)
    system = kernel[:, None] * seen[None, :, :, None] * seen[None, :, None, :] + penalty * jnp.eye(positions)
    labels = (outcomes.targets(prompts.y) - outcomes.neutral)[:, None] * seen[..., None]
    dual = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(system), True), labels)
    answer = jnp.einsum("bpit,bpi->bpt", dual * seen[..., None], kernel, precision="highest")
    return outcomes.from_mean(outcomes.neutral + answer)
