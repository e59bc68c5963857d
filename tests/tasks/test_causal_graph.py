"""Causal graphs: drawing them, and the exact predictive against an enumeration of whole sequences and quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from icl_lab.core.prompts import Prompts
from icl_lab.tasks import CausalGraph, Described, MarkovChain, Pool, Task, pool_posterior

TREE = (-1, 0, 0, -1, 1, 3, -1, 6)  # two roots that are no question, and one that is
TWO = CausalGraph(states=2, concentration=0.4, parents=TREE, examples=6)
THREE = CausalGraph(states=3, concentration=0.7, parents=(-1, -1, 0, 1, 1, 2, 4), examples=5)


@jax.jit
def closed_form(task, prompts):
    return jnp.exp(task.population_predictive(prompts).log_probs)


def given(task, chain):
    """Prompts of these states."""
    x, y = np.eye(task.states, dtype=np.float32)[chain[:, :-1]], chain[:, 1:].astype(np.int32)
    return Prompts(jnp.asarray(x), jnp.asarray(y), None, scored=jnp.ones(y.shape, bool))


def probability(chain, graph, latent):
    """p(s_0 … s_i | P) as a product over states, for matrices [..., k, k]."""
    states = latent.shape[-1]
    factors = [latent[..., chain[p], s] if p >= 0 else 1 / states for s, p in zip(chain, graph, strict=False)]
    return np.prod(np.broadcast_arrays(*factors), axis=0)


def test_two_states_against_quadrature_over_all_sequences():
    """∫∫ p(past, s | P) dBeta dBeta / ∫∫ p(past | P) dBeta dBeta by Gauss–Jacobi, for all 2^8 sequences."""
    alpha = TWO.concentration
    node, mass = special.roots_jacobi(24, alpha - 1, alpha - 1)
    row = np.stack([(1 + node) / 2, (1 - node) / 2], axis=-1)
    first, second = (index.ravel() for index in np.meshgrid(np.arange(24), np.arange(24)))
    latent, weight = np.stack([row[first], row[second]], axis=1), mass[first] * mass[second]

    chains = np.array(list(itertools.product(range(2), repeat=8)))
    exact = np.zeros((len(chains), 7, 2))
    for b, i, s in np.ndindex(exact.shape):
        exact[b, i, s] = weight @ probability([*chains[b, : i + 1], s], TREE, latent)
    exact /= exact.sum(-1, keepdims=True)
    np.testing.assert_allclose(closed_form(TWO, given(TWO, chains)), exact, atol=1e-5)
    assert np.ptp(exact[:, -1, 0]) > 0.8
    np.testing.assert_allclose(exact[:, [2, 5]], 0.5, atol=1e-9)  # s_3 and s_6 have no parent


def test_three_states_against_ratios_of_evidence():
    """p(past) = Π_rows Γ(3α)/Γ(n + 3α) Π_c Γ(C_c + α)/Γ(α), counts over pairs of parent and child."""
    alpha, graph = THREE.concentration, THREE.graph

    def log_evidence(chain):
        counts = np.zeros((3, 3))
        roots = 0
        for state, parent in zip(chain, graph, strict=False):
            if parent < 0:
                roots += 1
            else:
                counts[chain[parent], state] += 1
        rows = special.gammaln(3 * alpha) - special.gammaln(counts.sum(1) + 3 * alpha)
        return rows.sum() + (special.gammaln(counts + alpha) - special.gammaln(alpha)).sum() - roots * np.log(3)

    chains = np.random.default_rng(0).integers(0, 3, (24, 7))
    exact = np.zeros((24, 6, 3))
    for b, i, s in np.ndindex(exact.shape):
        exact[b, i, s] = np.exp(log_evidence([*chains[b, : i + 1], s]) - log_evidence(chains[b, : i + 1]))
    np.testing.assert_allclose(exact.sum(-1), 1, rtol=1e-9)
    np.testing.assert_allclose(closed_form(THREE, given(THREE, chains)), exact, atol=1e-5)


def test_the_pool_posterior_against_all_members():
    task = TWO.replace(prior=Pool(5, seed=2))
    members = np.asarray(jax.vmap(task.pool_latent)(jnp.arange(5)), float)
    chains = np.random.default_rng(1).integers(0, 2, (8, 8))
    exact = np.array(
        [
            [[probability([*chain[: i + 1], s], TREE, members).sum() for s in range(2)] for i in range(7)]
            for chain in chains
        ]
    )
    exact /= exact.sum(-1, keepdims=True)
    found = jax.jit(pool_posterior)(task, given(task, chains)).predictive
    np.testing.assert_allclose(np.exp(found.log_probs), exact, atol=1e-5)


def test_states_have_the_frequencies_of_the_latent_given_their_parent():
    task = TWO.replace(prior=Pool(1, seed=4))
    prompts = jax.jit(lambda key: task.sample(key, 4000))(jax.random.key(0))
    chain = np.concatenate([np.asarray(prompts.x[:, :1]).argmax(-1), prompts.y], axis=1)
    latent = np.asarray(prompts.latent[0])
    assert abs(latent[0, 0] - latent[1, 0]) > 0.2
    for state, parent in enumerate(TREE):
        for above in range(2):
            own = chain[:, state] if parent < 0 else chain[chain[:, parent] == above, state]
            share = 0.5 if parent < 0 else latent[above, 1]
            assert abs(own.mean() - share) < 5 * np.sqrt(0.25 / len(own))


def test_the_walk_along_the_states_draws_what_the_generic_passes_draw():
    @jax.jit
    @jax.vmap
    def both(key):
        latent_key, inputs_key, key = jax.random.split(key, 3)
        latent = THREE.draw_latent(latent_key)
        x = THREE.draw_inputs(inputs_key, latent)
        return THREE.draw_pairs(latent, x, key), Task.draw_pairs(THREE, latent, x, key)

    (x, y), (slow_x, slow_y) = both(jax.random.split(jax.random.key(3), 32))
    np.testing.assert_array_equal(x, slow_x)
    np.testing.assert_array_equal(y, slow_y)
    assert y.dtype == slow_y.dtype == jnp.int32
    assert len(np.unique(y)) == 3


def test_a_path_is_a_markov_chain():
    path = CausalGraph(states=3, concentration=0.5, parents=tuple(range(-1, 6)), examples=5)
    prompts = given(path, np.random.default_rng(2).integers(0, 3, (8, 7)))
    chain = MarkovChain(states=3, concentration=0.5, examples=5)
    np.testing.assert_allclose(closed_form(path, prompts), closed_form(chain, prompts), atol=1e-6)
    assert path.memory == chain.memory == 1


def test_drawn_graphs_have_earlier_parents_and_end_with_a_question():
    graphs = [CausalGraph(examples=9, graph_seed=seed).graph for seed in range(200)]
    assert graphs[3] == CausalGraph(examples=9, graph_seed=3).graph
    drawn = np.array(graphs)
    assert drawn.shape == (200, 11)
    np.testing.assert_array_equal(drawn[:, [0, 9, 10]], np.tile([-1, -1, 9], (200, 1)))
    for state in range(1, 9):
        share = np.bincount(drawn[:, state] + 1, minlength=state + 1) / 200
        assert share.shape == (state + 1,)  # none and every earlier one, and no other
        np.testing.assert_allclose(share, 1 / (state + 1), atol=0.16)


def test_memory_reaches_back_to_the_parent_of_the_answer():
    for parent, memory in ((6, 1), (5, 2), (1, 6), (0, 0), (-1, 0)):
        assert TWO.replace(parents=(*TREE[:-1], parent)).memory == memory
    assert Described(base=TWO.replace(examples=3), examples=6, prior=Pool(3), names=3).graph == TREE


def test_graphs_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"^parents: 8 are given; 3 examples have 5 states"):
        TWO.replace(examples=3).sample(jax.random.key(0), 1)
    with pytest.raises(ValueError, match=r"^parents: 2 of state 2 is no earlier state"):
        CausalGraph(parents=(-1, 0, 2), examples=1).sample(jax.random.key(0), 1)
