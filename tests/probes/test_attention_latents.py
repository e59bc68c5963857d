"""Known patterns against loops, and heads made by hand against them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import chains, pairs

from icl_lab.formats import Interleaved, Paired, Stream
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.probes.inside.attention_kernels import attention_kernels
from icl_lab.probes.inside.attention_latents import attention_likeness, carriers, known_patterns
from icl_lab.tasks import CausalGraph, LinearRegression, MarkovChain

TASK = LinearRegression(dimension=2, examples=3)
PROMPTS = pairs(2, 3, 8)
CHAIN = MarkovChain(states=2, examples=5)
STATES = chains(2, 5, 8)
GRAPH = CausalGraph(states=2, parents=(-1, 0, 0, 2, -1, 3, 5), examples=5)


def test_which_token_carries_what():
    np.testing.assert_array_equal(carriers(Interleaved(), 3), [[0, 2, 4], [1, 3, -1]])
    np.testing.assert_array_equal(carriers(Paired(), 3), [[0, 1, 2], [0, 1, -1]])
    np.testing.assert_array_equal(carriers(Stream(), 3), [[0, 1, 2], [1, 2, -1]])


def test_nearest_example_and_own_input_of_pairs():
    found = jax.jit(lambda prompts: known_patterns(TASK, Interleaved(), prompts, np.tri(7, dtype=bool)))(PROMPTS)
    for row in range(8):
        x = np.asarray(PROMPTS.x[row])
        expected = np.zeros((7, 7))
        for i in range(1, 4):
            expected[2 * i, 2 * np.square(x[:i] - x[i]).sum(1).argmin() + 1] = 1
        np.testing.assert_array_equal(found["nearest example"][row], expected)
        own = np.zeros((7, 7))
        own[[1, 3, 5], [0, 2, 4]] = 1
        np.testing.assert_array_equal(found["own input"][row], own)
    np.testing.assert_array_equal(found["previous token"][0], np.eye(7, k=-1))
    np.testing.assert_allclose(found["uniform"][0, 3], [0.25, 0.25, 0.25, 0.25, 0, 0, 0])
    np.testing.assert_array_equal(found["prefix matching"], 0)  # no two inputs are equal


def test_prefix_matching_of_a_stream_is_what_followed_the_same_state():
    found = jax.jit(lambda prompts: known_patterns(CHAIN, Stream(), prompts, np.tri(6, dtype=bool)))(STATES)
    symbols = np.asarray(STATES.x).argmax(-1)
    for row in range(8):
        expected = np.zeros((6, 6))
        for t in range(6):
            after = [s + 1 for s in range(t) if symbols[row, s] == symbols[row, t]]
            expected[t, after] = 1 / max(len(after), 1)
        np.testing.assert_allclose(found["prefix matching"][row], expected, atol=1e-6)
        # The nearest examples are those with the same state, or else all earlier ones.
        told = expected.sum(1) > 0
        np.testing.assert_allclose(found["nearest example"][row][told], expected[told], atol=1e-6)


def test_heads_made_by_hand_are_recognised():
    """Head 0 looks at the token before, by relative positions; head 1 everywhere alike."""
    config = TransformerConfig(
        2, 6, 1, heads=2, width=4, mlp=0, normalisation="none", positions="relative", outputs=2, bias=True
    )
    model = Model(config)
    params = jax.tree.map(jnp.zeros_like, jax.jit(model.init)(jax.random.key(0)))
    attention = params["layers"]["0"]["attention"]
    attention["query"]["bias"] = jnp.array([1.0, 0, 0, 0])
    attention["distances"] = attention["distances"].at[1, 0].set(50.0)
    learner = TransformerLearner(params, model, Stream(), CHAIN.outcomes)
    found = attention_likeness(learner, CHAIN, STATES)
    previous, uniform = found["previous token"], found["uniform"]
    np.testing.assert_allclose(previous.cosine[0, 0], 1, atol=1e-5)
    np.testing.assert_allclose(previous.correlation[0, 0], 1, atol=1e-5)
    np.testing.assert_allclose(uniform.cosine[0, 1], 1, atol=1e-5)
    assert np.isnan(uniform.correlation).all()
    visible = 1 / np.arange(2.0, 7.0)  # of the tokens that see more than themselves
    assert float(uniform.cosine[0, 0]) == pytest.approx(visible.sum() / np.sqrt(5 * visible.sum()), abs=1e-5)
    assert float(previous.cosine[0, 1]) < 0.9
    assert np.isnan(previous.correlation[0, 1])
    assert float(found["prefix matching"].cosine[0, 0]) < 0.9


def test_parents_are_those_of_the_graph():
    found = jax.jit(lambda prompts: known_patterns(GRAPH, Stream(), prompts, np.tri(6, dtype=bool)))(STATES)
    expected = np.zeros((6, 6))
    expected[[1, 2, 3, 5], [0, 0, 2, 3]] = 1  # the answer s_6 is no token
    np.testing.assert_array_equal(found["parent"], np.tile(expected, (8, 1, 1)))
    assert "parent" not in known_patterns(CHAIN, Stream(), STATES, np.tri(6, dtype=bool))


def test_a_head_that_looks_at_the_parent_is_recognised():
    """Positions are unit vectors, and the query of s_i is the key of its parent; other tokens look everywhere alike."""
    config = TransformerConfig(2, 6, width=6, mlp=0, normalisation="none", positions="learned", outputs=2)
    model = Model(config)
    params = jax.tree.map(jnp.zeros_like, jax.jit(model.init)(jax.random.key(0)))
    params["positions"] = jnp.eye(6)
    attention = params["layers"]["0"]["attention"]
    attention["key"]["kernel"] = jnp.eye(6)
    attention["query"]["kernel"] = jnp.zeros((6, 6)).at[np.array([1, 2, 3, 5]), np.array([0, 0, 2, 3])].set(50.0)
    found = attention_likeness(TransformerLearner(params, model, Stream(), GRAPH.outcomes), GRAPH, STATES)
    assert float(found["parent"].cosine[0, 0]) == pytest.approx(1, abs=1e-5)
    assert float(found["parent"].correlation[0, 0]) == pytest.approx(1, abs=1e-5)
    assert all(likeness.cosine[0, 0] < 0.9 for name, likeness in found.items() if name != "parent")


@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_a_kernel_put_in_is_the_one_found(attention):
    """Scores are .8 x·x' between inputs, and 0 between inputs and labels."""
    config = TransformerConfig(
        3, 7, width=3, mlp=0, normalisation="none", positions="none", embedding=False, bias=False
    )
    config = dataclasses.replace(config, attention=attention)
    scale = 3**0.5 if attention == "softmax" else 1.0
    inputs = jnp.diag(jnp.array([1.0, 1.0, 0.0]))
    kernels = {"query": 0.8 * scale * inputs, "key": inputs, "value": jnp.eye(3), "output": jnp.eye(3)}
    params = {"layers": {"0": {"attention": {name: {"kernel": kernel} for name, kernel in kernels.items()}}}}
    learner = TransformerLearner(params, Model(config), Interleaved())
    found = attention_kernels(learner, TASK, PROMPTS)
    best = found["dot product to inputs"]
    assert float(best.slope[0, 0]) == pytest.approx(0.8, rel=1e-5)
    assert float(best.explained[0, 0]) == pytest.approx(1, abs=1e-5)
    assert float(found["dot product to outcomes"].explained[0, 0]) == 0
    scores, distances = [], []
    for x in np.asarray(PROMPTS.x, float):
        for i in range(2, 4):
            products, apart = 0.8 * x[:i] @ x[i], -np.square(x[:i] - x[i]).sum(1) / 2
            scores += list(products - products.mean())
            distances += list(apart - apart.mean())
    cosine = np.dot(scores, distances) / np.linalg.norm(scores) / np.linalg.norm(distances)
    assert float(found["gaussian to inputs"].explained[0, 0]) == pytest.approx(cosine**2, rel=1e-4)
    assert 0.05 < cosine**2 < 0.98
