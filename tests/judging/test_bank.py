"""The reference bank: prompts, fits off the grid, scoring, and that nothing judged has been seen before."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planting import planted

from icl_lab.calibration.planted import between_grid_points
from icl_lab.core.prompts import Point
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import CALIBRATION, build_bank, draw_prompts
from icl_lab.judging.comparison import compare, zero_predictor
from icl_lab.judging.interpolation import Block, lagrange
from icl_lab.learners.meta import train_meta_sgd
from icl_lab.tasks import LinearRegression, Pool

# Parameters that the answers hardly depend on at some values, or only through a combination of two: the function is
# recovered, not the number.
LOOSE = {
    "damping",
    "curvature",
    "exponent",
    "penalty of kernel_ridge",
    "bandwidth of kernel_ridge",
    "rate of gd_plus_plus_2",
}


def test_regimes_are_apart_and_as_described(bank):
    assert bank.regimes == ("in_distribution", "fresh_tasks", "shifted")
    slices = list(bank.slices.values())
    assert slices[0].start == 0
    assert all(a.stop == b.start for a, b in itertools.pairwise(slices))
    assert slices[-1].stop == len(bank.prompts.y)
    latents, x = bank.prompts.latent, bank.prompts.x
    members = np.asarray(
        jax.vmap(lambda m: bank.task.draw_latent(bank.task.prior.key(m)))(jnp.arange(bank.task.prior.size))
    )
    pooled = np.isclose(latents[:, None], members[None], rtol=1e-5).all(-1).any(1)
    half = bank.slices[CALIBRATION].stop // 2
    assert pooled[:half].all()
    assert not pooled[half : bank.slices[CALIBRATION].stop].any()
    assert pooled[bank.slices["in_distribution"]].all()
    assert not pooled[bank.slices["fresh_tasks"]].any()
    spread = {name: x[rows].std() for name, rows in bank.slices.items()}
    assert spread["fresh_tasks"] == pytest.approx(1, rel=0.03)
    assert spread["shifted"] == pytest.approx(1.5, rel=0.03)


def test_no_prompt_is_there_twice(bank):
    assert len(np.unique(bank.prompts.x[:, 0], axis=0)) == len(bank.prompts.x)


def test_meta_sgd_does_not_learn_on_prompts_that_judge_it(monkeypatch):
    """`split(key)[i]` is `fold_in(key, i)`: from one seed and no stream, training and judging prompts coincide."""
    task, used = LinearRegression(dimension=2, examples=2, prior=Pool(4)), set()
    sample = LinearRegression.sample

    def recorded(self, key, *arguments, **named):
        jax.debug.callback(lambda data: used.add(tuple(np.ravel(data).tolist())), jax.random.key_data(key))
        return sample(self, key, *arguments, **named)

    monkeypatch.setattr(LinearRegression, "sample", recorded)
    jax.block_until_ready(train_meta_sgd(task, ((1, False),), updates=6, batch=8, seed=0))
    jax.effects_barrier()
    taught = set(used)
    used.clear()
    jax.block_until_ready(draw_prompts(task, 0, 8, 8)[0])
    jax.effects_barrier()
    assert len(taught) >= 6
    assert len(used) >= 3
    assert not taught & used


def test_without_a_pool_there_are_no_fresh_tasks():
    task = LinearRegression(dimension=2, examples=3)
    _, slices = draw_prompts(task, 0, 8, 8)
    assert list(slices) == [CALIBRATION, "in_distribution", "shifted"]


def test_a_fit_recovers_parameters_off_the_grid(each_bank, subtests):
    """The function within 0.1% of its size in every regime, and the parameters where they matter by themselves."""
    for name in each_bank.references:
        with subtests.test(name):
            given = between_grid_points(each_bank, name, 3, margin=0.25)
            subject = planted(each_bank, name, 3, noise=0.0)
            fit = each_bank.fit(name, subject)
            distance = each_bank.distances(subject, fit.predictions)
            zero = each_bank.distances(subject, zero_predictor(subject))
            for regime in each_bank.regimes:
                rows = each_bank.slices[regime]
                assert distance[rows].mean() < 1e-3 * zero[rows].mean()
            for parameter, value in given.items():
                if not LOOSE & {parameter, f"{parameter} of {name.removesuffix('_causal')}"}:
                    # Only references that may be certain lapse, and at which rate matters little: its grid is coarse.
                    assert fit.parameters[parameter] == pytest.approx(value, rel=0.1 if parameter == "lapse" else 0.02)
            assert fit.at_edge == ()


def test_a_fit_looks_at_calibration_prompts_only(bank):
    subject = planted(bank, "ridge", 4)
    other = np.array(subject.mean)
    other[bank.slices[CALIBRATION].stop :] = 100.0
    assert bank.fit("ridge", Point(other)).parameters == bank.fit("ridge", subject).parameters


def test_a_fit_at_the_end_of_its_grid_says_so(bank):
    assert bank.fit("gd_1", Point(np.zeros_like(bank.prompts.y))).at_edge == ("rate",)


def test_a_grid_point_that_exploded_is_left_out(bank):
    mean = bank.predictions["gd_2"].mean.copy()
    mean[-4:] = np.inf
    exploded = {**bank.predictions, "gd_2": Point(mean)}
    broken = type(bank)(**{**vars(bank), "predictions": exploded})
    subject = planted(bank, "gd_2", 5)
    assert broken.fit("gd_2", subject).parameters == bank.fit("gd_2", subject).parameters
    near_edge = broken.fit("gd_2", Point(mean[-5]))
    assert np.isfinite(near_edge.predictions.mean).all()
    np.testing.assert_allclose(near_edge.predictions.mean, mean[-5], rtol=1e-5)


def test_parameters_fitted_to_the_task_are_its_best(bank):
    """Parameters of the task minimise the distance to the outcomes: for one step that is a weighted least squares."""
    fits = bank.fit_to_task()
    assert fits["ridge"].parameters["penalty"] == pytest.approx(0.25, rel=0.6)
    rows = slice(0, bank.slices[CALIBRATION].stop // 2)
    given = bank.grids["gd_1"]["rate"][3]
    step, y, weight = bank.predictions["gd_1"].mean[3, rows] / given, bank.prompts.y[rows], 1 / bank.unit[rows]
    assert fits["gd_1"].parameters["rate"] == pytest.approx(
        (weight * step * y).sum() / (weight * step**2).sum(), rel=0.01
    )


def test_scoring_some_positions_ignores_the_others(bank):
    last = np.zeros(bank.prompts.y.shape[1], bool)
    last[-1] = True
    subject = np.array(planted(bank, "gd_1", 6).mean)
    subject[:, :-1] = np.nan
    found = compare(bank.score(last), Point(subject))
    assert np.isfinite(found.distance).all()
    assert found.references[int(found.distance.mean(0).argmin())] in ("gd_1", "linear_kernel", "preconditioned_gd_1")
    whole = compare(bank, planted(bank, "gd_1", 6))
    assert not np.allclose(found.distance, whole.distance)


def test_distances_are_mean_nats_per_position(bank):
    first, second = bank.predictions["pool_bayes"], bank.predictions["population_bayes"]
    expected = np.mean((first.mean - second.mean) ** 2 / (2 * bank.unit), axis=-1)
    np.testing.assert_allclose(bank.distances(first, second), expected, rtol=1e-5)


def test_the_same_seed_gives_the_same_bank_and_another_another():
    task = LinearRegression(dimension=2, examples=3, prior=Pool(4))
    few = {name: REFERENCES[name] for name in ("gd_1", "label_mean")}
    first, again, other = (build_bank(task, seed, 16, 16, few) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.predictions["gd_1"].mean, again.predictions["gd_1"].mean)
    assert not np.allclose(first.prompts.x, other.prompts.x)


def test_lagrange_reproduces_polynomials():
    nodes, points = np.array([0.1, 0.5, 0.7, 2.0]), np.linspace(0.1, 2.0, 7)
    np.testing.assert_allclose(lagrange(nodes, points) @ nodes**3, points**3, rtol=1e-12)
    np.testing.assert_allclose(lagrange(nodes, nodes), np.eye(4), atol=1e-12)
    np.testing.assert_array_equal(lagrange(nodes[:1], points), np.ones((7, 1)))


@pytest.mark.parametrize("centre", [(0, 0), (3, 1), (7, 2)])
def test_a_block_is_exact_for_polynomials_and_stays_in_the_grid(centre):
    grid = {"rate": np.geomspace(0.1, 3.0, 8), "width": np.geomspace(1.0, 10.0, 3)}
    rate, width = np.meshgrid(*grid.values(), indexing="ij")
    predictions = Point((rate**3 + np.log(width))[..., None, None].astype(np.float32))
    block = Block.around(grid, {"rate": 3}, np.array(centre), predictions)
    points = np.array([0.5 * (block.low + block.high), 0.9 * block.low + 0.1 * block.high])
    for point, value in zip(points, block.blend(predictions, points).mean[:, 0, 0], strict=True):
        given = block.parameters(point)
        assert value == pytest.approx(given["rate"] ** 3 + np.log(given["width"]), rel=1e-4, abs=1e-4)
        assert grid["rate"][0] <= given["rate"] <= grid["rate"][-1]
