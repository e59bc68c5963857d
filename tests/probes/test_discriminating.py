"""Duels between ridge of two penalties."""

import jax
import numpy as np
import pytest
from probes.subjects import KEY, TASKS, regression

from icl_lab.probes.behaviour.discriminating import Duel, discriminating_prompts, duel

TASK = TASKS["regression"]
FIRST, SECOND = regression("ridge", penalty=0.01), regression("ridge", penalty=20.0)
SAMPLE, KEEP = 128, 16


@jax.jit
def fight(subject: object) -> Duel:
    return duel(subject, FIRST, SECOND, TASK, KEY, SAMPLE, KEEP)


@pytest.fixture(scope="module")
def drawn():
    """The prompts chosen, all that they were chosen from, and the unit of these."""

    def draw():
        every = TASK.sample(KEY, SAMPLE)
        return discriminating_prompts(FIRST, SECOND, TASK, KEY, SAMPLE, KEEP), every, TASK.unit(every)

    return jax.jit(draw)()


@jax.jit
def answers(learner: object, prompts: object) -> jax.Array:
    return learner(prompts).mean[:, -1]


def last(learner: object, prompts: object) -> np.ndarray:
    return np.asarray(answers(learner, prompts), float)


def test_the_prompts_on_which_two_learners_disagree_most(drawn):
    prompts, every, unit = drawn
    distance = (last(FIRST, every) - last(SECOND, every)) ** 2 / (2 * np.asarray(unit)[:, -1])
    best = np.argsort(-distance)[:KEEP]
    np.testing.assert_allclose(prompts.x, every.x[best], atol=1e-6)
    np.testing.assert_allclose(fight(FIRST).separation, distance[best], rtol=1e-3)


def test_a_duel_is_won_by_whom_the_subject_is():
    won, lost = fight(FIRST), fight(SECOND)
    assert np.asarray(won.nearer_first).all()
    assert not np.asarray(lost.nearer_first).any()
    np.testing.assert_allclose(won.score, 1, atol=1e-4)
    np.testing.assert_allclose(lost.score, 0, atol=1e-4)
    for found in (won, lost):
        np.testing.assert_allclose(found.remainder, 0, atol=1e-6)


def test_a_duel_of_somebody_between(drawn):
    prompts = drawn[0]
    subject = regression("ridge", penalty=3.0)
    found = fight(subject)
    s, a, b = (last(learner, prompts) for learner in (subject, FIRST, SECOND))
    score = (s - b) / (a - b)
    np.testing.assert_allclose(found.score, score, atol=1e-3)
    assert 0.2 < score.mean() < 0.95
    np.testing.assert_allclose(found.remainder, (score - score.mean()) ** 2, atol=1e-3)
    np.testing.assert_array_equal(found.nearer_first, np.abs(s - a) < np.abs(s - b))
