"""Iterates of the implicit learner against loops and references, and the share of a change that was predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.outcomes import Real
from icl_lab.learners.gradient import unrolled_descent
from icl_lab.mechanisms.effects import explained
from icl_lab.mechanisms.implicit_descent import State, Steps, iterates, stepped


def test_the_share_foreseen():
    before, after = jnp.zeros(4), jnp.array([1.0, -1, 2, 0])
    assert float(explained(after, after, before)) == 1
    assert float(explained(after, before, before)) == 0
    # Sizes 1, 1, 4, 0 with a median of 1: weights 1/2, 1/2, 1/5, 1, a change of 1.8 and errors of 0.25 · 2.2.
    assert float(explained(after, after + 0.5, before)) == pytest.approx(1 - 0.55 / 1.8)
    exploding = jnp.array([1.0, -1, 2, 1e6])  # one prompt foreseen, which is all of the sum of squares, is one of four
    assert float(explained(exploding, jnp.array([0.0, 0, 0, 1e6]), before)) < 0.6
    assert float(explained(before, after, before)) == 0  # nothing changed, so nothing was foreseen
    assert float(explained(after * np.nan, after, before)) <= 0


def by_loops(x: np.ndarray, y: np.ndarray, steps: Steps, causal: bool) -> np.ndarray:
    """Answers to the query after every layer, example by example."""
    count, theta = len(y) - 1, np.asarray(steps.initial, float)
    examples, query = [row.copy() for row in x[:count]], x[count].copy()
    residual, answer = [y[j] - theta @ x[j] for j in range(count)], theta @ query
    found = [answer]
    for rate, curvature in zip(np.asarray(steps.rates, float), np.asarray(steps.curvature, float), strict=True):
        old, left = [row.copy() for row in examples], list(residual)
        for j in range(count):
            seen = range(j + 1) if causal else range(count)
            residual[j] -= sum((old[j] * rate) @ old[i] * left[i] for i in seen) / len(seen)
            examples[j] = old[j] - curvature * sum(old[j] @ old[i] * old[i] for i in seen) / len(seen)
        answer = answer + sum((query * rate) @ old[i] * left[i] for i in range(count)) / count
        query = query - curvature * sum(query @ old[i] * old[i] for i in range(count)) / count
        found.append(answer)
    return np.array(found)


@pytest.mark.parametrize("causal", [False, True])
def test_iterates_are_those_of_a_loop_and_of_the_references(causal):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 6))
    learned = Steps(jnp.array([0.5, -1, 0.2]), jnp.array([[0.3, 0.2, 0.5], [0.1, 0.4, 0.2]]), jnp.array([0.2, 0.1]))
    found = jax.jit(iterates, static_argnums=3)(learned, jnp.asarray(x), jnp.asarray(y), causal)
    for row in range(2):
        np.testing.assert_allclose(found.answer[:, row], by_loops(x[row], y[row], learned, causal), atol=1e-5)
    plain = Steps(jnp.zeros(3), 0.3 * jnp.ones((2, 3)), jnp.array([0.2, 0.2]))
    ours = iterates(plain, jnp.asarray(x), jnp.asarray(y), causal).answer[-1]
    theirs = unrolled_descent(
        Real(), jnp.asarray(x), jnp.asarray(y)[..., None], jnp.zeros((3, 1)), plain.rates, 0.2, causal
    )
    np.testing.assert_allclose(ours, theirs[:, -1, 0], atol=1e-5)


def test_a_step_of_size_zero_changes_nothing():
    state = State(jnp.ones((1, 4, 2)), jnp.arange(4.0)[None], jnp.ones((1, 2)), jnp.ones(1))
    after = stepped(state, jnp.zeros(2), jnp.zeros(()), False)
    for old, new in zip(state, after, strict=True):
        np.testing.assert_array_equal(old, new)
