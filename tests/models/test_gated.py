"""GRU and LSTM compute their textbook recurrences, see no later token, and learn in context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import Interleaved
from icl_lab.models.gated import GATED_SITES, GatedConfig, GatedModel
from icl_lab.models.network import Network
from icl_lab.tasks import LinearRegression
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk

TOKENS, CHANNELS, WIDTH = 5, 3, 4
INPUTS = jax.random.normal(jax.random.key(1), (2, TOKENS, CHANNELS))


def build(kind: str) -> tuple[GatedModel, dict]:
    """Two layers with all parameters drawn, biases as well."""
    model = GatedModel(GatedConfig(channels=CHANNELS, tokens=TOKENS, outputs=2, kind=kind, layers=2, width=WIDTH))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda leaf: jnp.asarray(0.7 * rng.normal(size=leaf.shape), jnp.float32), shapes)


def logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(kind: str, params: dict, tokens: np.ndarray) -> np.ndarray:
    """The recurrence in float64, one token and one gate after another."""
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    stream = np.asarray(tokens, np.float64)
    for layer in ("0", "1"):
        inner, outer = weights["layers"][layer]["dense_i"], weights["layers"][layer]["dense_h"]
        h, c, states = np.zeros(WIDTH), np.zeros(WIDTH), []
        for u in stream:
            gate = [slice(i, i + WIDTH) for i in range(0, inner["kernel"].shape[1], WIDTH)]
            into = [u @ inner["kernel"][:, g] + inner.get("bias", np.zeros(4 * WIDTH))[g] for g in gate]
            kept = [h @ outer["kernel"][:, g] + outer.get("bias", np.zeros(4 * WIDTH))[g] for g in gate]
            if kind == "gru":
                r, z = logistic(into[0] + kept[0]), logistic(into[1] + kept[1])
                h = (1 - z) * np.tanh(into[2] + r * kept[2]) + z * h
            else:
                i, f, o = (logistic(into[g] + kept[g]) for g in (0, 1, 3))
                c = f * c + i * np.tanh(into[2] + kept[2])
                h = o * np.tanh(c)
            states.append(h)
        stream = np.array(states)
    return stream @ weights["readout"]["kernel"] + weights["readout"]["bias"]


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_answers_are_those_of_the_textbook_and_nothing_later_is_seen(kind: str) -> None:
    model, params = build(kind)
    fired: dict[str, jax.Array] = {}

    @jax.jit
    def answers(params: dict, inputs: jax.Array) -> tuple:
        def note(site: str, value: jax.Array) -> jax.Array:
            fired[site] = value
            return jnp.zeros_like(value) if site == "1.state" else value

        longer = jnp.concatenate([inputs, inputs + 1], axis=1)
        return (
            model.apply(params, inputs),
            model.apply(params, longer),
            model.apply(params, inputs, read=slice(1, None, 2)),
            model.apply(params, inputs, tap=note),
        )

    everything, longer, some, silenced = answers(params, INPUTS)
    expected = np.stack([by_hand(kind, params, tokens) for tokens in INPUTS])
    np.testing.assert_allclose(everything, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(longer[:, :TOKENS], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(some, everything[:, 1::2], atol=1e-6)
    np.testing.assert_allclose(silenced, np.broadcast_to(params["readout"]["bias"], silenced.shape), atol=1e-6)
    sizes = {"batch": 2, "token": TOKENS, "width": WIDTH}
    axes = tuple(sizes[axis] for axis in GATED_SITES["state"])
    assert {site: value.shape for site, value in fired.items()} == {"0.state": axes, "1.state": axes}
    other = {"gru": "lstm", "lstm": "gru"}[kind]
    assert np.std(expected) > 0.05
    assert isinstance(model, Network)
    assert (model, hash(model)) == (build(kind)[0], hash(build(kind)[0]))
    assert model != build(other)[0]


def test_initial_kernels_have_the_deviation_of_their_fan_in_and_biases_are_zero() -> None:
    params = jax.jit(GatedModel(GatedConfig(channels=16, tokens=3, width=64, kind="lstm")).init)(jax.random.key(0))
    layer = params["layers"]["0"]
    assert layer["dense_i"]["kernel"].std() == pytest.approx(1 / 4, rel=0.05)
    assert layer["dense_h"]["kernel"].std() == pytest.approx(1 / 8, rel=0.05)
    assert not np.asarray(layer["dense_h"]["bias"]).any()


def test_it_learns_a_regression_in_context() -> None:
    task = LinearRegression(dimension=1, examples=4, noise=0.1)
    model = GatedModel(GatedConfig(channels=2, tokens=9, width=16))
    members, settings = stack([Member(0, task, 0.02)]), TrainingSettings(steps=150, batch=32, chunk=150)
    state = init_state(model, settings, members)
    _, metrics = train_chunk(model, Interleaved(), settings, members, state, 150)
    assert np.asarray(metrics["loss"])[0, -20:].mean() < 0.75 * (1 + 0.1**2)  # E y² = τ² + σ²


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"width": 0}, "width: 0 is too small; it must be at least 1"), ({"layers": 0}, "layers: 0 is too small")],
)
def test_settings_that_make_no_sense_are_named(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GatedConfig(channels=3, tokens=5, **changes)


def test_inputs_of_the_wrong_shape_are_named() -> None:
    model, params = build("gru")
    with pytest.raises(ValueError, match=r"inputs: shape \(2, 5, 2\) should be \[batch, token, channels = 3\]"):
        model.apply(params, INPUTS[..., :2])
