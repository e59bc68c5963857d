"""Position schemes are their formulas, written again in plain numpy, and those without a table serve any length."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models import Model, TransformerConfig, capture

TOKENS, CHANNELS, HEADS, SIZE = 6, 3, 2, 4
INPUTS = jax.random.normal(jax.random.key(1), (2, TOKENS, CHANNELS))
SITES = ("0.resid_pre", "0.q", "0.k", "0.scores", "0.pattern", "0.z")


def build(positions: str, mask: str = "causal") -> tuple[Model, dict]:
    config = TransformerConfig(
        channels=CHANNELS, tokens=TOKENS, heads=HEADS, width=HEADS * SIZE, mlp=0, mask=mask,
        positions=positions, initial_scale=2.0,
    )  # fmt: skip
    model = Model(config)
    return model, jax.jit(model.init)(jax.random.key(0))


def plain_scores(positions: str, q: np.ndarray, k: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """Scores before the mask, one prompt, head, token and key after another; rotations as complex numbers."""
    scores = np.zeros((*q.shape[:3], k.shape[2]))
    for prompt, head, t, s in np.ndindex(*scores.shape):
        query, key = q[prompt, head, t] / math.sqrt(SIZE), k[prompt, head, s]
        if positions == "rotary":
            turns = np.array([np.exp(1j * (s - t) * 10_000 ** (-2 * i / SIZE)) for i in range(SIZE // 2)])
            query, turned = query[:2] + 1j * query[2:], (key[:2] + 1j * key[2:]) * turns
            scores[prompt, head, t, s] = (query.conj() * turned).real.sum()
            continue
        if table is not None:
            key = key + table[max(t - s, 0), head]
        scores[prompt, head, t, s] = query @ key
        if positions == "alibi":
            scores[prompt, head, t, s] -= 2.0 ** (-8 * (head + 1) / HEADS) * abs(t - s)
    return scores


@pytest.mark.parametrize(
    ("positions", "mask"),
    [
        ("none", "causal"),
        ("sinusoidal", "causal"),
        ("rotary", "causal"),
        ("rotary", "full"),
        ("alibi", "causal"),
        ("alibi", "full"),
        ("relative", "causal"),
    ],
)
def test_attention_is_the_formula_in_plain_numpy(positions: str, mask: str) -> None:
    model, params = build(positions, mask)
    _, found = jax.jit(lambda p: capture(model, p, INPUTS, (*SITES, "0.v")))(params)
    stream, q, k, scores, pattern, z, v = (np.asarray(found[site], np.float64) for site in (*SITES, "0.v"))
    embed = params["embed"]
    embedded = np.asarray(INPUTS @ embed["kernel"] + embed["bias"], np.float64)
    if positions == "sinusoidal":
        for t, channel in np.ndindex(TOKENS, HEADS * SIZE):
            angle = t / 10_000 ** ((channel - channel % 2) / (HEADS * SIZE))
            embedded[:, t, channel] += math.cos(angle) if channel % 2 else math.sin(angle)
    np.testing.assert_allclose(stream, embedded, atol=1e-5)
    table = None
    if positions == "relative":
        table = 30 * np.asarray(params["layers"]["0"]["attention"]["distances"], np.float64).reshape(-1, HEADS, SIZE)
        params["layers"]["0"]["attention"]["distances"] *= 30  # they begin too small to be seen
        _, found = jax.jit(lambda p: capture(model, p, INPUTS, SITES))(params)
        scores, pattern, z = (np.asarray(found[site], np.float64) for site in SITES[3:])
    expected = plain_scores(positions, q, k, table)
    seen = np.tri(TOKENS) if mask == "causal" else np.ones((TOKENS, TOKENS))
    visible = seen.astype(bool)
    np.testing.assert_allclose(scores[..., visible], expected[..., visible], atol=1e-5)
    weights = np.exp(expected) * seen
    weights /= weights.sum(-1, keepdims=True)
    np.testing.assert_allclose(pattern, weights, atol=1e-5)
    np.testing.assert_allclose(z, weights @ v, atol=1e-5)
    if positions in ("rotary", "alibi", "relative"):  # and it is not what attention without positions does
        assert np.abs(expected - plain_scores("none", q, k, None))[..., visible].max() > 0.05


def test_scores_between_equal_tokens_depend_on_their_distance_only() -> None:
    model, params = build("rotary")
    same = jnp.tile(INPUTS[:, :1], (1, TOKENS, 1))
    _, found = jax.jit(lambda p: capture(model, p, same, ["0.scores"]))(params)
    scores = np.asarray(found["0.scores"])
    for distance in range(-TOKENS + 1, TOKENS):
        on_diagonal = np.diagonal(scores, -distance, axis1=-2, axis2=-1)
        np.testing.assert_allclose(on_diagonal, np.broadcast_to(on_diagonal[..., :1], on_diagonal.shape), atol=1e-5)
    assert np.ptp(scores[..., -1, :], axis=-1).min() > 0.05


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "rotary", "alibi"])
def test_schemes_without_a_table_serve_longer_sequences_and_answer_their_beginning_alike(positions: str) -> None:
    model, params = build(positions)
    longer = jnp.concatenate([INPUTS, INPUTS[:, ::-1]], axis=1)
    reads = (slice(None), slice(1, None, 2))
    first, all_of_it, some = jax.jit(
        lambda p: (model.apply(p, INPUTS), *(model.apply(p, longer, read=read) for read in reads))
    )(params)
    assert all_of_it.shape[1] == 2 * TOKENS
    np.testing.assert_allclose(all_of_it[:, :TOKENS], first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(some, all_of_it[:, 1::2], rtol=1e-5, atol=1e-5)  # rows read alone keep their positions


@pytest.mark.parametrize("positions", ["learned", "relative"])
def test_schemes_with_a_table_refuse_longer_sequences(positions: str) -> None:
    model, params = build(positions)
    with pytest.raises(ValueError, match=f"12 tokens are more than tokens = 6 {positions} positions"):
        model.apply(params, jnp.concatenate([INPUTS, INPUTS], axis=1))
