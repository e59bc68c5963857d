"""Exact learners against computations that share nothing with them."""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.claims import Claim
from icl_lab.core.compiling import exact
from icl_lab.learners import bayes, linear
from icl_lab.tasks import LinearRegression, Pool, pool
from icl_lab.verify import check, literal


def population() -> list[Claim]:
    """The population's closed form against the normal equations of every prefix, and against a grid over the weight."""
    mean, scale = np.array([0.5, -1.0, 0.0, 2.0, 0.3]), np.array([1.0, 0.5, 2.0, 1.5, 1.0])
    task = LinearRegression(
        dimension=5, examples=12, noise=0.5, weight_mean=jnp.float32(mean), weight_scale=jnp.float32(scale)
    )
    prompts = check.draw(task, 32)
    found = exact(bayes.population_bayes)(task, prompts)
    expected = check.over_prefixes(prompts, lambda x, y, q, _: literal.gaussian_posterior(x, y, q, 0.5, mean, scale))
    plain = LinearRegression(dimension=5, examples=12, noise=0.5)
    ridge = check.answers(linear.ridge, plain, prompts, jnp.float32(0.7))
    one = LinearRegression(dimension=1, examples=6, noise=0.5)
    few = check.draw(one, 16)
    single = exact(bayes.population_bayes)(one, few)
    grid = check.over_prefixes(few, lambda x, y, q, o: literal.quadrature_posterior(x[:, 0], y, q[0], o, 0.5))
    return [
        check.same(
            "bayes.mean",
            "population Bayes, mean, and the normal equations",
            "algebra",
            found.mean,
            expected[..., 0],
            1e-4,
        ),
        check.same(
            "bayes.variance",
            "population Bayes, variance, and the normal equations",
            "algebra",
            found.variance,
            expected[..., 1],
            1e-4,
        ),
        check.same(
            "bayes.quadrature",
            "population Bayes and a grid over the weight, d=1",
            "quadrature",
            single.mean,
            grid[..., 0],
            1e-4,
        ),
        check.same(
            "bayes.log_density",
            "its log density and the grid's",
            "quadrature",
            single.log_prob(few.y),
            grid[..., 1],
            1e-4,
        ),
        check.same(
            "ridge",
            "ridge(λ) and the normal equations of every prefix",
            "algebra",
            ridge,
            check.over_prefixes(prompts, lambda x, y, q, _: literal.ridge(x, y, q, 0.7)),
            1e-4,
        ),
    ]


def pools() -> list[Claim]:
    """The streamed posterior over a pool (dMMSE) against enumeration, on prompts of the pool and of fresh tasks."""
    size = 150  # no multiple of the chunk
    prior = Pool(size, seed=3)
    task = LinearRegression(dimension=4, examples=8, noise=0.5, prior=prior)
    drawn = [check.draw(task, 16), check.draw(task.fresh(), 16)]
    prompts = jax.tree.map(lambda *parts: jnp.concatenate(parts), *drawn)
    members = np.asarray(jax.vmap(lambda m: task.draw_latent(prior.key(m)))(jnp.arange(size)), float)
    found = exact(lambda task, prompts: pool.pool_posterior(task, prompts))(task, prompts)
    density = exact(lambda found, y: found.predictive.log_prob(y))(found, prompts.y + 0.25)
    expected = check.over_prefixes(prompts, lambda x, y, q, o: literal.pool_posterior(x, y, q, o, 0.5, members))
    aside = check.over_prefixes(prompts, lambda x, y, q, o: literal.pool_posterior(x, y, q, o + 0.25, 0.5, members))
    source = "enumeration"
    return [
        check.same("pool.mean", "dMMSE and enumeration, M=150", source, found.predictive.mean, expected[..., 0], 1e-4),
        check.same(
            "pool.variance", "its variance and enumeration's", source, found.predictive.variance, expected[..., 1], 1e-4
        ),
        check.same(
            "pool.log_predictive",
            "its log predictive and enumeration's",
            source,
            found.log_predictive,
            expected[..., 2],
            1e-4,
        ),
        check.same(
            "pool.log_density", "its log density elsewhere and enumeration's", source, density, aside[..., 2], 1e-4
        ),
        check.number(
            "pool.map",
            "share of positions with enumeration's MAP member",
            source,
            1.0,
            float(np.mean(found.map_index == expected[..., 3])),
            0.0,
        ),
    ]
