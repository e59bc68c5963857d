"""The parts sum to the answer, and a part is what the answer loses without it."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_transformer import pairs

from icl_lab.formats import Interleaved, Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig, one_step_gd
from icl_lab.probes.inside.attribution import logit_attribution, parts

PROMPTS = pairs(3, 2, 4)
FULL = TransformerConfig(channels=4, tokens=5, layers=2, heads=2, width=8, mlp=2, initial_scale=2.0)
BARE = dataclasses.replace(FULL, layers=1, loops=2, mlp=0, normalisation="none", positions="none", head_size=3)


def learner(config: TransformerConfig) -> TransformerLearner:
    """Every parameter random, biases and scales too."""
    model = Model(config)
    params = jax.jit(model.init)(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    noise = np.random.default_rng(0)
    moved = [leaf + 0.3 * noise.normal(size=leaf.shape).astype(np.float32) for leaf in leaves]
    return TransformerLearner(jax.tree.unflatten(tree, moved), model, Interleaved())


@pytest.mark.parametrize("config", [FULL, BARE], ids=["full", "bare"])
def test_parts_sum_to_the_answer(config):
    subject = learner(config)
    found = np.asarray(logit_attribution(subject, PROMPTS, position=-2))
    answers = np.asarray(jax.jit(lambda learner: learner(PROMPTS).mean)(subject))[:, -2]
    assert found.shape == (len(parts(config)), 4, 1)
    np.testing.assert_allclose(found.sum(0)[:, 0], answers, rtol=1e-5, atol=1e-5)
    nonzero = {name for name, part in zip(parts(config), found, strict=True) if np.abs(part).max() > 1e-4}
    lacking = set() if config is FULL else {"positions", "0.mlp", "1.mlp"}
    assert nonzero == set(parts(config)) - lacking


def test_a_last_layers_head_is_worth_what_the_answer_loses_without_it():
    subject = learner(BARE)
    inputs = subject.format.encode(PROMPTS)

    @jax.jit
    def without(head: jax.Array) -> jax.Array:
        def tap(site: str, value: jax.Array) -> jax.Array:
            return value * (np.arange(2) != head)[:, None, None] if site == "1.z" else value

        return subject.model.apply(subject.params, inputs, tap=tap)[:, -1]

    found = np.asarray(logit_attribution(subject, PROMPTS))
    for head in range(2):
        part = found[parts(BARE).index(f"1.head {head}")]
        np.testing.assert_allclose(part, without(-1) - without(head), atol=1e-4)


def test_the_gradient_step_is_written_by_its_head():
    model, params = one_step_gd(3, 2, 0.7)
    subject = TransformerLearner(params, model, Paired())
    found = np.asarray(logit_attribution(subject, PROMPTS))[..., 0]
    answers = np.asarray(jax.jit(lambda learner: learner(PROMPTS).mean)(subject))[:, -1]
    np.testing.assert_allclose(found[parts(model.config).index("0.head 0")], answers, atol=1e-6)
    np.testing.assert_allclose(found[0], 0, atol=1e-6)
