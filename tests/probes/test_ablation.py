"""Ablations: of known mechanisms, and against a loop over eager runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import HEADS, LAYERS, LEARNER, answer, pairs, values

from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.ablation import ablation_effect, joint_ablation_effect, random_sets

PROMPTS = pairs(3, 2, 4)
LABELS = np.asarray(PROMPTS.y[:, -1])


def loss(replacements: dict) -> np.ndarray:
    return (answer(replacements, PROMPTS) - LABELS) ** 2


def replacement(site: str, by: str, there: dict) -> np.ndarray:
    value = np.asarray(there[site])
    if by == "mean":
        return np.broadcast_to(value.mean(0), value.shape)
    return np.zeros_like(value) if by == "zero" else np.roll(value, -1, axis=0)


@pytest.mark.parametrize(("site", "by"), [("z", "resample"), ("mlp_out", "zero"), ("pattern", "mean")])
def test_every_ablation_is_that_of_a_loop(site, by):
    there, before = values(PROMPTS), loss({})
    heads = [None] if site == "mlp_out" else range(HEADS)
    expected = []
    for layer in range(LAYERS):
        for head in heads:
            name, index = f"{layer}.{site}", (slice(None),) if head is None else (slice(None), head)
            expected.append(loss({name: (index, replacement(name, by, there))}) - before)
    found = np.asarray(ablation_effect(LEARNER, PROMPTS, site=site, by=by, at_once=2))
    assert found.shape == ((LAYERS, 4) if site == "mlp_out" else (LAYERS, HEADS, 4))
    np.testing.assert_allclose(found.reshape(-1, 4), expected, rtol=2e-3, atol=2e-4)
    assert np.abs(found).max() > 1e-2


def test_without_its_only_head_the_gradient_step_answers_zero():
    model, params = one_step_gd(3, 2, 0.7)
    learner = TransformerLearner(params, model, Paired())
    found = np.asarray(ablation_effect(learner, PROMPTS, by="zero"))
    answers = np.asarray(learner(PROMPTS).mean[:, -1])
    np.testing.assert_allclose(found[0, 0], LABELS**2 - (answers - LABELS) ** 2, atol=1e-5)


def test_sets_of_heads_are_taken_out_together():
    there, before = values(PROMPTS), loss({})
    sets = jnp.zeros((3, LAYERS, HEADS), bool).at[1, 0, 1].set(True).at[1, 1, 0].set(True).at[2, 1, 1].set(True)
    found = np.asarray(joint_ablation_effect(LEARNER, PROMPTS, sets, by="mean"))
    both = {name: ((slice(None), head), replacement(name, "mean", there)) for name, head in (("0.z", 1), ("1.z", 0))}
    one = {"1.z": ((slice(None), 1), replacement("1.z", "mean", there))}
    np.testing.assert_array_equal(found[0], 0)
    np.testing.assert_allclose(found[1], loss(both) - before, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found[2], loss(one) - before, rtol=2e-3, atol=2e-4)


def test_random_sets_have_as_many_heads_in_every_layer_and_others_where_they_can():
    chosen = jnp.array([[True, False, False, False], [True, True, True, False], [False] * 4])
    found = np.asarray(random_sets(jax.random.key(0), chosen, 50))
    np.testing.assert_array_equal(found.sum(-1), np.tile([1, 3, 0], (50, 1)))
    assert not found[:, 0, 0].any()
    assert found[:, 1, 3].all()
    assert found[:, 0, 1:].any(0).all()


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValueError, match=r"by: 'noise' is not known; choose one of zero, mean, resample"):
        ablation_effect(LEARNER, PROMPTS, by="noise")
