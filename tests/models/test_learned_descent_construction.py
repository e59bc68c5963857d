"""Gradient steps from a learned start with learned sizes, in hand-set weights, against a loop over steps."""

import jax
import numpy as np

from icl_lab.models.constructions import learned_descent

EXAMPLES = 5
INITIAL = np.array([1.0, -0.5, 2.0])
RATES = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.4]])


def test_steps_of_learned_sizes_start_at_learned_weights() -> None:
    tokens = np.random.default_rng(0).normal(size=(6, EXAMPLES + 1, 4)).astype(np.float32)
    tokens[:, -1, -1] = 0
    model, params = learned_descent(EXAMPLES, INITIAL, RATES)
    apply = jax.jit(model.apply)
    expected = []
    for x, y in zip(tokens[..., :-1].astype(float), tokens[..., -1].astype(float), strict=True):
        weights = INITIAL
        for rates in RATES:
            weights = weights + rates * (x[:-1].T @ (y[:-1] - x[:-1] @ weights)) / EXAMPLES
        expected.append(weights @ x[-1])
    np.testing.assert_allclose(apply(params, tokens)[:, -1, 0], expected, atol=1e-5)
    # Without examples to learn from, labels that the start explains already, the answer is the start's.
    tokens[:, :-1, -1] = tokens[:, :-1, :-1] @ INITIAL
    np.testing.assert_allclose(apply(params, tokens)[:, -1, 0], tokens[:, -1, :-1] @ INITIAL, atol=1e-5)
