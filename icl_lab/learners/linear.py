"""Linear least squares at every prefix of a prompt."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.prompts import Point, Prompts
from icl_lab.tasks import Task
from icl_lab.tasks.sequential import sequential_regression, sum_before


def prefix_sums(phi: Float[Array, "batch position feature"], y: Float[Array, "batch position"]) -> tuple[Array, Array]:
    """XᵀX [batch, position, feature, feature] and Xᵀy [batch, position, feature] of the examples before each one."""
    return sum_before(phi[..., :, None] * phi[..., None, :], axis=1), sum_before(phi * y[..., None], axis=1)


def ridge(task: Task, prompts: Prompts, penalty: Array | float) -> Point:
    """ŷ_i = x_iᵀ(XᵀX + λI)⁻¹Xᵀy over the examples before i, for all i from one Cholesky factor in dual form.

    Args:
        penalty: λ ≥ 0; σ²/τ² gives the Gaussian-prior posterior mean. At λ = 0 use `least_squares`.
    """
    phi = task.features(prompts.x)
    kernel = jnp.einsum("bif,bjf->bij", phi, phi, precision="highest")
    return Point(sequential_regression(kernel, penalty, prompts.y).mean)


def least_squares(task: Task, prompts: Prompts) -> Point:
    """Least squares over the examples before each position, of minimum norm while they are fewer than features.

    ŷ_i = x_i·X⁺y by a singular value decomposition per prefix: slower than `ridge`, exact in the limit λ → 0.
    """
    phi = task.features(prompts.x)
    positions = phi.shape[1]
    seen = jnp.tril(jnp.ones((positions, positions), phi.dtype), -1)
    prefix = phi[:, None] * seen[None, :, :, None]
    weights = jnp.einsum("bpfi,bi->bpf", jnp.linalg.pinv(prefix), prompts.y, precision="highest")
    return Point((weights * phi).sum(-1))
