"""The loss looks where it should, and cutting the batch into pieces changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.formats import Interleaved, Paired
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import LinearRegression
from icl_lab.training import TrainingSettings
from icl_lab.training.objective import asked, loss_and_gradient, micro_batch

TASK = LinearRegression(dimension=2, examples=3)
PROMPTS = jax.jit(lambda: TASK.sample(jax.random.key(1), 6))()
MODEL = Model(TransformerConfig(channels=3, tokens=7, width=8, heads=2, mlp=1))
PARAMS = jax.jit(MODEL.init)(jax.random.key(0))
FORMAT = Interleaved()


def errors(params: dict) -> jax.Array:
    """Squared errors at the four positions, written independently."""
    return jnp.square(MODEL.apply(params, FORMAT.encode(PROMPTS))[:, ::2, 0] - PROMPTS.y)


def close(a: dict, b: dict) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


@pytest.mark.parametrize(("loss", "counted"), [("all", slice(0, 4)), ("last", slice(3, 4))])
def test_all_or_the_last_position_count_and_pieces_add_up(loss: str, counted: slice) -> None:
    settings = TrainingSettings(batch=6, micro_batch=2, loss=loss)

    @jax.jit
    def both(params: dict) -> tuple:
        ours = loss_and_gradient(MODEL, FORMAT, TASK.outcomes, settings, params, PROMPTS)
        return ours, jax.value_and_grad(lambda p: errors(p)[:, counted].mean())(params)

    (value, gradient), (expected, slope) = both(PARAMS)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    close(gradient, slope)


def test_answers_that_are_not_scored_do_not_count_in_any_piece() -> None:
    scored = jnp.ones((6, 4), bool).at[0].set(False).at[3, 1:].set(False).at[:, 2].set(False)

    @jax.jit
    def all_ways(params: dict) -> tuple:
        prompts = PROMPTS.replace(scored=scored)
        sizes = [TrainingSettings(batch=6, micro_batch=size) for size in (1, 6)]
        ours = [loss_and_gradient(MODEL, FORMAT, TASK.outcomes, settings, params, prompts) for settings in sizes]
        return ours, jax.value_and_grad(lambda p: jnp.where(scored, errors(p), 0.0).sum() / scored.sum())(params)

    ours, (expected, slope) = all_ways(PARAMS)
    for value, gradient in ours:
        assert float(value) == pytest.approx(float(expected), rel=1e-5)
        close(gradient, slope)


def test_asked_tokens_and_positions_have_explicit_bounds() -> None:
    everything, last = TrainingSettings(), TrainingSettings(loss="last")
    assert asked(Interleaved(), everything, 4) == (slice(0, 7, 2), slice(0, 4, 1))
    assert asked(Interleaved(), last, 4) == (slice(6, 7, 2), slice(3, 4, 1))
    assert asked(Paired(), everything, 4) == asked(Paired(), last, 4) == (slice(3, 4, 1), slice(3, 4, 1))


def test_pieces_fit_the_cache_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = Model(TransformerConfig(channels=9, tokens=31, width=64, heads=4))
    settings = TrainingSettings(batch=256)
    assert micro_batch(settings, wide, 31) == 32
    assert micro_batch(settings, MODEL, 7) == 256
    assert micro_batch(TrainingSettings(batch=254), wide, 31) == 2
    assert micro_batch(TrainingSettings(batch=256, micro_batch=64), wide, 31) == 64
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert micro_batch(settings, wide, 31) == 256
