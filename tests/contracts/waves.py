"""A task as a user writes it: three functions, nothing else. It is enrolled in every contract of tasks."""

from typing import Any

import jax
import jax.numpy as jnp

from icl_lab.core.prompts import Gaussian
from icl_lab.tasks import Task, task_dataclass


@task_dataclass
class Waves(Task):
    """y_i = a sin(b x_i + c) + σε_i, x ~ U(−3, 3). Example with σ = 0, a = 2, b = 1, c = 0: x_0 = π/2 → y_0 = 2."""

    noise: float = 0.3

    def draw_latent(self, key: jax.Array) -> dict[str, jax.Array]:
        amplitude, frequency, phase = jax.random.uniform(key, (3,))
        return {"amplitude": 0.5 + amplitude, "frequency": 0.5 + 2 * frequency, "phase": 2 * jnp.pi * phase}

    def draw_inputs(self, key: jax.Array, latent: Any) -> jax.Array:
        return jax.random.uniform(key, (self.positions, 1), minval=-3.0, maxval=3.0)

    def outcome(self, latent: dict[str, jax.Array], x: jax.Array) -> Gaussian:
        mean = latent["amplitude"] * jnp.sin(latent["frequency"] * x[:, 0] + latent["phase"])
        return Gaussian(mean, jnp.square(self.noise) * jnp.ones_like(mean))
