"""Probes on learners for which the answer is known on paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.probes import alignment, label_influence, label_nonlinearity, query_sensitivity
from icl_lab.tasks import LinearRegression, Pool

TASK = LinearRegression(dimension=3, examples=6, noise=0.5, prior=Pool(8))


def learner(name: str, **parameters: float) -> ReferenceLearner:
    return ReferenceLearner(TASK, {key: jnp.float32(value) for key, value in parameters.items()}, REFERENCES[name][1])


@pytest.fixture(scope="module")
def prompts():
    return TASK.sample(jax.random.key(5), 32)


def test_influence_of_a_smoother_is_positive_and_sums_to_one(prompts):
    influence = np.asarray(label_influence(learner("nadaraya_watson", bandwidth=1.0), TASK, prompts))
    assert (influence >= 0).all()
    np.testing.assert_allclose(influence.sum(1), 1, rtol=1e-5)


def test_influence_of_copying_is_one_hot_at_the_nearest_example(prompts):
    influence = np.asarray(label_influence(learner("nearest_neighbour"), TASK, prompts))
    np.testing.assert_allclose(np.sort(influence, axis=1), [[0, 0, 0, 0, 0, 1]] * 32, atol=1e-6)
    distance = ((prompts.x[:, :-1] - prompts.x[:, -1:]) ** 2).sum(-1)
    np.testing.assert_array_equal(influence.argmax(1), np.asarray(distance).argmin(1))


def test_influence_of_one_gradient_step_is_the_inner_product(prompts):
    influence = label_influence(learner("gd_1", rate=0.3), TASK, prompts)
    expected = 0.3 / 6 * jnp.einsum("bif,bf->bi", prompts.x[:, :-1], prompts.x[:, -1])
    np.testing.assert_allclose(influence, expected, atol=1e-5)
    assert (np.asarray(influence) < 0).any()


def test_sensitivity_of_ridge_is_its_weight_vector(prompts):
    found = np.asarray(query_sensitivity(learner("ridge", penalty=0.25), prompts))
    for row in range(4):
        x, y = np.asarray(prompts.x[row, :-1], float), np.asarray(prompts.y[row, :-1], float)
        weights = np.linalg.solve(x.T @ x + 0.25 * np.eye(3), x.T @ y)
        np.testing.assert_allclose(found[row], weights, atol=2e-4)


def test_alignment_is_one_with_a_multiple_and_zero_with_nothing():
    first = jnp.array([[1.0, 2.0], [0.0, 0.0], [1.0, 0.0]])
    second = jnp.array([[2.0, 4.0], [1.0, 1.0], [0.0, -3.0]])
    np.testing.assert_allclose(alignment(first, second), [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ridge", {"penalty": 0.3}), ("gd_2", {"rate": 0.4}), ("nadaraya_watson", {"bandwidth": 1.0})],
)
def test_learners_affine_in_the_labels_have_no_nonlinearity(prompts, name, parameters):
    found = label_nonlinearity(learner(name, **parameters), TASK, prompts, jax.random.key(0))
    assert float(found) < 1e-8


def test_an_offset_is_no_nonlinearity(prompts):
    start = {"initial": jnp.array([[1.0], [-1.0], [2.0]]), "rates": jnp.full((1, 3), 0.3)}
    subject = ReferenceLearner(TASK, {**start, "scale": jnp.float32(1.0)}, REFERENCES["meta_sgd_1"][1])
    assert float(label_nonlinearity(subject, TASK, prompts, jax.random.key(0))) < 1e-8


@pytest.mark.parametrize("name", ["pool_bayes", "pool_map"])
def test_pool_learners_are_not_linear_in_the_labels(prompts, name):
    assert float(label_nonlinearity(learner(name), TASK, prompts, jax.random.key(0))) > 0.05
