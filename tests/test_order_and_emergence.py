"""The measures of two experiments, by hand: orders, lengths and distances; transitions that come, and that do not."""

import importlib.util
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from tiny_transformer import pairs

from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.tasks import LinearRegression


def script(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "experiments" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORDER, EMERGENCE = script("order_and_positions"), script("scale_and_emergence")


def test_there_are_all_orders_and_the_query_stays_last():
    prompts = pairs(dimension=1, examples=3, batch=2)
    orders = ORDER.all_orders(prompts)
    assert orders.y.shape == (6, 2, 4)
    assert len({tuple(row) for row in np.asarray(orders.y[:, 0])}) == 6
    np.testing.assert_array_equal(orders.y[..., -1], np.broadcast_to(prompts.y[:, -1], (6, 2)))
    np.testing.assert_array_equal(np.sort(orders.y[:, 0, :-1], axis=1), np.tile(np.sort(prompts.y[0, :-1]), (6, 1)))
    np.testing.assert_array_equal(orders.x[0], prompts.x)


@pytest.mark.parametrize(("layers", "positions"), [(1, "none"), (2, "none"), (1, "alibi")])
def test_one_causal_layer_without_positions_cannot_tell_orders_apart_and_others_can(layers, positions):
    config = TransformerConfig(3, 4, layers=layers, heads=2, width=8, mlp=2, positions=positions, initial_scale=2.0)
    model, task = Model(config), LinearRegression(dimension=2, examples=3)
    learner = TransformerLearner(jax.jit(model.init)(jax.random.key(0)), model, Paired())
    given = pairs(dimension=2, examples=3, batch=4)
    asked = (ORDER.all_orders(given), jnp.ones(4))
    found = ORDER.order_dependence(learner, task, asked, jnp.zeros((6, 4, 1)))
    invariant = (layers, positions) == (1, "none")
    assert (found["change"] <= 1e-5) == invariant
    assert (found["variance"] > 1e-6) != invariant
    answers = np.asarray(jax.vmap(learner)(asked[0]).mean)[..., -1]
    assert float(found["variance"]) == pytest.approx(answers.var(0).mean() / 2, abs=1e-9, rel=1e-3)
    assert float(found["distance"]) == pytest.approx(np.square(answers).mean() / 2, rel=1e-3)


def test_distances_of_influence_leave_out_the_query_and_prompts_that_nothing_moves():
    influence = jnp.array([[1.0, 0, 0, 7.0], [0, 0, -2.0, 9.0], [0, 0, 0, 5.0]])
    # N = 4: the first outcome is four transitions back, the third two; the last is the query's own input
    assert float(ORDER.mean_distance(influence)) == pytest.approx((4 + 2) / 2)


def test_lengths_are_looked_at_just_before_their_end_or_not_at_all():
    curve = [0.0] * 4 + [1.0] * 4 + [2.0] * 8
    assert [ORDER.at_length(curve, 4, times) for times in (1, 2, 4)] == [0.0, 1.0, 2.0]
    assert np.isnan(ORDER.at_length(curve[:4], 4, 2))


def test_claims_about_lengths_compare_seed_by_seed_and_say_what_cannot_be_asked():
    curves = {"alibi": [[0.1] * 8, [0.2] * 8], "rotary": [[0.3] * 8, [0.1] * 8], "learned": [[0.1] * 2] * 2}
    distances = {"alibi": [1.0, 2.0], "rotary": [5.0, 5.0], "learned": [2.0, 3.0]}
    found = {name: {"curves": curves[name], "distances": distances[name]} for name in curves}
    claims = {claim.id: claim for claim in ORDER.length_claims(found, 2)}
    assert not claims["length.alibi_rotary"].holds
    assert claims["length.alibi_rotary"].measured.startswith("1 of 2 members")
    assert "length.alibi_sinusoidal" not in claims
    assert claims["influence.alibi_learned"].holds
    assert "cannot be asked" in claims["length.learned"].statement


def chains(layers, width, pool, crosses):
    """A subject of one seed whose excess falls below half of the uniform answer's at a step, or never."""
    steps = [0, 10, 40, 50, 100]
    excess = [[0.2 if step < crosses else 0.05 for step in steps]]
    row = np.full((1, len(steps)), 1.0)
    return xarray.Dataset(
        {"excess": (("member", "step"), excess), "uniform": (("member", "step"), 0.2 * row)},
        {"step": steps, "pool": ("member", [pool])},
        {"model_layers": layers, "model_width": width},
    ).assign(unigram=(("member", "step"), 0.13 * row))


def scale_claims(*subjects):
    found = {str(index): chains(*subject) for index, subject in enumerate(subjects)}
    return {claim.id: claim for claim in EMERGENCE.claims(found)}


def test_claims_about_scale_compare_depths_and_widths_at_the_largest_pool():
    deep, narrow, small = (2, 32, 64, 40), (2, 8, 64, np.inf), (2, 32, 4, np.inf)
    claims = scale_claims((1, 32, 64, np.inf), deep, narrow, small)
    assert all(claims[key].holds for key in ("criterion", "depth.1", "depth.2", "width"))
    assert claims["transition.2_32_64"].values == (40,)
    assert claims["transition.2_32_4"].measured == "inf (finally 1.00)"
    assert not scale_claims((1, 32, 64, 50), deep, narrow)["depth.1"].holds  # one layer passes
    assert not scale_claims((1, 32, 64, np.inf), deep, (2, 8, 64, 10))["width"].holds  # the narrow one is first
    assert not scale_claims((1, 32, 64, np.inf), (2, 32, 64, np.inf), narrow)["depth.2"].holds
