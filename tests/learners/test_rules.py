"""Learners of rules against their definitions in pure Python, and elimination against the exact posterior."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import FLOOR, Classes
from icl_lab.core.prompts import Prompts
from icl_lab.learners.rules import gf2_elimination, modular_elimination, ratio_rule, rule_of_thumb
from icl_lab.tasks import BooleanRules
from icl_lab.tasks.modular_rules import ModularRules

PARITY = BooleanRules(bits=4, examples=9, rules="parity", sparsity=None)


def made(modulus, examples=6, noise=0.0, batch=24):
    """A task, prompts drawn by numpy, half of them with numbers of which many are 0, and the numbers in them."""
    rng = np.random.default_rng(modulus)
    n = rng.integers(0, modulus, (batch, examples + 1, 2))
    n[: batch // 2] *= rng.random((batch // 2, examples + 1, 2)) < 0.5
    z = (n * rng.integers(0, modulus, (batch, 1, 2))).sum(-1) % modulus
    z = np.where(rng.random(z.shape) < noise, rng.integers(0, modulus, z.shape), z)
    x = np.eye(modulus, dtype=np.float32)[n].reshape(batch, examples + 1, -1)
    prompts = Prompts(jnp.asarray(x), jnp.asarray(z, jnp.int32), None, scored=jnp.ones(z.shape, bool))
    return ModularRules(modulus=modulus, examples=examples), prompts, n.tolist(), z.tolist()


def probabilities(learner, task, prompts):
    return np.exp(jax.jit(learner)(task, prompts).log_probs)


def expected(modulus, n, z, answer):
    """The shares that follow from answer(numbers, outcomes, query), a class or None."""
    table = np.full((len(z), len(z[0]), modulus), 1 / modulus)
    for b, i in np.ndindex(table.shape[:2]):
        said = answer(n[b][:i], z[b][:i], n[b][i])
        if said is not None:
            table[b, i] = FLOOR
            table[b, i, said] = 1.0
    return table / table.sum(-1, keepdims=True)


@pytest.mark.parametrize(("modulus", "noise"), [(2, 0.0), (3, 0.3), (4, 0.3), (6, 0.0), (7, 0.0), (7, 0.3)])
def test_the_ratio_rule_looks_for_multiples(modulus, noise):
    def answer(numbers, outcomes, query):
        for (first, second), z in zip(reversed(numbers), reversed(outcomes), strict=True):
            for c in range(modulus):
                if [c * first % modulus, c * second % modulus] == query:
                    return c * z % modulus
        return None

    task, prompts, n, z = made(modulus, noise=noise)
    exact = expected(modulus, n, z, answer)
    np.testing.assert_allclose(probabilities(ratio_rule, task, prompts), exact, atol=1e-5)
    assert 0 < (exact.max(-1) > 0.9).mean() < 1


@pytest.mark.parametrize("modulus", [2, 3, 5, 7])
def test_elimination_is_the_exact_posterior_of_the_population(modulus):
    """Once by a list of the rules that agree with the examples, once as the task has it."""
    everything = list(itertools.product(range(modulus), repeat=2))

    def answer(numbers, outcomes, query):
        agreeing = [
            (a, b)
            for a, b in everything
            if all((a * x + b * w) % modulus == z for (x, w), z in zip(numbers, outcomes, strict=True))
        ]
        said = [(a * query[0] + b * query[1]) % modulus for a, b in agreeing]
        counts = {said.count(c) for c in range(modulus)}
        assert counts in ({0, len(said)}, {len(said) // modulus})
        return said[0] if len(set(said)) == 1 else None

    task, prompts, n, z = made(modulus)
    found = probabilities(modular_elimination, task, prompts)
    np.testing.assert_allclose(found, expected(modulus, n, z, answer), atol=1e-5)
    posterior = jax.jit(lambda task, prompts: task.population_predictive(prompts).mean_target())(task, prompts)
    np.testing.assert_allclose(found, np.exp(Classes(modulus).from_mean(posterior).log_probs), atol=1e-5)
    assert 0 < (found.max(-1) > 0.9).mean() < 1


@pytest.mark.parametrize("modulus", [3, 7])
def test_elimination_believes_the_first_examples_that_settle_the_rule(modulus):
    """Contradictions are passed over: of noisy examples those count that are no combination of the ones before."""

    def answer(numbers, outcomes, query):
        span = {(0, 0): 0}
        for (first, second), z in zip(numbers, outcomes, strict=True):
            if (first, second) not in span:
                span = {
                    ((x + c * first) % modulus, (w + c * second) % modulus): (v + c * z) % modulus
                    for (x, w), v in span.items()
                    for c in range(modulus)
                }
        return span.get(tuple(query))

    task, prompts, n, z = made(modulus, noise=0.5)
    found = probabilities(modular_elimination, task, prompts)
    np.testing.assert_allclose(found, expected(modulus, n, z, answer), atol=1e-5)
    wrong = np.take_along_axis(found, np.asarray(z)[..., None], -1)[..., 0] < 0.01
    assert wrong.mean() > 0.1


def test_elimination_needs_a_prime():
    task, prompts, *_ = made(6)
    with pytest.raises(ValueError, match="modulus: 6 is not prime"):
        modular_elimination(task, prompts)


@pytest.mark.parametrize("learner", [ratio_rule, modular_elimination])
def test_later_examples_and_the_outcome_itself_do_not_matter(learner):
    task, prompts, *_ = made(5)
    edited = prompts.replace(x=prompts.x[:, [0, 1, 2, 6, 5, 4, 3]], y=prompts.y.at[:, 2:].set(0))
    first, second = (probabilities(learner, task, each)[:, :3] for each in (prompts, edited))
    np.testing.assert_array_equal(first, second)


@jax.jit
def eliminate(prompts):
    return gf2_elimination(PARITY, prompts).mean_target()[..., 1]


def test_elimination_over_gf2_is_the_exact_posterior_of_dense_parities():
    prompts = jax.jit(lambda key: PARITY.sample(key, 32))(jax.random.key(0))
    bits, y = np.asarray(prompts.x) > 0, np.asarray(prompts.y)
    found = np.asarray(eliminate(prompts))
    certain = 0
    for b, i in itertools.product(*map(range, y.shape)):
        says = [
            bits[b, i][list(subset)].sum() % 2
            for size in range(5)
            for subset in itertools.combinations(range(4), size)
            if all(bits[b, j][list(subset)].sum() % 2 == y[b, j] for j in range(i))
        ]
        assert abs(found[b, i] - np.mean(says)) < 2 * FLOOR
        certain += np.mean(says) in (0, 1)
    assert 0.4 < certain / y.size < 0.9


def test_elimination_over_gf2_passes_contradictions_over():
    """The label of the first example stands."""
    prompts = jax.jit(lambda key: PARITY.sample(key, 4))(jax.random.key(0))
    same = jnp.broadcast_to(prompts.x[:, :1], prompts.x.shape)
    y = jnp.tile(jnp.array([1, 0], jnp.int32), 5)[None].repeat(4, 0)
    found = np.asarray(eliminate(prompts.replace(x=same, y=y)))
    any_bit = np.asarray((prompts.x[:, 0] > 0).any(-1))
    assert any_bit.any()
    assert (found[any_bit, 1:] > 0.99).all()


@pytest.mark.parametrize(
    ("examples", "query", "answer"),
    [
        ([(1, 0, 2), (1, 3, 2)], (1, 4), 2),  # the second number does not count: copied
        ([(0, 2, 3), (4, 2, 3)], (1, 2), 3),  # the first does not
        ([(0, 3, 4), (0, 1, 4), (2, 0, 1)], (2, 4), 1),  # told by other examples than the query's
        ([(1, 0, 0), (1, 3, 1)], (1, 4), 2),  # both count, perhaps: what a shared number has had is out
        ([(1, 0, 0), (1, 3, 1), (2, 4, 2)], (1, 4), 3),  # of either number
        ([(1, 0, 2), (1, 0, 2)], (1, 4), 1),  # the same pair twice is no agreement
    ],
)
def test_a_rule_of_thumb_copies_and_rules_out_but_does_not_add(examples, query, answer):
    task = ModularRules(modulus=5, examples=len(examples))
    known = jnp.array([(a, b) for a in range(5) for b in range(5) if a or b])
    numbers = np.array([[*(pair[:2] for pair in examples), query]])
    x = jax.nn.one_hot(numbers, 5).reshape(1, len(examples) + 1, 10)
    y = jnp.array([[*(pair[2] for pair in examples), 0]])
    prompts = Prompts(x=x, y=y, latent=None, scored=jnp.ones(y.shape, bool))
    assert int(rule_of_thumb(task, known, prompts)[0]) == answer
