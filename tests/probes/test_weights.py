"""Weights against the construction: what changes no answer changes no cosine."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import pairs

from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig, one_layer_config, one_step_gd
from icl_lab.probes.inside.weights import interpolated, interpolation_losses, products, weight_cosine

PROMPTS = pairs(3, 4, 32)
MODEL, BUILT = one_step_gd(3, 4, 0.7)
CONSTRUCTION = TransformerLearner(BUILT, MODEL, Paired())


def squared_error(learner: TransformerLearner) -> float:
    errors = jax.jit(lambda learner: learner(PROMPTS).mean - PROMPTS.y)(learner)
    return float(np.square(np.asarray(errors)[:, -1]).mean())


def disguised() -> TransformerLearner:
    """The construction in another basis, its scale and sign moved from one product to the other, unused entries set."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0].astype(np.float32)
    kernel = {name: np.asarray(part["kernel"]) for name, part in BUILT["layers"]["0"]["attention"].items()}
    query = kernel["query"].copy()
    query[3, :3] = 0.4  # the query's label channel is 0
    output = kernel["output"].copy()
    output[0, 0] = 0.9  # channels that nobody reads
    moved = {
        "query": -3.0 * query @ turn,
        "key": kernel["key"] @ turn,
        "value": kernel["value"],
        "output": -output / 3.0,
    }
    params = {"layers": {"0": {"attention": {name: {"kernel": jnp.asarray(part)} for name, part in moved.items()}}}}
    return TransformerLearner(params, MODEL, Paired())


def test_the_construction_in_disguise_is_recognised():
    found = weight_cosine(disguised(), BUILT)
    assert float(found["qk"]) == pytest.approx(1, abs=1e-5)
    assert float(found["vo"]) == pytest.approx(1, abs=1e-5)
    flipped = dataclasses.replace(disguised(), params=jax.tree.map(lambda leaf: leaf, disguised().params))
    flipped.params["layers"]["0"]["attention"]["output"]["kernel"] *= -1
    assert float(weight_cosine(flipped, BUILT)["vo"]) == pytest.approx(-1, abs=1e-5)


def test_random_weights_are_not():
    model = Model(one_layer_config(3, 4))
    learner = TransformerLearner(jax.jit(model.init)(jax.random.key(4)), model, Paired())
    found = weight_cosine(learner, BUILT)
    assert max(abs(float(value)) for value in found.values()) < 0.9


def test_the_line_to_the_construction_keeps_the_loss_of_a_disguise_and_has_the_right_ends():
    shares = jnp.array([0.0, 0.5, 1.0])
    best = squared_error(CONSTRUCTION)
    np.testing.assert_allclose(interpolation_losses(disguised(), BUILT, PROMPTS, shares), best, rtol=1e-4)
    other = dataclasses.replace(CONSTRUCTION, params=jax.tree.map(lambda leaf: 1.5 * leaf, BUILT))
    along = np.asarray(interpolation_losses(other, BUILT, PROMPTS, shares))
    own = squared_error(other)
    np.testing.assert_allclose(along[[0, 2]], [own, best], rtol=1e-4)
    assert abs(own - best) > 0.05
    halfway = products(MODEL, interpolated(other, BUILT, 0.5).params)
    np.testing.assert_allclose(halfway["qk"], products(MODEL, BUILT)["qk"], atol=1e-6)
    np.testing.assert_allclose(halfway["vo"], (1 + 1.5**4) / 2 * products(MODEL, BUILT)["vo"], rtol=1e-5)


@pytest.mark.parametrize(("change", "named"), [({"heads": 2}, "heads: 2"), ({"layers": 2}, "layers: 2")])
def test_other_models_are_errors(change, named):
    model = Model(one_layer_config(3, 4, **change))
    with pytest.raises(ValueError, match=rf"{named} cannot be compared with the construction's 1"):
        products(model, {})
    with pytest.raises(ValueError, match=r"attention: 'softmax' cannot be compared"):
        products(Model(TransformerConfig(channels=4, tokens=5)), {})
