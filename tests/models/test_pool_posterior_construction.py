"""A pool posterior in hand-set weights: answers and attention against enumeration, and what a patch does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models import capture, patch
from icl_lab.models.constructions import pool_posterior, pool_retrieval

MEMBERS, DIMENSION, EXAMPLES, NOISE = 4, 2, 6, 0.5
RANDOM = np.random.default_rng(0)
POOL = RANDOM.normal(size=(MEMBERS, DIMENSION))
TOKENS = RANDOM.normal(size=(24, EXAMPLES + 1, DIMENSION + 1))
# Half of the prompts are from the pool, half from tasks that it does not hold.
WEIGHTS = np.concatenate([POOL[RANDOM.integers(MEMBERS, size=12)], RANDOM.normal(size=(12, DIMENSION))])
TOKENS[..., -1] = np.einsum("bid,bd->bi", TOKENS[..., :-1], WEIGHTS) + NOISE * TOKENS[..., -1]
TOKENS[:, -1, -1] = 0
TOKENS = TOKENS.astype(np.float32)
SITES = ["1.pattern", "2.pattern", "2.z"]


def posterior(exponent: float = 1.0) -> np.ndarray:
    """Weights of the members given the examples, [prompt, member]."""
    rows = []
    for prompt in TOKENS.astype(float):
        residual = prompt[:-1, -1] - POOL @ prompt[:-1, :-1].T
        log_weight = -exponent * (residual**2).sum(-1) / (2 * NOISE**2)
        weight = np.exp(log_weight - log_weight.max())
        rows.append(weight / weight.sum())
    return np.array(rows)


@functools.cache
def program(model):
    return jax.jit(lambda p, t: capture(model, p, t, SITES))


@pytest.mark.parametrize("exponent", [1.0, 0.3])
def test_the_last_head_attends_with_the_posterior_and_reads_its_mean(exponent: float) -> None:
    model, params = pool_posterior(POOL, EXAMPLES, NOISE, exponent)
    answers, sites = program(model)(params, TOKENS)
    expected = posterior(exponent)
    np.testing.assert_allclose(sites["1.pattern"][:, 0, -1], [[1 / EXAMPLES] * EXAMPLES + [0]] * len(TOKENS), atol=1e-6)
    np.testing.assert_allclose(sites["2.pattern"][:, 0, -1, :MEMBERS], expected, atol=5e-5)
    np.testing.assert_allclose(sites["2.pattern"][:, 0, -1, MEMBERS:], 0, atol=1e-6)
    np.testing.assert_allclose(sites["2.z"][:, 0, -1, :DIMENSION], expected @ POOL, atol=1e-4)
    wanted = ((expected @ POOL) * TOKENS[:, -1, :-1]).sum(-1)
    np.testing.assert_allclose(answers[:, -1, 0], wanted, atol=1e-4 * np.sqrt(np.mean(wanted**2)))
    assert expected.max(-1).min() < 0.9  # some posteriors are undecided


def test_retrieval_attends_to_the_most_probable_member_alone() -> None:
    model, params = pool_retrieval(POOL, EXAMPLES, NOISE)
    answers, sites = program(model)(params, TOKENS)
    best = posterior().argmax(-1)
    np.testing.assert_allclose(sites["2.pattern"][:, 0, -1, :MEMBERS], np.eye(MEMBERS)[best], atol=1e-6)
    np.testing.assert_allclose(answers[:, -1, 0], (POOL[best] * TOKENS[:, -1, :-1]).sum(-1), atol=1e-4)


def test_attention_put_on_a_member_answers_with_that_member() -> None:
    """The mechanism is causal: the examples matter through this pattern only."""
    model, params = pool_posterior(POOL, EXAMPLES, NOISE)
    chosen = np.arange(len(TOKENS)) % MEMBERS
    put = jnp.eye(EXAMPLES + 1)[chosen][:, None, None]
    answers = jax.jit(lambda p, t: patch(model, p, t, {"2.pattern": put}))(params, TOKENS)[:, -1, 0]
    np.testing.assert_allclose(answers, (POOL[chosen] * TOKENS[:, -1, :-1]).sum(-1), atol=1e-4)


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pool: 4 members need as many examples"):
        pool_posterior(POOL, 3, NOISE)
    with pytest.raises(ValueError, match=r"noise: 0.0 must be above 0"):
        pool_posterior(POOL, EXAMPLES, 0.0)
