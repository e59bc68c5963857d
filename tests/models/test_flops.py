"""Counted operations agree with what the compiler counts, where it can."""

import jax
import jax.numpy as jnp
import pytest

from icl_lab.models import Model, TransformerConfig
from icl_lab.models.flops import performed_step_flops, step_flops

CONFIG = TransformerConfig(channels=9, tokens=31, layers=4, heads=4, width=64)


def test_the_headline_shape_by_hand() -> None:
    parameters = 4 * 12 * 64**2 + 64 * (9 + 1)
    attention = 12 * 256 * 4 * 31**2 * 64
    assert step_flops(CONFIG, 256, 31) == 6 * parameters * 256 * 31 + attention


@pytest.mark.parametrize(
    "config",
    [
        TransformerConfig(channels=9, tokens=31, layers=2, heads=2, width=64, normalisation="none"),
        TransformerConfig(
            channels=20, tokens=31, width=48, heads=2, loops=2, mlp=0, head_size=40, positions="relative"
        ),
    ],
    ids=["two layers", "looped, attention only, relative positions"],
)
@pytest.mark.parametrize("read", [slice(0, 31), slice(30, 31)], ids=["all", "last"])
def test_performed_operations_are_those_of_the_compiled_gradient(config: TransformerConfig, read: slice) -> None:
    model = Model(config)
    params = jax.eval_shape(model.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((8, 31, config.channels), jnp.float32)

    def loss(params: dict, inputs: jax.Array) -> jax.Array:
        return jnp.square(model.apply(params, inputs, read=read)).mean()

    lowered = jax.jit(jax.grad(loss)).lower(params, inputs)
    counted = performed_step_flops(config, 8, 31, read.stop - read.start)
    compiled = lowered.compile().cost_analysis()["flops"]
    assert counted <= compiled  # the compiler counts softmax, activation and sums too
    assert counted == pytest.approx(compiled, rel=0.15)
    if read.stop - read.start == 1:
        assert counted < 0.8 * step_flops(config, 8, 31)
