"""Task vectors of a model made by hand, whose first layer writes the mean label into the stream and reads it off."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Gaussian
from icl_lab.formats import Interleaved
from icl_lab.learners import TransformerLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.probes.inside.prompt_pairs import prompts_of, uninformative
from icl_lab.probes.inside.soft_prompts import soft_prompts
from icl_lab.probes.inside.task_vectors import (
    exchanged,
    mean_streams,
    recorded,
    recovered,
    task_vector_conflict,
    task_vector_losses,
    with_vectors,
)
from icl_lab.tasks import Task, task_dataclass

EXAMPLES, TASKS, EACH = 4, 4, 16


@task_dataclass
class Constant(Task):
    """y_i = w + .1 ε_i, whatever x_i is."""

    def draw_latent(self, key: Any) -> Any:
        return jax.random.normal(key)

    def draw_inputs(self, key: Any, latent: Any) -> Any:
        return jax.random.normal(key, (self.positions, 1))

    def outcome(self, latent: Any, x: Any) -> Gaussian:
        mean = latent * jnp.ones(x.shape[0])
        return Gaussian(mean, 0.01 * jnp.ones_like(mean))


def label_mean() -> TransformerLearner:
    """Stream (x, y, answer, 1): scores are 1, values are labels, written to "answer"; a second layer does nothing."""
    config = TransformerConfig(
        2, 2 * EXAMPLES + 1, 2, 1, 4, mlp=0, attention="linear", normalisation="none", positions="none"
    )
    model = Model(config)
    params = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    params["embed"]["kernel"] = jnp.eye(2, 4)
    params["embed"]["bias"] = jnp.array([0.0, 0, 0, 1])
    attention = params["layers"]["0"]["attention"]
    for name in ("query", "key"):
        attention[name]["kernel"] = jnp.zeros((4, 4)).at[3, 0].set(1.0)
    attention["value"]["kernel"] = jnp.zeros((4, 4)).at[1, 2].set(1.0)
    attention["output"]["kernel"] = jnp.eye(4)
    # Half the tokens but one are labels.
    params["readout"]["kernel"] = jnp.zeros((4, 1)).at[2, 0].set((2 * EXAMPLES + 1) / EXAMPLES)
    return TransformerLearner(params, model, Interleaved())


TASK, LEARNER = Constant(examples=EXAMPLES), label_mean()
LATENTS = jnp.array([-2.0, -1.0, 1.0, 2.0])
DRAW, DUMMIES = jax.jit(prompts_of, static_argnums=3), jax.jit(uninformative)


@pytest.fixture(scope="module")
def drawn():
    """Prompts for the vectors, other prompts to score on, their dummies, and other dummies."""
    fitting, scoring = (DRAW(TASK, LATENTS, jax.random.key(seed), EACH) for seed in (1, 2))
    dummies = [DUMMIES(TASK, some, jax.random.key(3)) for some in (scoring, fitting)]
    return fitting, scoring, *dummies


def test_the_model_answers_the_mean_label(drawn):
    scoring = drawn[1]
    answers = np.asarray(LEARNER(scoring).mean[:, -1])
    np.testing.assert_allclose(answers, np.asarray(scoring.y[:, :-1]).mean(1), atol=1e-5)


def test_the_task_vector_is_the_mean_stream_of_the_query(drawn):
    fitting = drawn[0]
    vectors = np.asarray(mean_streams(LEARNER, fitting, TASKS))
    assert vectors.shape == (2, TASKS, 4)
    means = np.asarray(fitting.y[:, :-1]).reshape(TASKS, -1).mean(1)
    np.testing.assert_allclose(vectors[1, :, 2], means * EXAMPLES / (2 * EXAMPLES + 1), atol=1e-5)
    np.testing.assert_allclose(vectors[0, :, 0], np.asarray(fitting.x[:, -1, 0]).reshape(TASKS, -1).mean(1), atol=1e-5)


@pytest.mark.parametrize("mode", ["replace", "add"])
def test_the_task_vector_brings_the_gain_back_and_the_controls_do_not(drawn, mode):
    fitting, scoring, dummies, others = drawn
    vectors = mean_streams(LEARNER, fitting, TASKS)
    if mode == "add":
        vectors = vectors - mean_streams(LEARNER, others, 1)
    losses = task_vector_losses(LEARNER, vectors, scoring, dummies, jax.random.key(5), mode)
    shares = {name: each.mean(-1) for name, each in recovered(losses).items()}
    # The first layer writes and the readout reads: both layers' streams carry the answer.
    least = 0.95 if mode == "replace" else 0.6  # what the dummy's own labels say stays under what is added
    assert (np.asarray(shares["task vector"]) > least).all()
    assert (np.asarray(shares["random"]) < 0.5).all()
    assert (np.asarray(shares["another task"]) < 0).all()


def random_with_mlp() -> TransformerLearner:
    model = Model(TransformerConfig(2, 2 * EXAMPLES + 1, 2, 1, 4, mlp=2))
    return TransformerLearner(model.init(jax.random.key(7)), model, Interleaved())


@pytest.mark.parametrize(("learner", "at"), [(LEARNER, "resid_post"), (random_with_mlp(), "resid_mid")])
def test_each_layers_answer_is_that_of_one_eager_patch(drawn, learner, at):
    dummies = drawn[2]
    vectors = jax.random.normal(jax.random.key(6), (2, TASKS * EACH, 4))
    found = jax.jit(lambda: with_vectors(learner, dummies, recorded(learner, dummies, at), vectors, "add", at))().mean
    for layer in range(2):

        def tap(site, value, layer=layer):
            return value.at[:, -1].add(vectors[layer]) if site == f"{layer}.{at}" else value

        answers = learner.model.apply(learner.params, learner.format.encode(dummies), tap=tap)
        np.testing.assert_allclose(found[layer], answers[:, -1, 0], atol=1e-5)
    assert np.abs(found[0] - learner(dummies).mean[:, -1]).max() > 0.5


def test_the_vector_wins_over_the_examples(drawn):
    fitting, scoring, _, _ = drawn
    found = task_vector_conflict(LEARNER, TASK, mean_streams(LEARNER, fitting, TASKS), scoring)
    assert float(found["patched"].mean()) == 1
    assert float(found["unpatched"].mean()) == 0


def test_one_vector_in_place_of_the_other_turns_the_answer_into_the_other_tasks(drawn):
    """What is added is the difference of two mean labels, so the answers move by just that."""
    fitting, scoring, _, _ = drawn
    vectors = exchanged(mean_streams(LEARNER, fitting, TASKS))
    found = task_vector_conflict(LEARNER, TASK, vectors, scoring, "add")
    assert float(found["patched"].mean()) == 1
    moved = jnp.repeat(jnp.roll(vectors, -1, axis=1), EACH, axis=1)
    answers = with_vectors(LEARNER, scoring, recorded(LEARNER, scoring), moved, "add").mean[1].reshape(TASKS, EACH)
    means = np.asarray(fitting.y[:, :-1]).reshape(TASKS, -1).mean(1)
    before = np.asarray(LEARNER(scoring).mean[:, -1]).reshape(TASKS, EACH)
    np.testing.assert_allclose(answers - before, np.tile((np.roll(means, -1) - means)[:, None], EACH), atol=1e-4)


def test_a_soft_prompt_is_found_by_descent(drawn):
    _, scoring, dummies, others = drawn
    vectors = soft_prompts(LEARNER, others, TASKS, steps=80)
    losses = task_vector_losses(LEARNER, vectors, scoring, dummies, jax.random.key(5), "add")
    shares = {name: each.mean(-1) for name, each in recovered(losses).items()}
    assert (np.asarray(shares["task vector"]) > 0.6).all()
    assert (np.asarray(shares["random"]) < 0.5).all()


def test_an_unknown_mode_is_an_error(drawn):
    with pytest.raises(ValueError, match=r"mode: 'swap' is not known; choose one of replace, add"):
        task_vector_conflict(LEARNER, TASK, jnp.zeros((2, TASKS, 4)), drawn[1], "swap")
