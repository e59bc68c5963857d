"""Delta-rule networks compute the recurrence they claim, see no later token, and learn."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from icl_lab.formats import Interleaved, Paired
from icl_lab.learners.gradient import gradient_descent
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.models.network import Network
from icl_lab.models.recurrent import RECURRENT_SITES, DeltaRuleConfig, DeltaRuleModel, online_gd
from icl_lab.tasks import LinearRegression
from icl_lab.training import Member, TrainingSettings, init_state, stack, train_chunk

TOKENS, CHANNELS = 7, 3
INPUTS = jax.random.normal(jax.random.key(1), (4, TOKENS, CHANNELS)).at[:, 2].set(0.0)  # a token of zeros, too
DIMENSION, EXAMPLES = 3, 6
TASK = LinearRegression(dimension=DIMENSION, examples=EXAMPLES, noise=0.3)
PROMPTS = jax.jit(lambda: TASK.sample(jax.random.key(2), 5))()


def build(**changes: object) -> tuple[DeltaRuleModel, dict]:
    """A model with all parameters drawn, those that begin at zero as well."""
    fields = {"channels": CHANNELS, "tokens": TOKENS, "outputs": 2, "key_size": 3, "value_size": 4}
    model = DeltaRuleModel(DeltaRuleConfig(**(fields | changes)))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return model, jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape), jnp.float32), shapes)


def by_hand(config: DeltaRuleConfig, params: dict, inputs: np.ndarray) -> np.ndarray:
    """The recurrence in float64, one prompt and one token after another."""
    weights = {name: np.asarray(value, np.float64) for name, value in params.items()}
    answers = np.zeros((*inputs.shape[:2], config.outputs))
    for prompt, tokens in enumerate(np.asarray(inputs, np.float64)):
        state = weights.get("initial", np.zeros((config.value_size, config.key_size))).copy()
        for t in range(len(tokens)):
            if t % config.mini_batch == 0:
                anchor = state.copy()
            earlier = [tokens[t - back] if t >= back else np.zeros(CHANNELS) for back in range(config.window)]
            seen = np.concatenate(earlier)
            q, k, v = seen @ weights["query"], seen @ weights["key"], seen @ weights["value"]
            if config.normalised:
                q, k = (x / np.linalg.norm(x) if np.any(x) else x for x in (q, k))
            beta = config.beta
            if config.step == "learned":
                beta = np.exp(weights["log_beta"])
            if config.step == "gated":
                beta = 2 * config.beta / (1 + np.exp(-(seen @ weights["gate"] + weights["gate_bias"])))
            before, state = state, state + beta * np.outer(v - anchor @ k, k)
            answers[prompt, t] = ((before if config.order == "read_write" else state) @ q) @ weights["readout"]
    return answers


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "learned", "window": 2},
        {"step": "gated", "mini_batch": 3, "normalised": True},
        {"step": "fixed", "initial_state": "zero", "mini_batch": TOKENS, "order": "read_write", "beta": 0.3},
    ],
    ids=["delta rule", "gated, normalised, in mini-batches", "fixed, from zero, one batch"],
)
def test_answers_are_those_of_the_recurrence(changes: dict) -> None:
    model, params = build(**changes)
    assert ("initial" in params) == (changes.get("initial_state") != "zero")
    assert {"log_beta", "gate"} & set(params) == {"learned": {"log_beta"}, "gated": {"gate"}}.get(
        changes["step"], set()
    )
    everything, some = jax.jit(lambda p, x: (model.apply(p, x), model.apply(p, x, read=slice(1, None, 2))))(
        params, INPUTS
    )
    expected = by_hand(model.config, params, INPUTS)
    np.testing.assert_allclose(everything, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(some, everything[:, 1::2])
    assert np.std(expected) > 0.05
    for other in ({"mini_batch": 1}, {"mini_batch": 3}, {"order": "read_write"}, {"order": "write_read"}):
        if all(getattr(model.config, name) != value for name, value in other.items()):
            config = DeltaRuleConfig(**(vars(model.config) | other))
            assert np.abs(by_hand(config, params, INPUTS) - expected).max() > 1e-2


def sequential(start: np.ndarray, rate: float) -> np.ndarray:
    """ŷ of online gradient descent at the last query, by the textbook loop."""
    x, y = np.asarray(PROMPTS.x, np.float64), np.asarray(PROMPTS.y, np.float64)
    found = []
    for inputs, labels in zip(x, y, strict=True):
        weights = start.copy()
        for features, label in zip(inputs[:-1], labels[:-1], strict=True):
            weights = weights - rate * (weights @ features - label) * features
        found.append(weights @ inputs[-1])
    return np.array(found)


@pytest.mark.parametrize("start", [np.zeros(DIMENSION), np.array([1.0, -0.5, 2.0])], ids=["from zero", "from W_0"])
def test_hand_set_weights_are_online_gradient_descent_and_in_one_batch_a_single_step(start: np.ndarray) -> None:
    initial = jnp.asarray(start, jnp.float32) if start.any() else None
    answers = {}
    for mini_batch in (1, EXAMPLES):
        model, params = online_gd(DIMENSION, EXAMPLES, 0.1, mini_batch, initial)
        learner = RecurrentLearner(params, model, Paired())
        answers[mini_batch] = np.asarray(jax.jit(lambda learner: learner(PROMPTS))(learner).mean)
        assert np.isnan(answers[mini_batch][:, :-1]).all()
    np.testing.assert_allclose(answers[1][:, -1], sequential(start, 0.1), rtol=1e-4, atol=1e-5)
    if not start.any():
        step = gradient_descent(TASK, PROMPTS, steps=1, rate=0.1 * EXAMPLES)
        np.testing.assert_allclose(answers[EXAMPLES][:, -1], step.mean[:, -1], rtol=1e-4, atol=1e-5)
    assert np.abs(answers[1] - answers[EXAMPLES])[:, -1].max() > 1e-2


def test_hand_set_weights_are_a_point_of_the_trainable_model() -> None:
    model, params = online_gd(DIMENSION, EXAMPLES, 0.1)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0)))


def test_editing_later_tokens_changes_no_earlier_answer() -> None:
    model, params = build(step="gated", mini_batch=2, window=2)
    apply = jax.jit(model.apply)
    before, after = apply(params, INPUTS), apply(params, INPUTS.at[:, 4:].add(2.0))
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert (np.abs(before[:, 4:] - after[:, 4:]).max((0, 2)) > 1e-3).all()


def test_every_site_fires_with_its_axes_and_a_replaced_beginning_moves_all_answers() -> None:
    model, params = build()
    zero, _ = build(initial_state="zero")
    fired: dict[str, jax.Array] = {}

    def note(site: str, value: jax.Array) -> jax.Array:
        fired[site] = value
        return value

    def from_zero(site: str, value: jax.Array) -> jax.Array:
        return jnp.zeros_like(value) if site == "0.initial_state" else value

    noted, moved = model.apply(params, INPUTS, tap=note), model.apply(params, INPUTS, tap=from_zero)
    sizes = {"batch": 4, "token": TOKENS, "key": 3, "value": 4}
    expected = {f"0.{site}": tuple(sizes[axis] for axis in axes) for site, axes in RECURRENT_SITES.items()}
    assert {site: value.shape for site, value in fired.items()} == expected
    np.testing.assert_allclose(noted, model.apply(params, INPUTS), rtol=1e-5, atol=1e-6)
    without = {name: value for name, value in params.items() if name != "initial"}
    np.testing.assert_allclose(moved, zero.apply(without, INPUTS), rtol=1e-5, atol=1e-6)
    assert np.abs(moved - noted).max() > 1e-2


def test_it_learns_a_regression_and_where_to_begin() -> None:
    task = LinearRegression(dimension=2, examples=6, noise=0.1, weight_mean=1.0)
    config = DeltaRuleConfig(channels=3, tokens=13, key_size=4, value_size=2, window=2)
    model, settings = DeltaRuleModel(config), TrainingSettings(steps=60, batch=64, chunk=60)
    members = stack([Member(seed, task, 0.02) for seed in range(2)])
    state = init_state(model, settings, members)
    assert not np.asarray(state.params["initial"]).any()
    state, metrics = train_chunk(model, Interleaved(), settings, members, state, 60)
    zero = 2 * (1 + 1) + 0.1**2  # E y² = d (μ² + τ²) + σ²
    assert metrics["loss"][:, :3].mean() > 0.8 * zero
    assert (np.asarray(metrics["loss"])[:, -10:].mean(1) < 0.6 * zero).all()
    assert (np.abs(np.asarray(state.params["initial"])).max((1, 2)) > 0.1).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key_size": 0}, "key_size: 0 is too small; it must be at least 1"),
        ({"mini_batch": 0}, "mini_batch: 0 is too small; it must be at least 1"),
        ({"beta": 0.0}, "beta: 0.0 must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DeltaRuleConfig(channels=3, tokens=5, **changes)


def test_unknown_choices_list_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse first, with a page of text
    with pytest.raises(ValueError, match=r"^step: 'gate' is not known; choose one of learned, gated, fixed$"):
        DeltaRuleConfig(channels=3, tokens=5, step="gate")  # type: ignore[arg-type]


def test_models_are_networks_equal_by_configuration_and_name_wrong_inputs() -> None:
    model, params = build()
    assert isinstance(model, Network)
    assert (model, hash(model)) == (build()[0], hash(build()[0]))
    assert model != build(mini_batch=2)[0]
    with pytest.raises(ValueError, match=r"inputs: shape \(4, 7, 2\) should be \[batch, token, channels = 3\]"):
        model.apply(params, INPUTS[..., :2])
