"""The streamed pool posterior against brute force: sizes, evidence in inputs, categorical outcomes, no noise."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from icl_lab.core.prompts import Categorical, Gaussian, Mixture, Prompts
from icl_lab.tasks import LinearRegression, Pool, Population, Task, pool_posterior, task_dataclass
from icl_lab.tasks.pool import CHUNK

posterior = jax.jit(pool_posterior)


@task_dataclass
class Clusters(Task):
    """Inputs near a centre μ that is the latent, outcomes N(sign·x, σ²): x_i is evidence about the latent."""

    noise: float = 0.7

    def draw_latent(self, key: jax.Array) -> dict[str, jax.Array]:
        centre_key, sign_key = jax.random.split(key)
        return {"centre": 2 * jax.random.normal(centre_key), "sign": jax.random.rademacher(sign_key, (), float)}

    def draw_inputs(self, key: jax.Array, latent: Any) -> jax.Array:
        return latent["centre"] + jax.random.normal(key, (self.positions, 1))

    def outcome(self, latent: Any, x: jax.Array) -> Gaussian:
        mean = latent["sign"] * x[:, 0]
        return Gaussian(mean, jnp.square(self.noise) * jnp.ones_like(mean))

    def input_log_prob(self, latent: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return Gaussian(latent["centre"] * jnp.ones(len(x)), jnp.ones(len(x))).log_prob(x[:, 0])


@task_dataclass
class Sides(Clusters):
    """Inputs on one side of zero only, 0 or −∞ nats each: whole chunks of the pool can be impossible."""

    def draw_inputs(self, key: jax.Array, latent: Any) -> jax.Array:
        size = jax.random.uniform(key, (self.positions, 1), minval=0.1)
        return jnp.sign(latent["centre"]) * size

    def input_log_prob(self, latent: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(jnp.sign(x[:, 0]) == jnp.sign(latent["centre"]), 0.0, -jnp.inf)


@task_dataclass
class Dice(Task):
    """Outcomes from a die of four faces whose weights are the latent; inputs say nothing."""

    def draw_latent(self, key: jax.Array) -> jax.Array:
        return 2 * jax.random.normal(key, (4,))

    def draw_inputs(self, key: jax.Array, latent: Any) -> jax.Array:
        return jax.random.normal(key, (self.positions, 1))

    def outcome(self, latent: Any, x: jax.Array) -> Categorical:
        return Categorical(jnp.broadcast_to(jax.nn.log_softmax(latent), (len(x), 4)))


@jax.jit
def draw(task: Task) -> Prompts:
    return task.sample(jax.random.key(0), 64)


def sample(task: Task, batch: int) -> Prompts:
    """The first of 64 prompts: one size, so that few programs are compiled."""
    return jax.tree.map(lambda leaf: leaf[:batch], draw(task))


def enumerate_pool(task: Task, prompts: Prompts, inputs: bool = True) -> dict[str, np.ndarray]:
    """Everything from the list of members, in float64; `inputs` may be left out of the evidence."""
    assert isinstance(task.prior, Pool)
    members = jax.vmap(lambda m: task.draw_latent(task.prior.key(m)))(jnp.arange(task.prior.size))

    def under(latent: Any) -> tuple[Any, jax.Array, jax.Array]:
        outcome = jax.vmap(lambda x: task.outcome(latent, x))(prompts.x)
        of_inputs = jax.vmap(lambda x, y: task.input_log_prob(latent, x, y))(prompts.x, prompts.y)
        return outcome, outcome.log_prob(prompts.y), of_inputs if inputs else jnp.zeros_like(of_inputs)

    outcome, of_y, of_x = jax.vmap(under)(members)
    of_y, of_x = np.asarray(of_y, float), np.asarray(of_x, float)
    log_weight = np.cumsum(of_x, -1) + np.concatenate([np.zeros_like(of_y[..., :1]), np.cumsum(of_y, -1)[..., :-1]], -1)
    total = logsumexp(log_weight, axis=0)
    weight = np.exp(log_weight - total)
    found = {
        "weight": weight,
        "log_predictive": logsumexp(log_weight + of_y, axis=0) - total,
        "log_evidence": total - np.log(len(of_y)),
        "map": log_weight.argmax(0),
    }
    if isinstance(outcome, Gaussian):
        mean = np.asarray(outcome.mean, float)
        found["mean"] = (weight * mean).sum(0)
        found["variance"] = (weight * (np.asarray(outcome.variance) + (mean - found["mean"]) ** 2)).sum(0)
        found["map_mean"] = np.take_along_axis(mean, found["map"][None], 0)[0]
    else:
        found["probability"] = (weight[..., None] * np.exp(np.asarray(outcome.log_probs, float))).sum(0)
    return found


@pytest.mark.parametrize("size", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_any_size_against_enumeration(size):
    task = LinearRegression(dimension=2, examples=6, noise=0.4, prior=Pool(size, seed=5))
    prompts = jax.tree.map(lambda *parts: jnp.concatenate(parts), sample(task, 16), sample(task.fresh(), 16))
    found, exact = posterior(task, prompts), enumerate_pool(task, prompts)
    np.testing.assert_allclose(found.predictive.mean, exact["mean"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.predictive.variance, exact["variance"], rtol=1e-4)
    np.testing.assert_allclose(found.log_predictive, exact["log_predictive"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_evidence, exact["log_evidence"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.map_index, exact["map"])
    np.testing.assert_allclose(found.map_predictive.mean, exact["map_mean"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.map_predictive.variance, 0.16, rtol=1e-6)


@pytest.mark.parametrize("kind", [Clusters, Sides])
def test_inputs_that_carry_evidence_count_up_to_and_including_the_query(kind):
    task = kind(examples=5, prior=Pool(100, seed=2))
    prompts = sample(task, 32)
    found, exact = posterior(task, prompts), enumerate_pool(task, prompts)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(getattr(found.predictive, name), exact[name], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_predictive, exact["log_predictive"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.log_evidence, exact["log_evidence"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.map_index, exact["map"])
    assert np.abs(found.predictive.mean - enumerate_pool(task, prompts, inputs=False)["mean"]).max() > 0.02


def test_categorical_outcomes_mix_into_a_categorical():
    task = Dice(examples=6, prior=Pool(70, seed=1))
    prompts = sample(task, 16)
    found, exact = posterior(task, prompts), enumerate_pool(task, prompts)
    assert isinstance(found.predictive, Categorical)
    np.testing.assert_allclose(np.exp(found.predictive.log_probs), exact["probability"], rtol=1e-4)
    np.testing.assert_allclose(found.log_predictive, exact["log_predictive"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.predictive.log_prob(prompts.y), exact["log_predictive"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.map_index, exact["map"])


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-2])
def test_little_noise_and_none(noise):
    """With no noise one example tells pool members apart; float32 keeps the variance exact down to σ = 1e-4."""
    task = LinearRegression(dimension=2, examples=6, noise=noise, prior=Pool(100, seed=4))
    prompts = sample(task, 32)
    found = posterior(task, prompts)
    error = np.asarray(found.predictive.mean - prompts.y)
    assert np.abs(error[:, 0]).max() > 0.1
    np.testing.assert_allclose(error[:, 4:], 0, atol=max(6 * noise, 1e-5))
    assert np.isfinite(found.log_predictive).all()
    np.testing.assert_allclose(found.predictive.variance[:, 4:], noise**2, rtol=0.01, atol=1e-12)
    np.testing.assert_allclose(found.map_predictive.variance, noise**2, rtol=1e-5)
    members = np.asarray(jax.vmap(lambda m: task.draw_latent(task.prior.key(m)))(jnp.arange(100)))
    np.testing.assert_allclose(members[found.map_index[:, -1]], prompts.latent, rtol=1e-6)
    fresh = sample(task.fresh(), 32)
    assert np.isfinite(posterior(task, fresh).predictive.mean).all()


def test_variance_survives_large_means():
    """E[y²] − E[y]² would have lost it: means of a thousand, variances of a hundredth."""
    task = LinearRegression(dimension=2, examples=6, noise=0.1, weight_mean=1000.0, prior=Pool(65))
    prompts = sample(task, 32)
    found = posterior(task, prompts)
    np.testing.assert_allclose(found.predictive.variance, enumerate_pool(task, prompts)["variance"], rtol=0.05)
    assert (found.predictive.variance >= 0.0099).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_scales_of_inputs_do_not_matter(scale):
    task = LinearRegression(dimension=2, examples=6, noise=0.3, prior=Pool(50))
    prompts = sample(task, 32)
    base = posterior(task, prompts)
    units = task.replace(noise=0.3 * scale)
    scaled = posterior(units, prompts.replace(x=scale * prompts.x, y=scale * prompts.y))
    np.testing.assert_allclose(scaled.predictive.mean / scale, base.predictive.mean, rtol=1e-3, atol=1e-3)


def test_the_mixture_is_a_density_with_the_moments_it_states():
    task = LinearRegression(dimension=2, examples=6, noise=0.3, prior=Pool(70))
    prompts = sample(task, 32)
    predictive = posterior(task, prompts).predictive
    assert isinstance(predictive, Mixture)
    grid = jnp.linspace(-12, 12, 4001)
    density = jax.jit(jax.vmap(lambda y: jnp.exp(predictive.log_prob(y * jnp.ones_like(prompts.y)))))(grid)
    step = float(grid[1] - grid[0])
    np.testing.assert_allclose(density.sum(0) * step, 1, rtol=1e-3)
    mean = (density * grid[:, None, None]).sum(0) * step
    np.testing.assert_allclose(mean, predictive.mean, atol=2e-3)
    second = (density * (grid[:, None, None] - mean) ** 2).sum(0) * step
    np.testing.assert_allclose(second, predictive.variance, rtol=1e-2)


def test_samples_of_the_mixture_follow_its_density():
    task = LinearRegression(dimension=2, examples=6, noise=0.3, prior=Pool(70))
    prompts = sample(task, 32)
    predictive = posterior(task, prompts).predictive
    draws = np.asarray(jax.jit(jax.vmap(predictive.sample))(jax.random.split(jax.random.key(1), 1000)))
    error = np.sqrt(np.asarray(predictive.variance) / 1000)
    assert (np.abs(draws.mean(0) - predictive.mean) < 5 * error).all()
    np.testing.assert_allclose(draws.var(0), predictive.variance, rtol=0.3)
    # Beyond moments: the share of draws below a point is the integral of the density up to it.
    grid = jnp.linspace(-12, 0.5, 1501)
    density = jax.jit(jax.vmap(lambda y: jnp.exp(predictive.log_prob(y * jnp.ones_like(prompts.y)))))(grid)
    below = np.asarray(density).sum(0) * float(grid[1] - grid[0])
    np.testing.assert_allclose((draws < 0.5).mean(0), below, atol=0.07)


def test_ties_go_to_the_lowest_member():
    task = LinearRegression(dimension=2, examples=6, prior=Pool(100))
    found = posterior(task, sample(task, 32))
    np.testing.assert_array_equal(found.map_index[:, 0], 0)


def test_a_population_has_no_members():
    task = LinearRegression(dimension=2, examples=6)
    assert isinstance(task.prior, Population)
    with pytest.raises(TypeError, match="no members"):
        pool_posterior(task, sample(task, 2))


def test_a_large_pool_is_nearly_the_population():
    task = LinearRegression(dimension=2, examples=6, noise=0.5, prior=Pool(1 << 14))
    prompts = sample(task.fresh(), 32)
    streamed, closed = posterior(task, prompts).predictive, task.population_predictive(prompts)
    np.testing.assert_allclose(streamed.mean, closed.mean, atol=0.2)
    np.testing.assert_allclose(streamed.variance, closed.variance, rtol=0.25)


@pytest.mark.slow
def test_a_million_members_in_bounded_memory():
    """M = 2^20: whatever the pool, a process of its own grows by less than 100 MB over M = 2^6."""
    program = """
import resource, jax
from icl_lab.tasks import LinearRegression, Pool, pool_posterior
task = LinearRegression(dimension=4, examples=8, prior=Pool(64))
prompts = jax.jit(lambda task: task.sample(jax.random.key(0), 4))(task)
run = jax.jit(lambda task, prompts: pool_posterior(task, prompts).predictive.mean)
run(task, prompts).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mean = run(task.replace(prior=Pool(2**20)), prompts)
assert bool(jax.numpy.isfinite(mean).all())
closed = task.population_predictive(prompts).mean
assert float(abs(mean - closed).max()) < 0.2, float(abs(mean - closed).max())
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100
