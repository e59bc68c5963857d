"""`icl-lab verify`: every check passes, and every check fails when what it checks is spoiled."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab import verify
from icl_lab.core.claims import Claim, failed
from icl_lab.core.errors import InputError
from icl_lab.core.outcomes import Real
from icl_lab.learners import bayes, gradient, kernels, linear
from icl_lab.models import constructions
from icl_lab.tasks import LinearRegression, Pool, pool
from icl_lab.verify import bayes as posteriors
from icl_lab.verify import check, descent, one_layer

GROUPS: dict[str, Callable[[], list[Claim]]] = {
    "von_oswald": one_layer.von_oswald,
    "global_minimum": lambda: one_layer.global_minimum(3, 6, 0.25),
    "population": posteriors.population,
    "pools": posteriors.pools,
    "limits": descent.limits,
    "equivalences": descent.equivalences,
    "recursions": descent.recursions,
}

# What is spoiled: the group that notices, the claims that must fail, where it is, and the spoiled version of it.
Spoiled = Callable[[Any], Callable[..., Any]]
SABOTAGE: list[tuple[str, set[str], Any, str, Spoiled]] = [
    (
        "von_oswald",
        {"A1.rate", "A1.rate_of_the_lab"},
        one_layer,
        "second_moment",
        lambda right: lambda task: (right(task)[0], 1.01 * right(task)[1]),
    ),
    (
        "von_oswald",
        {"A1.rate_of_the_lab"},
        gradient,
        "best_single_step",
        lambda right: lambda task: (1.01 * right(task)[0], right(task)[1]),
    ),
    (
        "von_oswald",
        {"A1.loss", "A1.shifted", "A1.wide", "A2.gd", "A2.gd_plus_plus"},
        constructions,
        "one_step_gd",
        lambda right: lambda d, n, rate, *rest: right(d, n, 1.4 * rate, *rest),
    ),
    (
        "von_oswald",
        {"A2.gd_plus_plus"},
        constructions,
        "one_step_gd",
        lambda right: lambda d, n, rate, steps, gamma: right(d, n, rate, steps, 0.5 * gamma),
    ),
    (
        "von_oswald",
        {"A1.zero", "A1.loss", "A1.shifted", "A1.wide"},
        LinearRegression,
        "draw_inputs",
        lambda right: lambda self, key, latent: 1.1 * right(self, key, latent),
    ),
    (
        "global_minimum",
        {"A3.closed_form.5.20", "A3.closed_form.10.10"},
        one_layer,
        "second_moment",
        lambda right: lambda task: (right(task)[0], 1.01 * right(task)[1]),
    ),
    (
        "global_minimum",
        {"A3.loss.5.20", "A3.loss.10.10", "A3.loss.3.6.0.25", "A3.general_covariance"},
        constructions,
        "one_step_gd",
        lambda right: lambda d, n, rate, *rest: right(d, n, 1.4 * rate, *rest),
    ),
    (
        "global_minimum",
        {"A3.general_covariance"},
        constructions,
        "one_step_gd",
        lambda right: lambda d, n, rate, *rest: right(d, n, jnp.trace(rate) / d * jnp.eye(d), *rest),
    ),
    (
        "population",
        {"bayes.mean", "bayes.variance", "bayes.quadrature", "bayes.log_density"},
        bayes,
        "population_bayes",
        lambda right: lambda task, prompts: right(task.replace(noise=1.01 * task.noise), prompts),
    ),
    (
        "population",
        {"bayes.mean"},
        bayes,
        "population_bayes",
        lambda right: lambda task, prompts: right(task.replace(weight_mean=0.99 * task.weight_mean), prompts),
    ),
    (
        "population",
        {"ridge"},
        linear,
        "ridge",
        lambda right: lambda task, prompts, penalty: right(task, prompts, 1.01 * penalty),
    ),
    (
        "pools",
        {"pool.mean", "pool.variance", "pool.log_predictive", "pool.log_density"},
        pool,
        "pool_posterior",
        lambda right: lambda task, prompts: right(task.replace(noise=1.01 * task.noise), prompts),
    ),
    (
        "pools",
        {"pool.mean", "pool.variance", "pool.log_predictive", "pool.log_density", "pool.map"},
        pool,
        "pool_posterior",
        lambda right: lambda task, prompts: right(task.replace(prior=Pool(128, task.prior.seed)), prompts),
    ),
    (
        "limits",
        {"gd.limit"},
        gradient,
        "gradient_descent",
        lambda right: lambda task, prompts, steps, rate, *rest: right(task, prompts, steps // 10, rate, *rest),
    ),
    (
        "limits",
        {"least_squares"},
        linear,
        "least_squares",
        lambda right: lambda task, prompts: linear.ridge(task, prompts, 0.01),
    ),
    (
        "limits",
        {"newton"},
        gradient,
        "newton_schulz",
        lambda right: lambda task, prompts, steps, start: right(task, prompts, steps, 1.01 * start),
    ),
    (
        "equivalences",
        {"linear_kernel"},
        kernels,
        "linear_kernel",
        lambda right: lambda task, prompts, scale: right(task, prompts, 1.001 * scale),
    ),
    (
        "equivalences",
        {"kernel_ridge"},
        kernels,
        "linear_kernel_ridge",
        lambda right: lambda task, prompts, penalty: right(task, prompts, 1.01 * penalty),
    ),
    (
        "recursions",
        {"gd.steps", "gd_plus_plus"},
        gradient,
        "_full",
        lambda right: lambda *given: gradient._causal(Real(), *given),
    ),
    (
        "recursions",
        {"causal_gd", "causal_gd_plus_plus"},
        gradient,
        "_causal",
        lambda right: lambda outcomes, *given: gradient._full(*given),
    ),
    (
        "recursions",
        {"causal_gd"},
        gradient,
        "gradient_descent",
        lambda right: lambda task, prompts, steps, rate, causal: right(task, prompts, steps, 1.001 * rate, causal),
    ),
    (
        "recursions",
        {"gd_plus_plus", "causal_gd_plus_plus", "gd_plus_plus.transformer"},
        gradient,
        "gradient_descent_plus_plus",
        lambda right: (
            lambda task, prompts, steps, rate, curvature, causal=False: right(
                task, prompts, steps, rate, 1.01 * curvature, causal
            )
        ),
    ),
    (
        "recursions",
        {"gd_plus_plus.transformer"},
        constructions,
        "one_step_gd",
        lambda right: lambda d, n, rate, steps, gamma: right(d, n, rate, steps, 1.01 * gamma),
    ),
]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer prompts: the tolerance of a Monte Carlo mean grows to four standard errors by itself."""
    monkeypatch.setattr(check, "PROMPTS", 1 << 15)


