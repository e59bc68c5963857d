"""Elimination over GF(2) against an enumeration of all parities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.outcomes import FLOOR
from icl_lab.learners.parity import gf2_elimination
from icl_lab.tasks import BooleanRules

TASK = BooleanRules(bits=4, examples=9, rules="parity", sparsity=None)


@jax.jit
def eliminate(prompts):
    return gf2_elimination(TASK, prompts).mean_target()[..., 1]


def test_it_is_the_exact_posterior_of_dense_parities():
    prompts = jax.jit(lambda key: TASK.sample(key, 32))(jax.random.key(0))
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


def test_contradictions_are_passed_over():
    """The label of the first example stands."""
    prompts = jax.jit(lambda key: TASK.sample(key, 4))(jax.random.key(0))
    same = jnp.broadcast_to(prompts.x[:, :1], prompts.x.shape)
    y = jnp.tile(jnp.array([1, 0], jnp.int32), 5)[None].repeat(4, 0)
    found = np.asarray(eliminate(prompts.replace(x=same, y=y)))
    any_bit = np.asarray((prompts.x[:, 0] > 0).any(-1))
    assert any_bit.any()
    assert (found[any_bit, 1:] > 0.99).all()
