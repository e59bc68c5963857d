"""Read-outs find what was planted, equal an independent ridge regression, and find nothing where nothing is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import pairs

from icl_lab.core.outcomes import Classes
from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.readout import (
    PENALTIES,
    linear_predictions,
    linear_readout,
    mlp_readout,
    residual_streams,
    thirds,
)
from icl_lab.probes.inside.sufficient_statistics import shuffled

PROMPTS, WIDTH = 300, 6
FEATURES = jax.random.normal(jax.random.key(0), (2, PROMPTS, WIDTH))
PLANTED = FEATURES[0] @ jax.random.normal(jax.random.key(1), (WIDTH, 2))
NOISY = PLANTED + 2.0 * jax.random.normal(jax.random.key(2), PLANTED.shape)
PREDICT = jax.jit(linear_predictions, static_argnames="kind")


def test_a_planted_statistic_is_found_where_it_is_and_not_after_shuffling():
    found = np.asarray(linear_readout(FEATURES, PLANTED))
    assert found[0] > 0.999
    assert found[1] < 0.1
    assert np.abs(linear_readout(FEATURES, shuffled(jax.random.key(3), PLANTED))).max() < 0.1


def test_predictions_are_those_of_ridge_with_the_penalty_the_second_third_chose():
    x, t = np.asarray(FEATURES[0], float), np.asarray(NOISY, float)
    fit, choose, score = (np.arange(PROMPTS)[part] for part in thirds(PROMPTS))
    x, base = x - x[fit].mean(0), t[fit].mean(0)
    scale = np.square(x[fit]).mean()
    tried = []
    for penalty in PENALTIES:
        gram = x[fit].T @ x[fit] + len(fit) * penalty * scale * np.eye(WIDTH)
        tried.append(base + x @ np.linalg.solve(gram, x[fit].T @ (t[fit] - base)))
    best = tried[int(np.argmin([np.square(t - some)[choose].sum() for some in tried]))]
    found = np.asarray(PREDICT(FEATURES, NOISY))
    np.testing.assert_allclose(found[0], best, atol=1e-4)
    expected = 1 - np.square(t - best)[score].sum() / np.square(t - base)[score].sum()
    assert float(linear_readout(FEATURES, NOISY)[0]) == pytest.approx(expected, abs=1e-4)
    assert 0.3 < expected < 0.9


def test_classes_are_scored_in_nats_saved():
    kind = Classes(3)
    label = np.asarray(FEATURES[0, :, :3]).argmax(-1)
    targets = kind.targets(jnp.asarray(label))
    found = np.asarray(linear_readout(FEATURES, targets, kind))
    answers = np.maximum(np.asarray(PREDICT(FEATURES, targets, kind))[0], 1e-4)
    answers /= answers.sum(-1, keepdims=True)
    base = np.bincount(label[:100], minlength=3) / 100
    expected = np.mean([np.log(answers[i, label[i]]) - np.log(base[label[i]]) for i in range(200, 300)])
    assert found[0] == pytest.approx(expected, abs=1e-4)
    assert found[0] > 0.3
    assert found[1] < 0.05


def test_one_hidden_layer_finds_what_no_linear_readout_can():
    targets = jnp.abs(FEATURES[0, :, :2]) + jnp.abs(FEATURES[0, :, 2:4])
    found = np.asarray(mlp_readout(FEATURES, targets, jax.random.key(4)))
    assert found[0] > 0.7
    assert found[1] < 0.1
    assert np.asarray(linear_readout(FEATURES, targets)).max() < 0.2


def test_the_gradient_step_has_its_answer_in_the_query_token_only():
    model, params = one_step_gd(2, 3, 0.7, steps=2)
    learner = TransformerLearner(params, model, Paired())
    prompts = pairs(2, 3, PROMPTS)
    streams = residual_streams(learner, prompts)
    assert streams.shape == (2, 4, PROMPTS, 3)
    found = np.asarray(linear_readout(streams, jax.jit(lambda learner: learner(prompts).mean[:, -1:])(learner)))
    assert found[1, 3] > 0.999
    assert found[0, 3] < 0.9  # the first of two steps
    assert found[:, :3].max() < 0.3


def test_too_few_prompts_are_an_error():
    with pytest.raises(ValueError, match=r"prompts: 2 cannot be parted in three"):
        thirds(2)
