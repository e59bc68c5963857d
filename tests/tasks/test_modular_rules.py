"""Modular rules: the exact predictive against a list of all rules, and what a pool and a split of pairs leave out."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Prompts
from icl_lab.tasks import Pool
from icl_lab.tasks.modular_rules import ModularRules


@functools.partial(jax.jit, static_argnames="batch")
def sample(task, batch):
    return task.sample(jax.random.key(0), batch)


def rules(task):
    """Members of the pool as pairs of numbers."""
    return [tuple(rule) for rule in jax.vmap(task.pool_latent)(jnp.arange(task.prior.size)).tolist()]


def everything(p):
    return list(itertools.product(range(p), repeat=2))


def made(task, candidates, batch=6):
    """Prompts drawn by numpy with one of these rules each; classes replaced with probability η."""
    rng, p = np.random.default_rng(task.examples), task.modulus
    n, rule = rng.integers(0, p, (batch, task.positions, 2)), rng.choice(candidates, (batch, 1))
    z = (n * rule).sum(-1) % p
    z = np.where(rng.random(z.shape) < task.noise, rng.integers(0, p, z.shape), z)
    x = np.eye(p, dtype=np.float32)[n].reshape(batch, task.positions, 2 * p)
    return Prompts(jnp.asarray(x), jnp.asarray(z, jnp.int32), None, scored=jnp.ones(z.shape, bool)), n, z


def by_enumeration(task, candidates, n, z):
    """p(z_i = c | earlier pairs) over a list of equally likely rules, in pure Python; 1/p where none is left."""
    p, noise = task.modulus, task.noise
    table = np.full((*z.shape, p), 1 / p)
    for prompt, (numbers, outcomes) in enumerate(zip(n.tolist(), z.tolist(), strict=True)):
        weight = [1.0] * len(candidates)
        for i, (first, second) in enumerate(numbers):
            said = [(a * first + b * second) % p for a, b in candidates]
            total = math.fsum(weight)
            if total > 0:
                for c in range(p):
                    agreeing = math.fsum(w for w, answer in zip(weight, said, strict=True) if answer == c)
                    table[prompt, i, c] = (1 - noise) * agreeing / total + noise / p
            weight = [
                w * ((1 - noise) * (answer == outcomes[i]) + noise / p) for w, answer in zip(weight, said, strict=True)
            ]
    return table


@jax.jit
def exact(task, prompts):
    return jnp.exp(task.posterior_predictive(prompts).log_probs)


@pytest.mark.parametrize(
    ("modulus", "examples", "noise"), [(2, 5, 0.1), (3, 8, 0.0), (4, 6, 0.1), (5, 9, 0.1), (6, 4, 0.0), (7, 7, 0.1)]
)
def test_the_population_against_a_list_of_all_rules(modulus, examples, noise):
    task = ModularRules(modulus=modulus, examples=examples, noise=noise)
    prompts, n, z = made(task, everything(modulus))
    np.testing.assert_allclose(exact(task, prompts), by_enumeration(task, everything(modulus), n, z), atol=1e-5)


@pytest.mark.parametrize(("modulus", "size", "skip"), [(3, 5, 0), (5, 11, 0), (5, 14, 11), (7, 49, 0), (3, 13, 0)])
def test_pools_against_a_list_of_their_rules(modulus, size, skip):
    task = ModularRules(modulus=modulus, examples=7, noise=0.1, prior=Pool(size, seed=3), skip=skip)
    prompts, n, z = made(task, everything(modulus))
    found = exact(task, prompts)
    np.testing.assert_allclose(found, by_enumeration(task, rules(task), n, z), atol=1e-5)
    whole = by_enumeration(task, everything(modulus), n, z)
    assert np.allclose(found, whole, atol=1e-5) == (size == modulus**2)


def test_a_noiseless_pool_against_a_list_of_its_rules():
    task = ModularRules(modulus=5, examples=7, prior=Pool(7, seed=1))
    prompts, n, z = made(task, rules(task))
    np.testing.assert_allclose(exact(task, prompts), by_enumeration(task, rules(task), n, z), atol=1e-5)


def test_rules_are_numbered_a_first():
    task = ModularRules(modulus=3)
    assert jax.vmap(task.latent_at)(jnp.arange(9)).tolist() == [list(rule) for rule in everything(3)]
    assert task.support == 9


def test_the_worked_example_of_the_docstring():
    task = ModularRules(modulus=5)
    x = jnp.eye(5)[jnp.array([[1, 0], [0, 3], [1, 3]])].reshape(3, 10)
    np.testing.assert_array_equal(task.outcome(jnp.array([2, 1]), x).log_probs.argmax(-1), [2, 3, 0])


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_prompts_are_what_they_are_said_to_be(noise):
    """Rules, pairs and replacements are uniform, and a replaced outcome may be the right one."""
    task = ModularRules(modulus=3, examples=7, noise=noise)
    prompts = sample(task, 4096)
    n, rule = np.asarray(task.numbers(prompts.x)), np.asarray(prompts.latent)
    np.testing.assert_array_equal(prompts.x, np.eye(3)[n].reshape(prompts.x.shape))
    for pair in (n.reshape(-1, 2), rule):
        share = np.bincount(pair @ [3, 1], minlength=9) / len(pair)
        assert np.abs(share - 1 / 9).max() < 5 * np.sqrt(8 / 81 / len(pair))
    error = (prompts.y - (n * rule[:, None]).sum(-1)) % 3
    share = np.bincount(np.ravel(error), minlength=3) / error.size
    assert np.abs(share - [1 - 2 * noise / 3, noise / 3, noise / 3]).max() <= 5 * np.sqrt(noise / error.size)


@pytest.mark.parametrize("modulus", [2, 5, 7])
def test_seen_and_unseen_rules_split_all_of_them(modulus):
    task = ModularRules(modulus=modulus, prior=Pool(3, seed=1))
    seen, unseen = rules(task), rules(task.unseen())
    assert len(seen) == 3
    assert sorted(seen + unseen) == everything(modulus)
    assert rules(task.unseen().unseen()) == seen
    if modulus > 2:
        assert seen != rules(task.replace(prior=Pool(3, seed=2)))


def test_pools_are_nested():
    task = ModularRules(modulus=5)
    few, many = (rules(task.replace(prior=Pool(size, seed=1))) for size in (6, 20))
    assert few == many[:6]
    assert len(set(many)) == 20


def test_prompts_of_a_pool_have_its_rules_and_unseen_ones_the_others():
    task = ModularRules(modulus=3, prior=Pool(4, seed=1))
    drawn = [{tuple(rule) for rule in sample(each, 512).latent.tolist()} for each in (task, task.unseen())]
    assert drawn[0] == set(rules(task))
    assert drawn[1] == set(everything(3)) - drawn[0]


def test_sizes_and_splits_are_data():
    traces = []

    @jax.jit
    def draw(task):
        traces.append(None)
        return task.sample(jax.random.key(0), 8).latent

    for size, noise in ((3, 0.1), (8, 0.2), (21, 0.3)):
        task = ModularRules(modulus=5, noise=noise, prior=Pool(size))
        assert not np.array_equal(draw(task), draw(task.unseen()))
    assert len(traces) == 1


def test_pairs_held_out_are_not_among_those_for_training():
    def pairs(share, inputs):
        return [tuple(pair) for pair in ModularRules(modulus=5, held_out=share, inputs=inputs).pairs().tolist()]

    for share, count in ((0.2, 5), (0.5, 12)):
        assert len(pairs(share, "held_out")) == count
        assert sorted(pairs(share, "held_out") + pairs(share, "training")) == everything(5)
        assert sorted(pairs(share, "all")) == everything(5)
    assert set(pairs(0.2, "held_out")) < set(pairs(0.5, "held_out"))


def test_pairs_are_drawn_equally_often_from_their_set():
    task = ModularRules(modulus=5, held_out=0.2, inputs="training")
    drawn, count = np.unique(task.numbers(sample(task, 512).x).reshape(-1, 2), axis=0, return_counts=True)
    assert drawn.tolist() == sorted(task.pairs().tolist())
    np.testing.assert_allclose(count / count.sum(), 1 / len(count), rtol=0.25)


def test_impossible_splits_say_so():
    with pytest.raises(ValueError, match=r"held_out: 0\.0 of 25 pairs leaves none for held_out inputs"):
        ModularRules(modulus=5, inputs="held_out").pairs()
    with pytest.raises(ValueError, match=r"held_out: 0\.99 of 9 pairs leaves none for training inputs"):
        ModularRules(modulus=3, held_out=0.99, inputs="training").pairs()


def test_where_no_rule_is_left_out_unseen_ones_are_all():
    assert ModularRules(modulus=3, prior=Pool(9)).unseen() == ModularRules(modulus=3)
    full = ModularRules(modulus=3, prior=Pool(jnp.asarray(9)))
    drawn = jax.jit(lambda task: task.unseen().sample(jax.random.key(0), 200).latent)(full)
    assert len({tuple(rule) for rule in np.asarray(drawn).tolist()}) == 9
    assert ModularRules().unseen() == ModularRules()


def test_shifted_pairs_are_equal_numbers():
    task = ModularRules(modulus=5)
    prompts, n, _ = made(task, everything(5))
    np.testing.assert_array_equal(task.numbers(task.shift_inputs(prompts.x)), n[..., [0, 0]])
