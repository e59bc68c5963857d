"""The table of constructions: each is its algorithm, random weights are not, and heads are where it says."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.constructions import CONSTRUCTIONS, SphericalRegression
from icl_lab.learners.reference import has_pool
from icl_lab.mechanisms.controls import random_control
from icl_lab.probes import induction_scores
from icl_lab.tasks import MarkovChain, Task

BATCH = 64


@jax.jit
def draw(task: Task) -> Prompts:
    return task.sample(jax.random.key(3), BATCH)


@jax.jit
def _answers(learner: Any, prompts: Prompts) -> jax.Array:
    """Log probabilities or means."""
    answer = learner(prompts).answer()
    return answer.log_probs if isinstance(answer, Categorical) else answer.mean


def compared(name: str, task: Task, prompts: Prompts) -> list[np.ndarray]:
    """What the construction, its algorithm and random weights answer, where it answers, in units of the scale."""
    row = CONSTRUCTIONS[name]
    learner = row.build(task)
    learners = (learner, row.algorithm(task), random_control(learner, jax.random.key(1)))
    answered = learner.format.answers(task.positions)
    found = [np.asarray(_answers(each, prompts), float)[:, answered] for each in learners]
    return [values / np.sqrt(np.mean(np.square(found[1]))) for values in found]


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_a_construction_is_its_algorithm_and_random_weights_are_not(name):
    task = CONSTRUCTIONS[name].task
    prompts = draw(task)
    if has_pool(task):  # and as many prompts of tasks that are not in the pool
        prompts = jax.tree.map(lambda *parts: jnp.concatenate(parts), prompts, draw(task.fresh()))
    built, algorithm, random = compared(name, task, prompts)
    np.testing.assert_allclose(built, algorithm, atol=1e-4)
    assert np.isfinite(random).all()
    assert np.sqrt(np.mean(np.square(random - algorithm))) > 0.3


def test_other_sizes_of_the_task_are_served():
    task = MarkovChain(states=6, examples=50, concentration=0.2)
    chain = jnp.asarray(np.random.default_rng(0).integers(0, 6, size=(16, 52)))
    prompts = Prompts(jax.nn.one_hot(chain[:, :-1], 6), chain[:, 1:], None, jnp.ones((16, 51), bool))
    built, algorithm, _ = compared("bigram_counts", task, prompts)
    np.testing.assert_allclose(built, algorithm, atol=1e-4)


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_a_row_names_a_reference_of_its_hypothesis(name):
    row = CONSTRUCTIONS[name]
    assert row.name == name
    ours = row.algorithm(row.task).reference
    owner, theirs = REFERENCES[ours.name]
    assert owner == row.hypothesis
    assert (ours.predict, ours.settings) == (theirs.predict, theirs.settings)
    assert theirs.applies(row.task)
    assert row.mechanism.endswith(tuple("abcdefghijklmnopqrstuvwxyz_)"))  # one sentence, without a full stop


def test_every_hypothesis_has_a_construction():
    assert {row.hypothesis for row in CONSTRUCTIONS.values()} == {"H1", "H2", "H3", "H4", "H5"}


@pytest.mark.parametrize("name", ["bigram_counts", "most_recent_match"])
def test_induction_heads_are_found_where_they_were_put_and_not_in_random_weights(name):
    row = CONSTRUCTIONS[name]
    learner, prompts = row.build(row.task), draw(row.task)
    control = random_control(learner, jax.random.key(1))
    found, random = (
        induction_scores(each.model, each.format, each.params, prompts, each.outcomes) for each in (learner, control)
    )
    assert found["previous token"][0, 0] == pytest.approx(1, abs=1e-5)
    assert found["previous token"][1, 0] < 0.3
    assert found["prefix matching"][0, 0] < 0.5
    # Of the counter the rest goes to the first token, which holds the prior: 3 pseudo-counts of n + 3.
    assert found["prefix matching"][1, 0] > (0.999 if name == "most_recent_match" else 0.5)
    assert random["previous token"].max() < 0.3
    assert random["prefix matching"].max() < 0.5


def test_random_weights_keep_shapes_and_scales():
    learner = CONSTRUCTIONS["pool_posterior"].build(CONSTRUCTIONS["pool_posterior"].task)
    first, second = (random_control(learner, jax.random.key(seed)) for seed in (0, 1))
    assert (first.model, first.format, first.outcomes) == (learner.model, learner.format, learner.outcomes)
    leaves = [jax.tree.leaves(each.params) for each in (learner, first, second)]
    assert sum(bool(leaf.any()) for leaf in leaves[0]) > 8
    for built, random, other in zip(*leaves, strict=True):
        assert built.shape == random.shape
        size = np.sqrt(np.mean(np.square(built, dtype=float)))
        np.testing.assert_allclose(np.sqrt(np.mean(np.square(random, dtype=float))), size, rtol=1e-4)
        assert not built.any() or (random != other).any()


def test_inputs_on_a_sphere():
    task = SphericalRegression(dimension=3, examples=12, covariance=2.0)
    prompts = draw(task)
    np.testing.assert_allclose(np.linalg.norm(prompts.x, axis=-1), np.sqrt(6), rtol=1e-5)
    moment = np.einsum("bif,big->fg", prompts.x, prompts.x) / prompts.y.size
    np.testing.assert_allclose(moment, task.feature_covariance(), atol=0.3)  # four standard errors
    assert np.abs(np.mean(np.asarray(prompts.x), axis=(0, 1))).max() < 0.2
