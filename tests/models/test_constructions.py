"""Hand-set weights compute the formula they claim."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models import Model, one_layer_config, one_step_gd

DIMENSION, EXAMPLES = 3, 6


def prompts(examples: int = EXAMPLES) -> tuple[np.ndarray, np.ndarray, jax.Array]:
    """Inputs, labels and paired tokens; the query's own label channel is zero."""
    draws = np.random.default_rng(0).normal(size=(4, examples + 1, DIMENSION + 1)).astype(np.float32)
    draws[:, -1, -1] = 0.0
    return draws[..., :-1].astype(np.float64), draws[..., -1].astype(np.float64), jnp.asarray(draws)


def descend(x: np.ndarray, y: np.ndarray, matrix: np.ndarray, steps: int) -> np.ndarray:
    """Gradient descent on the weights, written independently: w += A·(1/n) Σ (y_i − w·x_i) x_i."""
    answers = []
    for inputs, labels in zip(x, y, strict=True):
        weights = np.zeros(DIMENSION)
        for _ in range(steps):
            weights = weights + matrix @ inputs[:-1].T @ (labels[:-1] - inputs[:-1] @ weights) / (len(inputs) - 1)
        answers.append(inputs[-1] @ weights)
    return np.array(answers)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_linear_attention_descends_the_gradient(steps: int) -> None:
    x, y, tokens = prompts()
    model, params = one_step_gd(DIMENSION, EXAMPLES, 0.7, steps=steps)
    answers = model.apply(params, tokens, read=slice(EXAMPLES, EXAMPLES + 1))[:, 0, 0]
    np.testing.assert_allclose(answers, descend(x, y, 0.7 * np.eye(DIMENSION), steps), rtol=1e-5, atol=1e-6)


def test_a_matrix_as_learning_rate_preconditions() -> None:
    x, y, tokens = prompts()
    matrix = np.array([[0.5, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.3, 0.4]])
    model, params = one_step_gd(DIMENSION, EXAMPLES, jnp.asarray(matrix, jnp.float32), steps=2)
    answers = model.apply(params, tokens)[:, -1, 0]
    np.testing.assert_allclose(answers, descend(x, y, matrix, 2), rtol=1e-5, atol=1e-6)
    assert np.abs(answers - descend(x, y, matrix.T, 2)).max() > 1e-2


def test_another_number_of_examples_is_the_same_algorithm() -> None:
    x, y, tokens = prompts(examples=4)
    model, params = one_step_gd(DIMENSION, EXAMPLES, 0.7, steps=2)
    answers = model.apply(params, tokens)[:, -1, 0]
    np.testing.assert_allclose(answers, descend(x, y, 0.7 * np.eye(DIMENSION), 2), rtol=1e-5, atol=1e-6)


def test_gd_plus_plus_transforms_all_inputs_between_steps() -> None:
    x, y, tokens = prompts()
    model, params = one_step_gd(DIMENSION, EXAMPLES, 0.7, steps=2, gamma=0.05)
    answers = model.apply(params, tokens)[:, -1, 0]
    expected = []
    for inputs, labels in zip(x, y, strict=True):
        residuals, answer = labels[:-1].copy(), 0.0
        for _ in range(2):
            kernel = inputs @ inputs[:-1].T
            moved = inputs - 0.05 * inputs @ inputs[:-1].T @ inputs[:-1]
            answer = answer + 0.7 / EXAMPLES * kernel[-1] @ residuals
            residuals = residuals - 0.7 / EXAMPLES * kernel[:-1] @ residuals
            inputs = moved
        expected.append(answer)
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(answers - descend(x, y, 0.7 * np.eye(DIMENSION), 2)).max() > 1e-2
    with pytest.raises(ValueError, match=r"gamma: 0.1 needs a scalar learning_rate"):
        one_step_gd(DIMENSION, EXAMPLES, jnp.eye(DIMENSION), gamma=0.1)


def test_the_construction_is_a_point_of_the_trainable_model() -> None:
    model, params = one_step_gd(DIMENSION, EXAMPLES, 0.7)
    trainable = Model(one_layer_config(DIMENSION, EXAMPLES))
    assert model == trainable
    expected = jax.tree.map(jnp.shape, trainable.init(jax.random.key(0)))
    assert jax.tree.map(jnp.shape, params) == expected
