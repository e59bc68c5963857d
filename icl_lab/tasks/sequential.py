"""Sums, counts and Gaussian-process regression at every prefix of a prompt."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Gaussian

TINY = 1e-20  # so that an input of zero length has a factor too


def sum_before(values: Array, axis: int = -1) -> Array:
    """Σ_{j<i} values_j along an axis, the first entry exactly zero (a cumulative sum minus the value is not)."""
    zero = jnp.zeros_like(jax.lax.slice_in_dim(values, 0, 1, axis=axis))
    return jnp.concatenate([zero, jnp.cumsum(jax.lax.slice_in_dim(values, 0, -1, axis=axis), axis=axis)], axis=axis)


def count_predictive(
    context: Float[Array, "batch position context"],
    targets: Float[Array, "batch position target"],
    counts: Float[Array, "batch position example"],
    concentration: Array | float,
) -> Categorical:
    """p(y_i = c) ∝ α + Σ_{j<i} c_ij [context j = context i, y_j = c]: the predictive of Dirichlet(α) rows.

    Args:
        context: one-hot, or zero: such examples count for none, and such an answer is uniform.
        targets: one-hot outcomes.
        counts: c_ij, how often example j counts at position i; entries of j ≥ i are ignored.
        concentration: α.
    """
    with jax.default_matmul_precision("highest"):
        same = jnp.tril(counts, -1) * jnp.einsum("bif,bjf->bij", context, context)
        followed = same @ targets + concentration
    return Categorical(jnp.log(followed) - jnp.log(followed.sum(-1, keepdims=True)))


def sequential_regression(
    kernel: Float[Array, "*batch position position"],
    noise: Float[Array, "*#batch"] | float,
    y: Float[Array, "*batch position"],
) -> Gaussian:
    """Predictive of y_i from y_0..y_{i-1}, for every i at once, see `sequential_means`. Its variance includes λ."""
    mean, variance = sequential_means(kernel, noise, y[..., None])
    return Gaussian(mean[..., 0], variance)


def sequential_means(
    kernel: Float[Array, "*batch position position"],
    noise: Float[Array, "*#batch"] | float,
    targets: Float[Array, "*batch position target"],
) -> tuple[Float[Array, "*batch position target"], Float[Array, "*batch position"]]:
    """Means of targets t_i given t_0..t_{i-1}, and their common variance, for every i at once.

    With K + λI = L Lᵀ and innovations z = L⁻¹t:   t_i | t_<i ~ N(Σ_{j<i} L_ij z_j, L_ii²).
    L_ii² includes the noise λ. One Cholesky of the whole prompt replaces one solve per prefix.

    Args:
        kernel: k(x_i, x_j).
        noise: variance λ added to the diagonal. A floor of 50 machine epsilons of the mean diagonal so far (not of the
            whole: it must not see later inputs) keeps λ = 0 factorisable, so λ → 0 is reached to about 1e-5 in float32
            where the kernel is well conditioned.
        targets: outcomes as vectors.
    """
    positions = targets.shape[-2]
    diagonal = jnp.diagonal(kernel, axis1=-2, axis2=-1)
    scale = jnp.cumsum(diagonal, -1) / jnp.arange(1, positions + 1)
    floor = jnp.maximum(jnp.asarray(noise)[..., None], 50 * jnp.finfo(targets.dtype).eps * scale + TINY)
    factor = jnp.linalg.cholesky(kernel + floor[..., None] * jnp.eye(positions, dtype=targets.dtype))
    innovation = jax.scipy.linalg.solve_triangular(factor, targets, lower=True)
    mean = jnp.matmul(jnp.tril(factor, -1), innovation, precision="highest")
    return mean, jnp.square(jnp.diagonal(factor, axis1=-2, axis2=-1))
