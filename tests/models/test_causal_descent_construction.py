"""Causal gradient descent in hand-set weights, against a loop over layers and tokens."""

import jax
import numpy as np
import pytest

from icl_lab.models import capture
from icl_lab.models.constructions import causal_gd

DIMENSION, EXAMPLES, RATE = 2, 5, 0.7


def descend(x: np.ndarray, y: np.ndarray, steps: int, causal: bool = True) -> float:
    """Answer at the query, the last token, when example j sees examples 0..j (or all of them)."""
    last = len(x) - 1
    answers = np.zeros(last + 1)
    for _ in range(steps):
        before = answers.copy()
        for j in range(last + 1):
            seen = range(j + 1) if causal and j < last else range(last)
            answers[j] += RATE / len(seen) * sum((y[i] - before[i]) * (x[i] @ x[j]) for i in seen)
    return answers[last]


@pytest.mark.parametrize("steps", [1, 3])
def test_each_layer_is_a_step_in_which_examples_know_what_came_before(steps: int) -> None:
    tokens = np.random.default_rng(steps).normal(size=(6, EXAMPLES + 1, DIMENSION + 1)).astype(np.float32)
    tokens[:, -1, -1] = 0
    model, params = causal_gd(DIMENSION, EXAMPLES, RATE, steps)
    assert model.config.mask == "causal"
    answers, sites = jax.jit(lambda p, t: capture(model, p, t, ["0.pattern"]))(params, tokens)
    x, y = tokens[..., :-1].astype(float), tokens[..., -1].astype(float)
    expected = [descend(inputs, labels, steps) for inputs, labels in zip(x, y, strict=True)]
    found = np.asarray(answers[:, -1, 0])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    full = [descend(inputs, labels, steps, causal=False) for inputs, labels in zip(x, y, strict=True)]
    assert (np.abs(found - full).max() > 1e-2) == (steps > 1)
    alone = np.zeros((EXAMPLES + 1, EXAMPLES + 1))
    alone[-1, -1] = 1
    np.testing.assert_allclose(sites["0.pattern"][:, 0], np.broadcast_to(alone, (6, *alone.shape)), atol=1e-6)
