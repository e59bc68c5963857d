"""The optimiser step is optax's, with rates that are data."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from icl_lab.training import TrainingSettings
from icl_lab.training.optimiser import descend, direction, rate

STEPS, RATE, DECAY = 20, 0.03, 0.2
START = {"a": jnp.array([1.0, -2.0]), "b": {"c": jnp.array([[0.5, 3.0]])}}


def gradient_at(params: dict) -> dict:
    """Of a bowl that is not isotropic, so that adam, sgd and clipping all differ."""
    return jax.grad(lambda p: 3 * jnp.square(p["a"]).sum() + 0.1 * jnp.power(p["b"]["c"], 4).sum())(params)


def ours(settings: TrainingSettings) -> dict:
    @jax.jit
    def step(carry: tuple, index: jax.Array, learning_rate: float, decay: float) -> tuple:
        params, state = carry
        return descend(settings, params, gradient_at(params), state, index, learning_rate, decay)

    carry = (START, direction(settings).init(START))
    for index in range(STEPS):
        carry = step(carry, index, RATE, DECAY)
    return carry[0]


def theirs(transformation: optax.GradientTransformation) -> dict:
    @jax.jit
    def step(params: dict, state: optax.OptState) -> tuple:
        update, state = transformation.update(gradient_at(params), state, params)
        return optax.apply_updates(params, update), state

    params, state = START, transformation.init(START)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params


@pytest.mark.parametrize(
    ("changes", "reference"),
    [
        ({"optimiser": "adamw"}, optax.adamw(RATE, weight_decay=DECAY)),
        ({"optimiser": "adam", "b2": 0.95}, optax.chain(optax.add_decayed_weights(DECAY), optax.adam(RATE, b2=0.95))),
        ({"optimiser": "sgd"}, optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE))),
        (
            {"optimiser": "adamw", "clip": 1.0},
            optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE, weight_decay=DECAY)),
        ),
        (
            {"optimiser": "adamw", "schedule": "cosine"},
            optax.adamw(optax.cosine_decay_schedule(RATE, STEPS), weight_decay=DECAY),
        ),
        (
            {"optimiser": "adamw", "schedule": "linear"},
            optax.adamw(optax.linear_schedule(RATE, 0.0, STEPS), weight_decay=DECAY),
        ),
    ],
    ids=["adamw", "adam", "sgd", "clipped", "cosine", "linear"],
)
def test_same_path_as_optax(changes: dict, reference: optax.GradientTransformation) -> None:
    expected = theirs(reference)
    found = ours(TrainingSettings(steps=STEPS, **changes))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected)
    assert np.abs(expected["a"] - START["a"]).min() > 0.1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0]),
        ("cosine", [1 / 3, 2 / 3, 1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0]),
    ],
)
def test_schedule_rises_to_one_and_ends_with_the_training(schedule: str, expected: list[float]) -> None:
    settings = TrainingSettings(steps=6, warmup=2, schedule=schedule)
    found = [float(rate(settings, jnp.asarray(step))) for step in range(7)]
    assert found == pytest.approx(expected, abs=1e-6)
