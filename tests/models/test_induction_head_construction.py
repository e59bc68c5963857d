"""Induction heads in hand-set weights: answers and attention patterns against loops over tokens."""

import jax
import numpy as np
import pytest

from icl_lab.models import Model, Params, capture
from icl_lab.models.constructions import bigram_counts, most_recent_match

STATES, TOKENS, FLOOR = 3, 14, 1e-3
CHAINS = np.random.default_rng(0).integers(0, STATES, size=(12, TOKENS))
CHAINS[0], CHAINS[1, 1:] = 0, CHAINS[1, 0] - 1  # one state throughout; one that never comes again
SITES = ["0.pattern", "1.pattern"]


def run(built: tuple[Model, Params]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log probabilities, and the patterns of the only head of both layers."""
    model, params = built
    logits, sites = jax.jit(lambda p, t: capture(model, p, t, SITES))(params, np.eye(STATES, dtype=np.float32)[CHAINS])
    logits = np.asarray(logits, float)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return log_probs, *(np.asarray(sites[site][:, 0]) for site in SITES)


def matches(chain: np.ndarray, token: int) -> list[int]:
    """The tokens up to this one that follow an earlier visit to its state."""
    return [s for s in range(1, token + 1) if chain[s - 1] == chain[token]]


@pytest.mark.parametrize("concentration", [0.7, 1e-4])
def test_frequencies_of_what_followed(concentration: float) -> None:
    log_probs, lower, upper = run(bigram_counts(STATES, TOKENS, concentration))
    previous = np.eye(TOKENS, k=-1)
    previous[0, 0] = 1
    for index, chain in enumerate(CHAINS):
        np.testing.assert_allclose(lower[index], previous, atol=1e-6)
        for token in range(TOKENS):
            found = matches(chain, token)
            pattern = np.zeros(TOKENS)
            pattern[found] = 1
            pattern[0] = STATES * concentration
            np.testing.assert_allclose(upper[index, token], pattern / pattern.sum(), atol=1e-5)
            counts = np.bincount(chain[found], minlength=STATES) + concentration
            np.testing.assert_allclose(log_probs[index, token], np.log(counts / counts.sum()), atol=5e-5)


def test_with_a_weak_prior_attention_is_uniform_over_the_matches() -> None:
    _, _, upper = run(bigram_counts(STATES, TOKENS, 1e-4))
    for chain, pattern in zip(CHAINS, upper, strict=True):
        for token in range(TOKENS):
            if found := matches(chain, token):
                uniform = np.isin(np.arange(TOKENS), found) / len(found)
                np.testing.assert_allclose(pattern[token], uniform, atol=5e-4)


def test_the_most_recent_match_is_copied() -> None:
    log_probs, lower, upper = run(most_recent_match(STATES, TOKENS, FLOOR))
    for index, chain in enumerate(CHAINS):
        for token in range(TOKENS):
            np.testing.assert_allclose(lower[index, token], np.eye(TOKENS)[max(token - 1, 0)], atol=1e-6)
            copied = (matches(chain, token) or [token])[-1]
            np.testing.assert_allclose(upper[index, token], np.eye(TOKENS)[copied], atol=1e-6)
            share = np.where(np.arange(STATES) == chain[copied], 1.0, FLOOR) if token else np.ones(STATES)
            np.testing.assert_allclose(log_probs[index, token], np.log(share / share.sum()), atol=1e-5)


def test_no_prior_is_refused() -> None:
    with pytest.raises(ValueError, match=r"concentration: 0.0 must be above 0"):
        bigram_counts(STATES, TOKENS, 0.0)
