"""Statistics of the examples, against loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import chains, pairs

from icl_lab.probes.inside import sufficient_statistics as statistics
from icl_lab.tasks import BooleanRules, Described, LinearRegression, MarkovChain, ModularRules, Pool
from icl_lab.tasks.boolean_rules import RuleTable

REGRESSION = LinearRegression(dimension=2, examples=4, noise=0.5, prior=Pool(5))
CHAIN = MarkovChain(states=3, examples=5)
PAIRS = pairs(2, 4, 6)
STATES = chains(3, 5, 6)


def test_prefix_moment_and_ridge_weights_of_a_regression():
    x, y = np.asarray(PAIRS.x, float)[:, :-1], np.asarray(PAIRS.y, float)[:, :-1]
    moment = np.array([a.T @ b for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(statistics.prefix_moment(REGRESSION, PAIRS), moment, atol=1e-5)
    weights = [np.linalg.solve(a.T @ a + 0.3 * np.eye(2), a.T @ b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(statistics.ridge_weights(REGRESSION, PAIRS, 0.3), weights, atol=1e-4)


def test_counts_of_a_chain():
    chain = np.concatenate([np.asarray(STATES.x).argmax(-1), np.asarray(STATES.y)[:, -1:]], axis=1)
    pairs, states = np.zeros((6, 3, 3)), np.zeros((6, 3))
    for row, sequence in enumerate(chain):
        for i in range(CHAIN.examples):  # the last pair is the one asked for
            pairs[row, sequence[i], sequence[i + 1]] += 1
            states[row, sequence[i + 1]] += 1
    np.testing.assert_array_equal(statistics.prefix_moment(CHAIN, STATES), pairs.reshape(6, 9))
    np.testing.assert_array_equal(statistics.target_sums(CHAIN, STATES), states)


def test_pool_weights_are_the_normalised_likelihoods_of_the_examples():
    weights = jax.jit(statistics.pool_weights, static_argnums=2)(REGRESSION, PAIRS, 5)
    members = np.asarray(jax.vmap(REGRESSION.pool_latent)(jnp.arange(5)), float)
    residual = np.asarray(PAIRS.y, float)[:, :-1, None] - np.asarray(PAIRS.x, float)[:, :-1] @ members.T
    expected = np.exp(-np.square(residual).sum(1) / (2 * 0.5**2))
    np.testing.assert_allclose(weights, expected / expected.sum(1, keepdims=True), atol=1e-4)
    assert np.asarray(weights).max(1).min() < 0.99
    with pytest.raises(TypeError, match=r"prior: Population has no members"):
        statistics.pool_weights(CHAIN, STATES, 5)


def test_a_penalty_per_feature_and_none():
    x, y = np.asarray(PAIRS.x, float)[:, :-1], np.asarray(PAIRS.y, float)[:, :-1]
    apart = jnp.array([0.3, 2.0])
    weights = [np.linalg.solve(a.T @ a + np.diag([0.3, 2.0]), a.T @ b) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(statistics.ridge_weights(REGRESSION, PAIRS, apart), weights, atol=1e-4)
    one = PAIRS.replace(x=PAIRS.x[:, 2:4], y=PAIRS.y[:, 2:4])  # of one example the weights of least norm
    shortest = [b[2] * a[2] / (a[2] @ a[2]) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(statistics.ridge_weights(REGRESSION, one, 0.0), shortest, rtol=2e-2, atol=1e-2)


def conjunctions(bits):
    """All conjunctions in the task's order, each as a function of bits; bit 0 turns fastest."""
    literals = [lambda bit: True, lambda bit: bit > 0, lambda bit: bit < 0]
    every = [each[::-1] for each in itertools.product(range(3), repeat=bits)]
    return [lambda x, e=e: all(literals[kind](bit) for kind, bit in zip(e, x, strict=True)) for e in every]


@pytest.mark.parametrize("inputs", ["uniform", "balanced"])
def test_the_posterior_over_all_rules_by_enumeration(inputs):
    """Balanced inputs, the last one among them, are evidence by themselves; the prior by length is not flat."""
    task = BooleanRules(bits=3, examples=4, noise=0.1, inputs=inputs, prior_over_rules="by_length")
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 12))()
    every = list(itertools.product((-1, 1), repeat=3))
    expected = np.zeros((12, 27))
    for index, rule in enumerate(conjunctions(3)):
        true = sum(rule(x) for x in every)
        absent = sum(all(rule(x) == rule((*x[:j], -x[j], *x[j + 1 :])) for x in every) for j in range(3))
        for b in range(12):
            weight = 0.7**absent * 0.15 ** (3 - absent)
            for i, x in enumerate(np.asarray(prompts.x[b])):
                if inputs == "balanced" and true < 8:
                    weight *= 0.5 / (true if rule(x) else 8 - true)
                elif inputs == "balanced":
                    weight *= 1 / 8
                if i < 4:
                    weight *= 0.9 if rule(x) == bool(prompts.y[b, i]) else 0.1
            expected[b, index] = weight
    found = jax.jit(lambda p: statistics.sufficient_statistics(task, p))(prompts)
    np.testing.assert_allclose(found["posterior"], expected / expected.sum(1, keepdims=True), atol=1e-5)
    assert 0.2 < float(found["posterior"].max(1).mean()) < 0.99


