"""Probes of regressions on learners for which the numbers are known on paper, recomputed by numpy in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from probes.subjects import KEY, PROMPTS, TASKS, Squashed, asked, examples, measured, reference, regression

from icl_lab.probes.behaviour.battery import BATTERY, ask, read
from icl_lab.probes.behaviour.spectrum import probed_eigenvalues, spectrum
from icl_lab.tasks import Pool

PENALTY, RATE = 0.4, 0.3
START = np.array([[1.0], [-1.0], [2.0]], np.float32)


def ridge() -> object:
    return regression("ridge", penalty=PENALTY)


def weights(x: np.ndarray, penalty: float = PENALTY) -> np.ndarray:
    """(XᵀX + λI)⁻¹Xᵀ, [prompt, feature, example]."""
    moved = np.swapaxes(x, 1, 2)
    return np.linalg.solve(moved @ x + penalty * np.eye(x.shape[2]), moved)


def ridge_influence(prompts: object) -> np.ndarray:
    x, _, query = examples(prompts)
    return np.einsum("bf,bfi->bi", query, weights(x))


# -- influence ---------------------------------------------------------------------------------------------------------


def test_influence_of_ridge():
    a = ridge_influence(asked("influence", "regression"))
    found = measured("influence", "regression", ridge())
    size = np.abs(a).sum(1)
    np.testing.assert_allclose(found["negative share"], np.maximum(-a, 0).sum(1) / size, atol=1e-4)
    np.testing.assert_allclose(found["sum"], a.sum(1), atol=1e-4)
    np.testing.assert_allclose(found["concentration"], (a**2).sum(1) / size**2, atol=1e-4)
    np.testing.assert_allclose(found["recency"], np.abs(a) @ np.linspace(-1, 1, 6) / size, atol=1e-4)
    assert found["negative share"].mean() > 0.2


def test_influence_of_a_smoother_a_copier_and_one_who_does_not_listen():
    smoother = measured("influence", "regression", regression("nadaraya_watson", bandwidth=1.0))
    np.testing.assert_allclose(smoother["negative share"], 0, atol=1e-5)
    np.testing.assert_allclose(smoother["sum"], 1, atol=1e-5)
    copier = measured("influence", "regression", regression("previous_label"))
    for statistic, value in {"negative share": 0, "sum": 1, "concentration": 1, "recency": 1}.items():
        np.testing.assert_allclose(copier[statistic], value, atol=1e-5)
    deaf = measured("influence", "regression", regression("gd_1", rate=0.0))
    assert all((deaf[statistic] == 0).all() for statistic in deaf)


# -- interaction -------------------------------------------------------------------------------------------------------


def test_one_gradient_step_has_no_interaction_and_further_steps_have():
    one = measured("interaction", "regression", regression("gd_1", rate=RATE))
    assert one["turn"].max() < 1e-8
    assert one["rescaling"].max() < 1e-4
    assert measured("interaction", "regression", regression("gd_2", rate=RATE))["turn"].mean() > 1e-3


def test_a_smoother_keeps_ratios_and_not_sizes():
    found = measured("interaction", "regression", regression("nadaraya_watson", bandwidth=1.0))
    assert found["turn"].max() < 1e-8
    assert found["rescaling"].mean() > 0.02


def test_ridge_turns_its_influences():
    both, here = asked("interaction", "regression")
    a = ridge_influence(both).reshape(2, PROMPTS, 6) * ~np.asarray(here)[:, :-1]
    cosine = (a[0] * a[1]).sum(1) / np.linalg.norm(a[0], axis=1) / np.linalg.norm(a[1], axis=1)
    length = np.linalg.norm(a, axis=2)
    found = measured("interaction", "regression", ridge())
    np.testing.assert_allclose(found["turn"], 1 - cosine**2, atol=1e-4)
    np.testing.assert_allclose(found["rescaling"], np.abs(length[1] - length[0]) / length.sum(0), atol=1e-4)
    assert found["turn"].mean() > 0.01
    moved = np.any(np.asarray(both.x[:PROMPTS] != both.x[PROMPTS:]), axis=2)
    np.testing.assert_array_equal(moved, np.asarray(here))
    assert (moved.sum(1) == 1).all()


# -- labels ------------------------------------------------------------------------------------------------------------


def test_linearity_in_the_labels():
    found = measured("label_linearity", "regression", ridge())
    assert found["nonlinearity"].max() < 1e-6
    assert found["offset"].max() < 1e-6
    start = regression("meta_sgd_1", initial=START, rates=np.zeros((1, 3)), scale=1.0)
    prompts = asked("label_linearity", "regression")
    expected = np.abs(np.asarray(prompts.x[0, :, -1]) @ START[:, 0]) / np.std(prompts.y[1])
    np.testing.assert_allclose(measured("label_linearity", "regression", start)["offset"], expected, rtol=1e-4)


def squashed(prompts: object) -> np.ndarray:
    """tanh of ridge, [variant, prompt]."""
    x, y, query = examples(prompts)
    return np.stack([np.tanh(np.einsum("bf,bfi,bi->b", q, weights(a), b)) for a, b, q in zip(x, y, query, strict=True)])


def test_linearity_of_an_answer_that_is_not():
    start, first, second, both = squashed(asked("label_linearity", "regression"))
    np.testing.assert_allclose(start, 0, atol=1e-12)
    expected = (both - (first + second) / np.sqrt(2)) ** 2 / (both**2 + (first**2 + second**2) / 2)
    found = measured("label_linearity", "regression", Squashed(ridge()))
    np.testing.assert_allclose(found["nonlinearity"], expected, atol=1e-3)
    assert expected.mean() > 0.01


def test_labels_of_the_second_prompts_are_of_another_latent_and_the_third_their_sum():
    prompts = asked("label_linearity", "regression")
    zero, first, second, both = np.asarray(prompts.y, float)
    assert not zero.any()
    np.testing.assert_allclose(both, (first + second) / np.sqrt(2), atol=1e-5)
    other = np.einsum("bif,bf->bi", prompts.x[0], np.roll(prompts.latent[0], 1, axis=0))
    assert np.std(second - other) < 0.6  # the noise


def test_noise_that_cancels_moves_only_what_is_not_linear():
    found = measured("label_noise", "regression", ridge())
    assert np.abs(found["growth"]).max() < 1e-4
    before, up, down = squashed(asked("label_noise", "regression"))
    after = (up + down) / 2
    found = measured("label_noise", "regression", Squashed(ridge()))
    expected = (np.abs(after) - np.abs(before)) / (np.abs(after) + np.abs(before))
    np.testing.assert_allclose(found["growth"], expected, atol=1e-3)
    np.testing.assert_allclose(found["departure"], (after - before) ** 2 / (after**2 + before**2), atol=1e-3)
    assert found["growth"].mean() < -0.02  # saturated


# -- duplication -------------------------------------------------------------------------------------------------------


def test_a_duplicated_example_adds_up_for_one_gradient_step():
    found = measured("duplication", "regression", regression("gd_1", rate=RATE))
    prompts, _ = asked("duplication", "regression")
    once = RATE / 6 * np.square(np.asarray(prompts.x[0, :, -1], float)).sum(1)
    for copies in (1, 2, 4):
        np.testing.assert_allclose(found[f"influence of {copies}"], copies * once, rtol=1e-4)
    np.testing.assert_allclose(found["growth to 2"], 1 / 3, atol=1e-4)
    np.testing.assert_allclose(found["growth to 4"], 3 / 5, atol=1e-4)


def test_a_duplicated_example_saturates_for_ridge_and_stays_for_a_copier():
    prompts, _ = asked("duplication", "regression")
    found = measured("duplication", "regression", ridge())
    for variant, copies in enumerate((1, 2, 4)):
        x, _, query = examples(prompts)
        a = np.einsum("bf,bfi->bi", query[2 * variant], weights(x[2 * variant]))
        same = (x[2 * variant] == query[2 * variant][:, None]).all(2)
        assert (same.sum(1) == copies).all()
        np.testing.assert_allclose(found[f"influence of {copies}"], (a * same).sum(1), atol=1e-4)
    assert 0.05 < found["growth to 4"].mean() < 0.45
    copier = measured("duplication", "regression", regression("nearest_neighbour"))
    for statistic, value in zip(copier, (1, 1, 1, 0, 0), strict=True):
        np.testing.assert_allclose(copier[statistic], value, atol=1e-5)


# -- spectrum ----------------------------------------------------------------------------------------------------------


def test_the_spectrum_is_as_prescribed():
    prompts, truth = asked("spectral_filter", "regression")
    x, y, query = examples(prompts)
    gram = np.swapaxes(x[0], 1, 2) @ x[0] / 6
    expected = np.asarray(spectrum(TASKS["regression"]))
    np.testing.assert_allclose(np.linalg.eigvalsh(gram), np.tile(expected, (PROMPTS, 1)), rtol=1e-3)
    assert expected[-1] / expected[0] >= 30
    np.testing.assert_allclose(expected.sum(), 3, rtol=1e-5)
    for index, value in enumerate(np.asarray(probed_eigenvalues(TASKS["regression"]))):
        np.testing.assert_allclose(np.einsum("bfg,bg->bf", gram, query[index]), value * query[index], atol=1e-4)
        np.testing.assert_allclose(np.sqrt(np.square(y[index]).mean(1)), truth, rtol=1e-4)


@pytest.mark.parametrize("name", ["ridge", "gd_5", "newton_2"])
def test_the_filters(name):
    s = np.asarray(probed_eigenvalues(TASKS["regression"]), float)
    parameters = {"ridge": {"penalty": PENALTY}, "gd_5": {"rate": RATE}, "newton_2": {"start": 1.0}}[name]
    start = 1 / spectrum(TASKS["regression"]).sum()
    expected = {
        "ridge": s / (s + PENALTY / 6),
        "gd_5": 1 - (1 - RATE * s) ** 5,
        "newton_2": 1 - (1 - np.asarray(start) * s) ** 4,
    }[name]
    found = measured("spectral_filter", "regression", regression(name, **parameters))
    np.testing.assert_allclose(np.stack(list(found.values()), 1), np.tile(expected, (PROMPTS, 1)), atol=2e-3)


def test_a_query_orthogonal_to_the_examples():
    x, _, query = examples(asked("orthogonal_query", "regression"))
    np.testing.assert_allclose(np.einsum("bif,bf->bi", x, query), 0, atol=1e-5)
    assert np.linalg.norm(query, axis=1).min() > 0.1
    for learner in (ridge(), regression("gd_5", rate=RATE)):
        assert measured("orthogonal_query", "regression", learner)["size"].max() < 1e-4
    smoother = measured("orthogonal_query", "regression", regression("nadaraya_watson", bandwidth=1.0))
    assert smoother["size"].mean() > 0.1
    start = regression("meta_sgd_1", initial=START, rates=np.full((1, 3), RATE), scale=1.0)
    expected = np.abs(query @ START[:, 0]) / np.std(asked("orthogonal_query", "regression").y)
    np.testing.assert_allclose(measured("orthogonal_query", "regression", start)["size"], expected, rtol=1e-3)


# -- shifts ------------------------------------------------------------------------------------------------------------


def test_shifts_of_the_inputs():
    step = measured("input_shifts", "regression", regression("gd_1", rate=RATE))
    np.testing.assert_allclose(step["scale: growth"], 3 / 5, atol=1e-4)
    np.testing.assert_allclose(step["scale: departure"], 9 / 17, atol=1e-4)
    squares = measured(
        "input_shifts", "regression", regression("ridge", penalty=1e-3)
    )  # smaller penalties are rounding: the dual is ill-conditioned
    for statistic, values in squares.items():
        np.testing.assert_allclose(np.median(np.abs(values)), 0, atol=2e-3, err_msg=statistic)
    nearest = measured("input_shifts", "regression", regression("nearest_neighbour"))
    assert (nearest["scale: departure"] == 0).all()
    assert nearest["stretch: departure"].mean() > 0.05


# -- the function of the query -----------------------------------------------------------------------------------------


def test_implied_weights_of_ridge_are_its_weights():
    prompts, queries = asked("implied_weights", "regression")
    assert queries.shape[0] >= 12
    x, y, _ = examples(prompts)
    own, squares = (np.einsum("bfi,bi->bf", weights(x, penalty), y) for penalty in (PENALTY, 0.0))
    found = measured("implied_weights", "regression", ridge())
    assert found["unexplained"].max() < 1e-6
    norm, other = np.linalg.norm(own, axis=1), np.linalg.norm(squares, axis=1)
    np.testing.assert_allclose(found["norm"], norm / other, rtol=2e-3)
    np.testing.assert_allclose(found["cosine"], (own * squares).sum(1) / norm / other, atol=1e-3)
    smoother = measured("implied_weights", "regression", regression("nadaraya_watson", bandwidth=0.5))
    assert smoother["unexplained"].mean() > 0.1


# -- pools -------------------------------------------------------------------------------------------------------------


def test_retrieval_snaps_between_tasks_and_least_squares_does_not():
    """Nearly without noise, six examples of three weights: least squares finds the latent between."""
    quiet = TASKS["regression"].replace(noise=0.01, prior=Pool(2))
    probe = BATTERY["task_interpolation"]
    given = ask(probe, quiet, KEY, PROMPTS)
    prompts, ends = given
    for index, share in enumerate((0.25, 0.5, 0.75)):
        truth = np.einsum("bf,bf->b", prompts.latent[index], prompts.x[index, :, -1])
        between = (1 - share) * ends[0, index, :, 0] + share * ends[1, index, :, 0]
        np.testing.assert_allclose(truth, between, atol=1e-4)
    assert np.abs(ends[0] - ends[1]).min() > 0.1
    squares = np.asarray(read(probe, regression("ridge", penalty=1e-4), quiet, given))
    np.testing.assert_allclose(squares[:, :3], np.tile([0.25, 0.5, 0.75], (PROMPTS, 1)), atol=0.05)
    assert squares[:, 3].max() < 0.1
    retrieval = np.asarray(read(probe, reference(quiet, "pool_map"), quiet, given))
    assert np.isin(np.round(retrieval[:, :3], 3), [0, 1]).all()
    np.testing.assert_allclose(retrieval[:, 3], 1, atol=1e-3)
    assert retrieval[:, 0].mean() < 0.2 < 0.8 < retrieval[:, 2].mean()


def test_a_stored_task_is_recognised_off_the_pool():
    retrieval = measured("pool_snapping", "regression", regression("pool_map"))
    follower = measured("pool_snapping", "regression", ridge())
    np.testing.assert_array_equal(retrieval["distance of the truth"], follower["distance of the truth"])
    assert np.median(retrieval["distance"]) < 1e-4
    assert follower["distance"].mean() > 0.3
    # The truth, by a loop over the pool.
    prompts, task = asked("pool_snapping", "regression"), TASKS["regression"]
    stored = np.stack([np.asarray(task.pool_latent(jnp.asarray(m))) for m in range(8)])
    query, latent = np.asarray(prompts.x[:, :, -1], float), np.asarray(prompts.latent[0], float)
    difference = np.einsum("qbf,mbf->mqb", query, stored[:, None] - latent)
    nearest = np.sqrt(np.square(difference).mean(1).min(0)) / np.std(prompts.y)
    np.testing.assert_allclose(retrieval["distance of the truth"], nearest, rtol=1e-3)


def test_copies_of_labels():
    copier = measured("label_copying", "regression", regression("nearest_neighbour"))
    assert copier["distance"].max() < 1e-6
    assert (copier["copies"] == 1).all()
    assert measured("label_copying", "regression", ridge())["copies"].mean() < 0.4
    x, y, query = examples(asked("label_copying", "regression"))
    answer = np.einsum("bf,bfi,bi->b", query, weights(x), y)
    expected = np.abs(y - answer[:, None]).min(1) / np.std(asked("label_copying", "regression").y)
    np.testing.assert_allclose(measured("label_copying", "regression", ridge())["distance"], expected, atol=1e-4)