@pytest.mark.parametrize("group", GROUPS)
def test_every_check_passes_and_can_fail(group):
    found = GROUPS[group]()
    assert failed(found) == []
    assert all(claim.statement and claim.source and claim.gate == "exact" for claim in found)
    ids = [claim.id for claim in found]
    assert len(set(ids)) == len(ids)
    assert set(ids) == set().union(*(spoiled for name, spoiled, *_ in SABOTAGE if name == group))


@pytest.mark.parametrize(
    ("group", "ids", "where", "name", "spoiled"), SABOTAGE, ids=[f"{s[0]}-{s[3]}-{min(s[1])}" for s in SABOTAGE]
)
def test_a_check_fails_when_what_it_checks_is_spoiled(group, ids, where, name, spoiled, monkeypatch):
    monkeypatch.setattr(where, name, spoiled(getattr(where, name)))
    check._moments.clear_cache()
    found = GROUPS[group]()
    check._moments.clear_cache()
    assert {claim.id for claim in failed(found)} >= ids


def test_a_nan_fails():
    good = np.ones(3)
    assert not check.same("id", "s", "s", np.array([1.0, np.nan, 1.0]), good, 1.0).holds
    assert not check.number("id", "s", "s", 1.0, float("nan"), 1.0).holds


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (10_000, 5)])
def test_sizes_that_cannot_be_done_are_refused(sizes):
    with pytest.raises(InputError, match="should be between"):
        verify.run(*sizes)


@pytest.mark.slow
@pytest.mark.parametrize("setting", [(5, 20, 0.0), (2, 50, 1.0), (20, 10, 0.1)])
def test_the_whole_command_passes(setting, monkeypatch):
    monkeypatch.setattr(check, "PROMPTS", 1 << 19)
    found = verify.run(*setting)
    assert failed(found) == []
    assert len({claim.id for claim in found}) == len(found)
