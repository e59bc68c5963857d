"""Scores of attention heads on patterns made by hand."""

import jax.numpy as jnp
import numpy as np

from icl_lab.probes import prefix_matching, previous_token

SYMBOLS = jnp.array([[2, 0, 3, 2, 0], [1, 1, 1, 0, 2]])


def pattern(*pays: tuple[int, int, int]) -> np.ndarray:
    """[batch, head, token, token_key] of one head: prompt and token → the token it looks at; others at themselves."""
    found = np.tile(np.eye(5), (2, 1, 1, 1))
    for prompt, token, key in pays:
        found[prompt, 0, token] = np.eye(5)[key]
    return found


def test_a_perfect_induction_head_scores_one():
    """Tokens 3 and 4 of the first prompt and 1 and 2 of the second have earlier occurrences."""
    perfect = pattern((0, 3, 1), (0, 4, 2), (1, 1, 1), (1, 2, 1))
    assert float(prefix_matching(jnp.asarray(perfect), SYMBOLS)[0]) == 1
    half = pattern((0, 3, 1), (0, 4, 0), (1, 1, 0), (1, 2, 2))
    assert float(prefix_matching(jnp.asarray(half), SYMBOLS)[0]) == 0.5  # in 1 1 1 a token follows itself


def test_a_head_that_copies_its_own_symbol_does_not_match_prefixes():
    same = pattern((0, 3, 0), (0, 4, 1), (1, 1, 0), (1, 2, 0))
    assert float(prefix_matching(jnp.asarray(same), SYMBOLS)[0]) == 0


def test_previous_token():
    back = np.tile(np.eye(5, k=-1), (2, 1, 1, 1))
    assert float(previous_token(jnp.asarray(back))[0]) == 1
    assert float(previous_token(jnp.asarray(pattern()))[0]) == 0


def test_layers_lead():
    both = jnp.stack([jnp.asarray(pattern()), jnp.tile(jnp.eye(5, k=-1), (2, 1, 1, 1))])
    np.testing.assert_array_equal(previous_token(both), [[0], [1]])
    assert prefix_matching(both, SYMBOLS).shape == (2, 1)