def test_a_pool_of_rules_has_its_members_posterior_and_a_description_counts():
    task = Described(base=REGRESSION, examples=4, prior=Pool(5), names=5, error=0.2)
    named = jnp.zeros((6, 5)).at[:, 3].set(1.0)
    plain = np.asarray(statistics.pool_weights(REGRESSION, PAIRS, 5), float)
    told = plain * np.where(np.arange(5) == 3, 0.8, 0.05)
    found = statistics.pool_weights(task, PAIRS.replace(description=named), 5)
    np.testing.assert_allclose(found, told / told.sum(1, keepdims=True), atol=1e-5)


def test_latents_of_rules_are_what_the_rules_say():
    bits = BooleanRules(bits=3)
    every = jnp.where((np.arange(8)[:, None] >> np.arange(3)) & 1 == 1, 1.0, -1.0)

    def said(task, index):
        return np.asarray(task.latent_features(jnp.asarray(index))).reshape(-1, 3 if task.rules != "parity" else 1)

    np.testing.assert_array_equal(said(bits, 1 + 2 * 3), [[1, 0, 0], [0, 1, 0], [0, 0, 1]])  # x_0 and not x_1
    for index in range(27):
        positive, negative, _ = said(bits, index).T
        broken = (positive * (every < 0) + negative * (every > 0)).sum(1)
        np.testing.assert_array_equal(bits.holds(jnp.asarray(index), every), broken == 0)
    literal = bits.replace(rules="literal")
    for index in range(6):
        positive, negative, absent = said(literal, index).T
        assert (positive + negative).sum() == 1
        assert absent.sum() == 2
        np.testing.assert_array_equal(literal.holds(jnp.asarray(index), every), every @ (positive - negative) > 0)
    for sparsity in (None, 2):
        parity = bits.replace(rules="parity", sparsity=sparsity)
        for index in range(parity.support):
            odd = ((every > 0) @ said(parity, index)[:, 0]) % 2 == 1
            np.testing.assert_array_equal(parity.holds(jnp.asarray(index), every), odd)
    modular = ModularRules(modulus=3)
    np.testing.assert_array_equal(modular.latent_features(jnp.array([2, 1])), [0, 0, 1, 0, 1, 0])


class Majority(RuleTable):
    """One rule: more bits are set than not."""

    def count(self, task):
        return 1

    def holds(self, task, index, x):
        return (x > 0).sum(-1) > x.shape[-1] / 2


def test_a_rule_of_another_kind_is_its_truth_table():
    found = Majority().features(BooleanRules(bits=3), jnp.asarray(0))
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 0, 1, 1, 1])


def test_what_a_task_has_of_them():
    basic = {"moment", "target sums", "latent"}
    regression = statistics.sufficient_statistics(REGRESSION, PAIRS)
    assert set(regression) == basic | {"weights", "posterior"}
    np.testing.assert_array_equal(regression["weights"], statistics.ridge_weights(REGRESSION, PAIRS, 0.25))
    for task, prompts, more in (
        (CHAIN, STATES, set()),
        (REGRESSION.replace(prior=Pool(513)), PAIRS, {"weights"}),
        (LinearRegression(dimension=2, examples=4), PAIRS, {"weights"}),
    ):
        assert set(statistics.sufficient_statistics(task, prompts)) == basic | more
    assert "latent" not in statistics.sufficient_statistics(CHAIN, STATES.replace(latent=None))
    # A traced size is no shape.
    assert "posterior" not in jax.jit(statistics.sufficient_statistics)(REGRESSION, PAIRS)


def test_latents_are_laid_flat_and_controls_depend_on_the_last_input_alone():
    np.testing.assert_array_equal(statistics.latent_values(CHAIN, STATES), np.asarray(STATES.latent).reshape(6, 9))
    key = jax.random.key(2)
    control = statistics.control_task(key, PAIRS, 3)
    assert control.shape == (6, 3)
    assert len(np.unique(np.asarray(control))) == 18
    other = PAIRS.replace(x=PAIRS.x.at[:, :-1].add(1.0), y=PAIRS.y + 1)
    np.testing.assert_array_equal(statistics.control_task(key, other, 3), control)
