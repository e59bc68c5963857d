"""Linear least squares at every prefix of a prompt."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sequential_means, sum_before


def prefix_sums(
    phi: Float[Array, "batch position feature"], targets: Float[Array, "batch position target"]
) -> tuple[Array, Array]:
    """XᵀX [batch, position, feature, feature] and XᵀT [batch, position, feature, target] of the examples before."""
    return (
        sum_before(phi[..., :, None] * phi[..., None, :], axis=1),
        sum_before(phi[..., :, None] * targets[..., None, :], axis=1),
    )


def prefix_means(phi: Array, targets: Array) -> tuple[Array, Array]:
    """`prefix_sums` over the number of examples before each position; zero before the first."""
    count = jnp.maximum(jnp.arange(phi.shape[1]), 1)[:, None, None]
    gram, moment = prefix_sums(phi, targets)
    return gram / count, moment / count


def apply_weights(
    phi: Float[Array, "batch position feature"], weights: Float[Array, "batch position feature target"]
) -> Float[Array, "batch position target"]:
    """x_iᵀW_i at every position."""
    return jnp.einsum("bpf,bpft->bpt", phi, weights, precision="highest")


def ridge(task: Task, prompts: Prompts, penalty: Array | float) -> Predictions:
    """ŷ_i = x_iᵀ(XᵀX + λI)⁻¹Xᵀy over the examples before i, for all i from one Cholesky factor in dual form.

    Classes are regressed on as one-hot vectors around 1/K. On one-hot features that is exactly (C + λ/K)/(n + λ), the
    Dirichlet(λ/K) posterior predictive from counts C.

    Args:
        penalty: λ ≥ 0; σ²/τ² gives the Gaussian-prior posterior mean. At λ = 0 use `least_squares`.
    """
    phi, outcomes = task.features(prompts.x), task.outcomes
    kernel = jnp.einsum("bif,bjf->bij", phi, phi, precision="highest")
    centred = outcomes.targets(prompts.y) - outcomes.neutral
    return outcomes.from_mean(outcomes.neutral + sequential_means(kernel, penalty, centred)[0])


def least_squares(task: Task, prompts: Prompts) -> Predictions:
    """Least squares over the examples before each position, of minimum norm while they are fewer than features.

    ŷ_i = x_i·X⁺y by a singular value decomposition per prefix: slower than `ridge`, exact in the limit λ → 0.
    """
    phi, outcomes = task.features(prompts.x), task.outcomes
    positions = phi.shape[1]
    seen = jnp.tril(jnp.ones((positions, positions), phi.dtype), -1)
    prefix = phi[:, None] * seen[None, :, :, None]
    centred = outcomes.targets(prompts.y) - outcomes.neutral
    weights = jnp.einsum("bpfi,bit->bpft", jnp.linalg.pinv(prefix), centred, precision="highest")
    return outcomes.from_mean(outcomes.neutral + apply_weights(phi, weights))
