"""Nadaraya-Watson regression and its sharp limit in one head, against loops."""

import jax
import numpy as np

from icl_lab.models import Model, Params, capture, one_layer_config
from icl_lab.models.constructions import nearest_example, softmax_kernel

DIMENSION, EXAMPLES, SHARPNESS = 3, 6, 1.3
TOKENS = np.random.default_rng(0).normal(size=(8, EXAMPLES + 1, DIMENSION + 1)).astype(np.float32)
TOKENS[:, -1, -1] = 0
SPHERE = TOKENS.copy()
SPHERE[..., :-1] /= np.linalg.norm(TOKENS[..., :-1], axis=-1, keepdims=True)


def run(built: tuple[Model, Params], tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answer and pattern at the query."""
    model, params = built
    answers, sites = jax.jit(lambda p, t: capture(model, p, t, ["0.pattern"]))(params, tokens)
    return np.asarray(answers[:, -1, 0]), np.asarray(sites["0.pattern"][:, 0, -1])


def test_the_head_averages_labels_by_similarity() -> None:
    answers, pattern = run(softmax_kernel(DIMENSION, EXAMPLES, SHARPNESS), TOKENS)
    for prompt, answer, row in zip(TOKENS.astype(float), answers, pattern, strict=True):
        weight = np.exp(SHARPNESS * prompt[:-1, :-1] @ prompt[-1, :-1])
        weight /= weight.sum()
        np.testing.assert_allclose(row, [*weight, 0], atol=1e-6)
        np.testing.assert_allclose(answer, weight @ prompt[:-1, -1], atol=1e-5)


def test_on_inputs_of_one_norm_it_is_gaussian_and_its_limit_the_nearest_example() -> None:
    smooth, pattern = run(softmax_kernel(DIMENSION, EXAMPLES, SHARPNESS), SPHERE)
    copied, sharp = run(nearest_example(DIMENSION, EXAMPLES), SPHERE)
    for index, prompt in enumerate(SPHERE.astype(float)):
        distance = ((prompt[:-1, :-1] - prompt[-1, :-1]) ** 2).sum(-1)
        weight = np.exp(-distance * SHARPNESS / 2)
        np.testing.assert_allclose(pattern[index, :-1], weight / weight.sum(), atol=1e-6)
        np.testing.assert_allclose(smooth[index], weight @ prompt[:-1, -1] / weight.sum(), atol=1e-5)
        np.testing.assert_allclose(sharp[index], np.eye(EXAMPLES + 1)[distance.argmin()], atol=1e-6)
        np.testing.assert_allclose(copied[index], prompt[distance.argmin(), -1], atol=1e-6)


def test_the_construction_is_a_point_of_the_trainable_model() -> None:
    model, params = softmax_kernel(DIMENSION, EXAMPLES, SHARPNESS)
    trainable = Model(one_layer_config(DIMENSION, EXAMPLES, attention="softmax"))
    assert model == trainable
    shapes = jax.eval_shape(trainable.init, jax.random.key(0))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, shapes)
