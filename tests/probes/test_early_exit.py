"""Layers against iterates: a construction's layers are the iterates it computes, and orders of convergence are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_transformer import chains, pairs

from icl_lab.formats import Paired
from icl_lab.learners import TransformerLearner
from icl_lab.learners.constructions import CONSTRUCTIONS, CURVATURE, RATE
from icl_lab.learners.gradient import gradient_descent, gradient_descent_plus_plus, newton_schulz
from icl_lab.models import one_step_gd
from icl_lab.probes.inside.early_exit import (
    convergence_order,
    gradient_iterates,
    layer_answers,
    match_iterates,
    newton_iterates,
    scoring,
)
from icl_lab.probes.inside.task_vectors import at_query
from icl_lab.tasks import LinearRegression, MarkovChain

TASK = LinearRegression(dimension=2, examples=4, noise=0.0)
PROMPTS = pairs(2, 4, 60)
MODEL, PARAMS = one_step_gd(2, 4, 0.5, steps=3)
LEARNER = TransformerLearner(PARAMS, MODEL, Paired())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("task", "prompts"),
    [(TASK, PROMPTS), (MarkovChain(states=3, examples=4), chains(3, 4, 5))],
    ids=["real", "classes"],
)
def test_gradient_iterates_are_those_of_the_learner(task, prompts, causal):
    @jax.jit
    def both(prompts):
        ends = [gradient_descent(task, prompts, steps=steps, rate=0.4, causal=causal) for steps in range(4)]
        return gradient_iterates(task, prompts, 3, 0.4, causal), jnp.stack([end.mean_target()[:, -1] for end in ends])

    np.testing.assert_allclose(*both(prompts), atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_so_are_those_that_move_the_inputs(causal):
    @jax.jit
    def both(prompts):
        ends = [gradient_descent_plus_plus(TASK, prompts, steps, 0.4, 0.1, causal) for steps in range(4)]
        return gradient_iterates(TASK, prompts, 3, 0.4, causal, 0.1), jnp.stack([end.mean[:, -1:] for end in ends])

    np.testing.assert_allclose(*both(PROMPTS), atol=1e-5)


def test_newton_iterates_are_those_of_the_learner():
    @jax.jit
    def both(prompts):
        references = [newton_schulz(TASK, prompts, steps=steps, start=1.0).mean[:, -1:] for steps in range(3)]
        return newton_iterates(TASK, prompts, 2, 1.0), jnp.stack(references)

    np.testing.assert_allclose(*both(PROMPTS), atol=1e-5)


def test_layers_of_gd_plus_plus_are_its_iterates():
    model, params = one_step_gd(2, 4, 0.5, steps=3, gamma=0.1 / 4)
    answers = -at_query(TransformerLearner(params, model, Paired()), PROMPTS)[..., -1:]
    np.testing.assert_allclose(answers, gradient_iterates(TASK, PROMPTS, 3, 0.5, curvature=0.1)[1:], atol=1e-5)


def test_layers_of_the_construction_are_its_iterates():
    answers = -at_query(LEARNER, PROMPTS)[..., -1:]
    match = match_iterates(answers, gradient_iterates(TASK, PROMPTS, 6, 0.5))
    np.testing.assert_array_equal(match.best, [1, 2, 3])
    assert float(match.unexplained.max()) < 1e-8
    assert float(match_iterates(answers, gradient_iterates(TASK, PROMPTS, 6, 0.2)).unexplained.min()) > 1e-4


@pytest.mark.parametrize(
    ("name", "form", "steps"),
    [
        ("one_step_gd", {}, [1]),
        ("two_step_gd", {}, [1, 2]),
        ("gd_plus_plus", {"curvature": CURVATURE}, [1, 2]),
        ("causal_gd", {"causal": True}, [0, 1, 2]),  # its first layer answers nothing yet
    ],
)
def test_layers_of_constructions_are_found_to_take_their_steps(name, form, steps):
    """The positive control: through the read-outs, on noisy outcomes, as trained networks are looked at."""
    row = CONSTRUCTIONS[name]
    prompts = row.task.sample(jax.random.key(0), 900)
    answers, scored = layer_answers(row.build(row.task), prompts), scoring(prompts)
    match = match_iterates(answers, gradient_iterates(row.task, scored, 6, RATE, **form), scale_free=True)
    np.testing.assert_array_equal(match.best, steps)
    assert float(match.unexplained[-1]) < 0.015
    raw = match_iterates(answers, gradient_iterates(row.task, scored, 6, RATE, **form))
    assert raw.best.tolist() != steps or float(raw.unexplained[-1]) > 0.1  # the read-out's own scale
    if name == "causal_gd":
        other = match_iterates(answers, gradient_iterates(row.task, scored, 6, RATE), scale_free=True)
        assert float(other.unexplained[-1]) > 0.1  # its examples know those before them alone


def test_matches_up_to_scale_do_not_change_with_the_scale():
    answers, iterates = -at_query(LEARNER, PROMPTS)[..., -1:], gradient_iterates(TASK, PROMPTS, 6, 0.5)
    scales = jnp.array([3.0, 0.2, 70.0])[:, None, None]
    one, other = (match_iterates(found, iterates, scale_free=True) for found in (answers, scales * answers))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one, other)
    np.testing.assert_array_equal(one.best, [1, 2, 3])
    np.testing.assert_allclose(one.distance[:, 0], 1, atol=1e-5)  # of answers that are all zero


def test_layer_answers_are_a_least_squares_fit_on_the_first_third():
    found = np.asarray(layer_answers(LEARNER, PROMPTS))[..., 0]
    streams, y = np.asarray(at_query(LEARNER, PROMPTS), float), np.asarray(PROMPTS.y[:, -1], float)
    assert found.shape == (3, 20)
    np.testing.assert_array_equal(scoring(PROMPTS).y[:, -1], y[40:])
    closer = []
    for layer in range(3):
        design = np.concatenate([streams[layer], np.ones((60, 1))], axis=1)
        weights = np.linalg.lstsq(design[:20], y[:20], rcond=None)[0]
        closer.append(np.corrcoef(found[layer], design[40:] @ weights)[0, 1])
    assert min(closer) > 0.95  # up to the penalty
    errors = np.square(found - y[40:]).mean(1)
    assert errors[2] < errors[0] < np.square(y[40:]).mean()


def test_orders_of_convergence():
    layer = np.arange(5)
    linear = convergence_order(jnp.asarray(3.0 * np.exp(-0.7 * layer)))
    assert float(linear.linear) == pytest.approx(1, abs=1e-5)
    assert float(linear.slope_ratio) == pytest.approx(1, abs=1e-3)
    assert float(linear.doubling) < 0.9
    doubling = convergence_order(jnp.asarray(3.0 * np.exp(-0.5 * 2.0**layer)))
    assert float(doubling.doubling) == pytest.approx(1, abs=1e-5)
    assert float(doubling.slope_ratio) == pytest.approx(2, abs=1e-3)
    assert float(doubling.linear) < 0.9
    assert np.isnan(float(convergence_order(jnp.array([1.0, 0.5, 0.6, 0.1])).slope_ratio))


def test_newton_doubles_and_gradient_descent_does_not():
    task = LinearRegression(dimension=1, examples=6, noise=0.0)
    prompts = pairs(1, 6, 1)
    limit = prompts.y[:, -1:]

    def errors(iterates: jax.Array) -> jax.Array:
        return jnp.square(iterates - limit).mean((1, 2))

    newton = convergence_order(errors(newton_iterates(task, prompts, 4, 0.4))[:5])
    descent = convergence_order(errors(gradient_iterates(task, prompts, 4, 0.3)))
    assert float(newton.slope_ratio) == pytest.approx(2, abs=0.1)
    assert float(descent.slope_ratio) == pytest.approx(1, abs=0.1)
