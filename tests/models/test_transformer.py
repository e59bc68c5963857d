"""The transformer: nothing leaks, the fast path is the same function, and attention is what the docstring says."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.models import Model, TransformerConfig, capture, layers

TOKENS, CHANNELS = 7, 4
INPUTS = jax.random.normal(jax.random.key(1), (3, TOKENS, CHANNELS))


def build(**changes: object) -> tuple[Model, dict]:
    fields = {"channels": CHANNELS, "tokens": TOKENS, "layers": 2, "heads": 2, "width": 8, "mlp": 2}
    model = Model(TransformerConfig(**(fields | changes)))  # type: ignore[arg-type]
    return model, jax.jit(model.init)(jax.random.key(0))


def influence(model: Model, params: dict) -> np.ndarray:
    """|∂ answer at token t / ∂ token s|, [t, s]."""
    jacobian = jax.jit(jax.jacrev(lambda x: model.apply(params, x[None])[0, :, 0]))(INPUTS[0])
    return np.abs(jacobian).sum(-1)


@pytest.mark.parametrize(
    ("attention", "mask", "prefix"),
    [
        ("softmax", "causal", 0),
        ("linear", "causal", 0),
        ("softmax", "full", 0),
        ("softmax", "prefix", 3),
        ("linear", "prefix", 3),
        ("linear", "context", 0),
    ],
)
def test_gradients_reach_exactly_the_visible_tokens(attention: str, mask: str, prefix: int) -> None:
    expected = np.tri(TOKENS, dtype=bool)
    expected[:prefix, :prefix] = True
    expected = np.ones_like(expected) if mask == "full" else expected
    if mask == "context":  # and every token sees itself through the residual stream
        expected = np.eye(TOKENS, dtype=bool) | (np.arange(TOKENS) < TOKENS - 1)
    reached = influence(*build(attention=attention, mask=mask, prefix=prefix))
    assert (reached[expected] > 0).all()
    assert (reached[~expected] == 0).all()


def test_editing_later_tokens_changes_no_earlier_answer() -> None:
    model, params = build()
    apply = jax.jit(model.apply)
    before, after = apply(params, INPUTS), apply(params, INPUTS.at[:, 4:].add(5.0))
    assert np.array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before[:, 4:] - after[:, 4:]) > 1e-4).all()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "linear", "mlp": 0, "normalisation": "none", "mask": "full", "positions": "none"},
        {"layers": 1, "loops": 2, "width": 4, "embedding": False, "mask": "prefix", "prefix": 2, "bias": False},
    ],
    ids=["softmax", "bare linear", "looped without embedding"],
)
def test_reading_some_tokens_is_reading_all_and_slicing(changes: dict) -> None:
    model, params = build(**changes)
    reads = [slice(0, None, 2), slice(TOKENS - 1, TOKENS), slice(1, 5)]

    @jax.jit
    def answers(params: dict) -> tuple:
        fast = [model.apply(params, INPUTS, read=read) for read in reads]
        tapped = [model.apply(params, INPUTS, read=read, tap=lambda site, value: value) for read in reads]
        return model.apply(params, INPUTS), fast, tapped

    everything, fast, tapped = answers(params)
    for read, quick, slow in zip(reads, fast, tapped, strict=True):
        np.testing.assert_allclose(quick, everything[:, read], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(slow, everything[:, read], rtol=1e-5, atol=1e-6)
    assert np.std(everything) > 1e-3


def test_only_the_read_tokens_are_computed_in_the_last_layer() -> None:
    model, params = build(layers=1)

    def work(read: slice) -> float:
        compiled = jax.jit(lambda p, x: model.apply(p, x, read=read)).lower(params, INPUTS).compile()
        return compiled.cost_analysis()["flops"]

    assert work(slice(6, 7)) < 0.5 * work(slice(None))


@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_pattern_is_the_documented_function_of_queries_and_keys(attention: str) -> None:
    model, params = build(attention=attention, layers=1, mask="prefix", prefix=3)
    sites = ["0.q", "0.k", "0.v", "0.pattern", "0.z"]
    _, found = jax.jit(lambda p: capture(model, p, INPUTS, sites))(params)
    q, k, v, pattern, z = (np.asarray(found[site], np.float64) for site in sites)
    seen = np.tri(TOKENS)
    seen[:3, :3] = 1
    products = np.einsum("bhtc,bhsc->bhts", q, k)
    if attention == "softmax":
        weights = np.exp(products / np.sqrt(4)) * seen
        expected = weights / weights.sum(-1, keepdims=True)
    else:
        expected = products * seen / np.array([3, 3, 3, 4, 5, 6, 7])[:, None]
    np.testing.assert_allclose(pattern, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(z, pattern @ v, rtol=1e-4, atol=1e-6)


def test_loops_reuse_the_weights_of_a_stack_in_order() -> None:
    looped, params = build(layers=2, loops=2, mlp=0)
    stacked, _ = build(layers=4, mlp=0)
    first, second = params["layers"]["0"], params["layers"]["1"]
    apply = jax.jit(stacked.apply)
    copied = apply(params | {"layers": {"0": first, "1": second, "2": first, "3": second}}, INPUTS)
    np.testing.assert_allclose(jax.jit(looped.apply)(params, INPUTS), copied, rtol=1e-5, atol=1e-6)
    for changed in ({"0": second}, {"1": first}, {"2": second}, {"3": first}):
        layers = {"0": first, "1": second, "2": first, "3": second} | changed
        assert np.abs(apply(params | {"layers": layers}, INPUTS) - copied).max() > 1e-3


def test_without_embedding_the_answer_is_minus_the_last_channel_of_the_stream() -> None:
    model, params = build(embedding=False, width=CHANNELS)
    sites = ["1.resid_post", "0.resid_pre"]
    answers, found = jax.jit(lambda p: capture(model, p, INPUTS, sites))(params)
    np.testing.assert_array_equal(answers[..., 0], -found["1.resid_post"][..., -1])
    np.testing.assert_allclose(found["0.resid_pre"], INPUTS + params["positions"], rtol=1e-6)


def plain_standardise(x: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(
    ("ours", "plain"),
    [(layers.standardise, plain_standardise), (layers.gelu, jax.nn.gelu)],
    ids=["standardise", "gelu"],
)
def test_derivative_rules_agree_with_the_formula_in_both_modes(ours: Callable, plain: Callable) -> None:
    def all_derivatives(function: Callable, x: jax.Array) -> tuple:
        return function(x), *(derive(function)(x) for derive in (jax.jacrev, jax.jacfwd, jax.hessian))

    compare = jax.jit(lambda x: (all_derivatives(ours, x), all_derivatives(plain, x)))
    for found, expected in zip(*compare(INPUTS[0, :2]), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
        assert np.abs(expected).max() > 0.1


def test_inputs_of_the_wrong_shape_are_named() -> None:
    model, params = build()
    with pytest.raises(ValueError, match=r"inputs: shape \(3, 7, 3\) should be \[batch, token, channels = 4\]"):
        model.apply(params, INPUTS[..., :3])
    with pytest.raises(ValueError, match="14 tokens are more than tokens = 7"):
        model.apply(params, jnp.concatenate([INPUTS, INPUTS], axis=1))
    with pytest.raises(ValueError, match="1 token has no context"):
        build(mask="context")[0].apply(params, INPUTS[:, :1])
    with pytest.raises(ValueError, match="backwards"):
        model.apply(params, INPUTS, read=slice(None, None, -1))


def test_models_are_equal_by_configuration_and_so_compile_once() -> None:
    config = TransformerConfig(channels=CHANNELS, tokens=TOKENS)
    first, second, other = Model(config), Model(TransformerConfig(CHANNELS, TOKENS)), Model(TransformerConfig(3, 2))
    assert (first, hash(first)) == (second, hash(second))
    assert first != other
    traces = []

    def describe(model: Model, x: jax.Array) -> jax.Array:
        traces.append(model)
        return x + model.config.width

    jitted = jax.jit(describe, static_argnums=0)
    jitted(first, jnp.ones(())), jitted(second, jnp.ones(()))
    assert len(traces) == 1


def test_an_ensemble_is_a_vmap_over_init_and_apply() -> None:
    model, _ = build()
    keys = jax.random.split(jax.random.key(3), 2)
    params = jax.jit(jax.vmap(model.init))(keys)
    together = jax.jit(jax.vmap(model.apply, in_axes=(0, None)))(params, INPUTS)
    alone = jax.jit(lambda key: model.apply(model.init(key), INPUTS))(keys[1])
    np.testing.assert_allclose(together[1], alone, rtol=1e-5, atol=1e-6)
    assert np.abs(together[0] - together[1]).max() > 1e-2
