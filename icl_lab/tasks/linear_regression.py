"""Noisy linear regression with a Gaussian prior over weights, or a finite pool of them."""

import math
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt
from jaxtyping import Array, Float

from icl_lab.core.prompts import Gaussian, Predictions, Prompts
from icl_lab.tasks.base import Population, Task, static, task_dataclass
from icl_lab.tasks.sequential import sequential_regression


@task_dataclass
class LinearRegression(Task):
    """y_i = w·x_i + σ ε_i, ε_i ~ N(0, 1), w ~ N(μ, diag(τ²)).

    Example with dimension 2, σ = 0, w = (1, −2):

        x_0 = (1, 0) → y_0 = 1        x_1 = (0, 1) → y_1 = −2        x_2 = (1, 1) → ? (−1)

    Attributes:
        dimension: number of features d.
        inputs: "gaussian" x ~ N(0, Λ), or "uniform" x ~ U(−h, h)^d.
        noise: standard deviation σ of the outcomes around w·x.
        covariance: Λ of Gaussian inputs: a number c (Λ = cI), d variances, or a d×d matrix.
        half_width: h of uniform inputs.
        weight_mean, weight_scale: μ and τ, numbers or d of them.

    Source: Garg et al. 2022; pools after Raventós et al. 2023.
    """

    dimension: Annotated[int, Ge(1)] = static(default=5)
    inputs: Literal["gaussian", "uniform"] = static(default="gaussian")
    noise: Annotated[float, Ge(0)] = 0.5
    covariance: Any = 1.0
    half_width: Annotated[float, Gt(0)] = 0.5
    weight_mean: Any = 0.0
    weight_scale: Any = 1.0

    def draw_latent(self, key: Array) -> Float[Array, " feature"]:
        return self.weight_mean + self.weight_scale * jax.random.normal(key, (self.dimension,))

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        # Drawn flat: on a CPU a long last axis is drawn several times faster.
        shape, count = (self.positions, self.dimension), (self.positions * self.dimension,)
        if self.inputs == "uniform":
            return self.half_width * jax.random.uniform(key, count, minval=-1.0, maxval=1.0).reshape(shape)
        covariance = jnp.asarray(self.covariance)
        standard = jax.random.normal(key, count).reshape(shape)
        if covariance.ndim < 2:
            return standard * jnp.sqrt(covariance)
        return standard @ jnp.linalg.cholesky(covariance).T

    def outcome(self, latent: Array, x: Array) -> Gaussian:
        mean = x @ latent
        return Gaussian(mean, jnp.square(self.noise) * jnp.ones_like(mean))

    def why_not(self) -> str:
        d = self.dimension
        for name, matrix in (("covariance", True), ("weight_mean", False), ("weight_scale", False)):
            shape = np.shape(getattr(self, name))
            if shape not in ((), (d,)) and not (matrix and shape == (d, d)):
                right = f"a number or {d} of them" + (f", or a {d}×{d} matrix" if matrix else "")
                return f"{name}: shape {shape} does not fit dimension {d}; give {right}"
        covariance = np.asarray(self.covariance, float)
        values = np.linalg.eigvalsh(covariance) if covariance.ndim == 2 else covariance
        symmetric = covariance.ndim < 2 or np.array_equal(covariance, covariance.T)
        if symmetric and np.all(np.isfinite(covariance)) and np.all(values > 0):
            return ""
        return f"covariance: {covariance.tolist()} is none; give variances above 0, or a positive definite matrix"

    def input_covariance(self) -> Float[Array, "feature feature"]:
        """Λ = E[x xᵀ] of the training inputs."""
        if self.inputs == "uniform":
            return jnp.eye(self.dimension) * jnp.square(self.half_width) / 3
        covariance = jnp.asarray(self.covariance, jnp.result_type(float))
        return covariance if covariance.ndim == 2 else covariance * jnp.eye(self.dimension)

    def population_predictive(self, prompts: Prompts) -> Gaussian:
        """The Gaussian-prior posterior predictive, which is ridge regression around μ with penalty σ²/τ².

        It is the Gaussian process with kernel k(x, x') = xᵀ diag(τ²) x', see `sequential_regression`.
        """
        scaled = prompts.x * self.weight_scale
        prior_mean = prompts.x @ (self.weight_mean * jnp.ones(self.dimension))
        kernel = jnp.einsum("bif,bjf->bij", scaled, scaled, precision="highest")
        centred = sequential_regression(kernel, jnp.square(self.noise), prompts.y - prior_mean)
        return Gaussian(prior_mean + centred.mean, centred.variance)

    @property
    def ridge_penalty(self) -> Array:
        """σ²/τ², around zero."""
        return jnp.square(self.noise / jnp.asarray(self.weight_scale))

    def noisier(self, strength: float) -> "LinearRegression":
        return self.replace(noise=self.noise * math.sqrt(1 + (4 * strength) ** 2))

    def rescaled(self, scale: float) -> "LinearRegression":
        """Weights `scale` times as far from their mean."""
        return self.replace(weight_scale=scale * jnp.asarray(self.weight_scale))

    def weighted_predictive(self, prompts: Prompts, counts: Float[Array, "batch position example"]) -> Predictions:
        """Under the Gaussian prior ridge regression with example weights, one solve in d dimensions per position.

        Posterior precision diag(τ⁻²) + Σ_j c_ij x_j x_jᵀ/σ²; the noise σ counts as 1e-5 of the prior's standard
        deviation of outcomes at least.
        """
        if not isinstance(self.prior, Population):
            found = super().weighted_predictive(prompts, counts)
            assert found is not None
            return found
        z = prompts.x * self.weight_scale
        centre = prompts.x @ (self.weight_mean * jnp.ones(self.dimension))
        noise = jnp.maximum(jnp.square(self.noise), 1e-10 * jnp.square(z).sum(-1).mean())
        with jax.default_matmul_precision("highest"):
            weight = jnp.tril(counts, -1) / noise
            outer = (z[..., :, None] * z[..., None, :]).reshape(*z.shape[:-1], -1)
            precision = (weight @ outer).reshape(*z.shape, z.shape[-1]) + jnp.eye(self.dimension)
            moment = weight @ (z * (prompts.y - centre)[..., None])
            factor = jnp.linalg.cholesky(precision)
            whiten = jax.vmap(jax.vmap(lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True)))
            left, right = whiten(factor, moment), whiten(factor, z)
        return Gaussian(centre + (left * right).sum(-1), jnp.square(right).sum(-1) + jnp.square(self.noise))

    def feature_covariance(self) -> Float[Array, "feature feature"]:
        return self.input_covariance()
