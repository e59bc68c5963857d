"""Martingales and implied priors, on counts of one context: a Pólya urn, for which everything is known."""

import jax
import jax.numpy as jnp
import numpy as np
from probes.subjects import KEY, PROMPTS, TASKS, Tempered, asked, measured, reference

from icl_lab.core.prompts import Categorical, Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.learners.answers import Learner
from icl_lab.probes.behaviour.battery import BATTERY, ask, read
from icl_lab.tasks import MarkovChain, Task, task_dataclass

CLASSES, EXAMPLES, ALPHA, MANY = 3, 6, 0.8, 256


@task_dataclass
class Urn(Task):
    """y_i ~ p with p ~ Dirichlet(.8), every input the same 1. Example with p = (1, 0, 0): 0, 0 → ? (0)."""

    def draw_latent(self, key: jax.Array) -> jax.Array:
        return jax.random.dirichlet(key, jnp.full(CLASSES, ALPHA))

    def draw_inputs(self, key: jax.Array, latent: jax.Array) -> jax.Array:
        return jnp.ones((self.positions, 1))

    def outcome(self, latent: jax.Array, x: jax.Array) -> Categorical:
        return Categorical(jnp.log(jnp.maximum(x * latent, 1e-30)))


@pytree_dataclass
class LastOnly:
    """A learner that answers the last position only, as models of paired tokens do."""

    learner: Learner

    def __call__(self, prompts: Prompts) -> Predictions:
        answer = self.learner(prompts)
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan).at[:, -1].set(leaf[:, -1]), answer)


URN = Urn(examples=EXAMPLES)


def counts(concentration: float) -> Learner:
    """What a Dirichlet prior of this concentration answers."""
    return reference(URN, "context_counts", concentration=concentration)


def test_counts_are_a_martingale_with_any_pseudo_count():
    probe = BATTERY["martingale"]
    given = ask(probe, URN, KEY, MANY)
    for concentration in (ALPHA, 3.0):
        found = np.asarray(read(probe, Tempered(counts(concentration), 1.0), URN, given))
        np.testing.assert_allclose(found, 0, atol=1e-6)


def test_tempered_counts_are_none_and_sharpen():
    """By hand: p ∝ (C + α)², one more example with probability p_c, against p."""
    probe = BATTERY["martingale"]
    given = ask(probe, URN, KEY, MANY)
    found = np.asarray(read(probe, Tempered(counts(ALPHA), 2.0), URN, given))

    def power(seen: np.ndarray) -> np.ndarray:
        return (seen + ALPHA) ** 2 / ((seen + ALPHA) ** 2).sum()

    for row, y in zip(found[:20], np.asarray(given.y[0, :20]), strict=True):
        seen = np.bincount(y[: EXAMPLES - 1], minlength=CLASSES)
        before = power(seen)
        after = sum(before[c] * power(seen + np.eye(CLASSES)[c]) for c in range(CLASSES))
        np.testing.assert_allclose(row[0], 0.5 * np.abs(after - before).sum(), atol=1e-5)
        np.testing.assert_allclose(row[1], ((after - before) * (before - 1 / CLASSES)).sum(), atol=1e-5)
    assert found[:, 1].mean() > 0.001


def test_the_exact_posterior_over_rules_is_a_martingale():
    exact = reference(TASKS["rules"], "population_bayes")
    found = measured("martingale", "rules", Tempered(exact, 1.0))
    np.testing.assert_allclose(found["drift"], 0, atol=1e-5)
    assert measured("martingale", "rules", Tempered(exact, 3.0))["drift"].max() > 0.02


def test_a_learner_fed_its_own_outcomes_implies_the_prior_it_has():
    """Of a Pólya urn with N of N + Kα balls drawn the predictive has N/(N + Kα) of the prior's variance."""
    probe = BATTERY["implied_prior"]
    given = ask(probe, URN, KEY, MANY)
    expected = EXAMPLES / (EXAMPLES + CLASSES * ALPHA)
    found = np.asarray(read(probe, Tempered(counts(ALPHA), 1.0), URN, given))[:, 0]
    assert abs(found.mean() - expected) < 4 * found.std() / np.sqrt(MANY) + 0.08 * expected
    # A pseudo-count of ten: Var p = (1/K)(1 − 1/K)K/(Kβ + 1) · N/(N + Kβ), over the same of the task.
    firm = np.asarray(read(probe, Tempered(counts(10.0), 1.0), URN, given))[:, 0]
    ratio = EXAMPLES / (EXAMPLES + 30) * (CLASSES * ALPHA + 1) / 31
    assert abs(firm.mean() - ratio) < 4 * firm.std() / np.sqrt(MANY) + 0.08 * ratio
    copier = np.asarray(read(probe, Tempered(counts(ALPHA), 20.0), URN, given))[:, 0]
    assert copier.mean() > 1.3  # snapped to one class


@pytree_dataclass
class Knowing:
    """A learner that knows the latent, whatever the prompt says."""

    task: Task
    latent: jax.Array

    def __call__(self, prompts: Prompts) -> Predictions:
        return jax.vmap(lambda x: self.task.outcome(self.latent, x))(prompts.x)


def test_who_knows_the_chain_learns_nothing_from_itself():
    """All its rollouts are asked from the same context, two states long."""
    task, probe = MarkovChain(states=3, order=2, examples=6), BATTERY["implied_prior"]
    learner = Knowing(task, task.draw_latent(jax.random.key(4)))
    found = np.asarray(read(probe, learner, task, ask(probe, task, KEY, 16)))
    np.testing.assert_allclose(found, 0, atol=1e-10)


def test_the_last_position_alone_is_not_enough():
    learner = LastOnly(counts(ALPHA))
    for name in ("martingale", "implied_prior"):
        probe = BATTERY[name]
        assert np.isnan(read(probe, learner, URN, ask(probe, URN, KEY, MANY))).all(), name


def test_what_is_asked_of_rules_is_one_query_at_two_positions():
    given = asked("martingale", "rules")
    np.testing.assert_array_equal(given.x[1, :, -2], given.x[0, :, -1])
    np.testing.assert_array_equal(given.y[2:, :, -2], np.tile([[0], [1]], (1, PROMPTS)))
    np.testing.assert_array_equal(given.x[2], given.x[0])
