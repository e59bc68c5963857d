"""Mitigations leave exact learners as they are where theory says so, and remove the fault that they are made for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Categorical
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.stress.biased import BIASES, BiasedLearner
from icl_lab.stress.generation import exact_learner
from icl_lab.stress.measure import answers_of, sample
from icl_lab.stress.mitigations import MITIGATIONS, Calibrated, Ensembled
from icl_lab.tasks import BooleanRules, LinearRegression, Pool, Task, task_dataclass

RULES = BooleanRules(bits=2, examples=5, noise=0.1)
REGRESSION = LinearRegression(dimension=2, examples=5, noise=0.5)
KEY = jax.random.key(0)
ask = jax.jit(lambda learner, prompts: learner(prompts).answer().mean_target()[:, -1])


@task_dataclass
class Logistic(Task):
    """p(y = 1) = 1/(1 + e^{−w·x}): at x = 0 ½, whatever is known of w."""

    def draw_latent(self, key):
        return 2 * jax.random.normal(key, (2,))

    def draw_inputs(self, key, latent):
        return jax.random.normal(key, (self.positions, 2))

    def outcome(self, latent, x):
        score = x @ latent
        return Categorical(jax.nn.log_sigmoid(jnp.stack([-score, score], axis=-1)))


@pytree_dataclass
class Leaning:
    """An exact learner whose log probabilities of class 1 are too large by `lean`, whatever is asked."""

    task: Task
    lean: float

    def __call__(self, prompts):
        plain = self.task.posterior_predictive(prompts)
        assert isinstance(plain, Categorical)
        return Categorical(jax.nn.log_softmax(plain.log_probs.at[..., 1].add(self.lean), axis=-1))


def test_calibration_leaves_an_exact_learner_that_is_uniform_about_nothing():
    task = Logistic(examples=4, prior=Pool(5))
    prompts = sample(task, KEY, 64)
    exact = exact_learner(task)
    np.testing.assert_allclose(ask(Calibrated(exact), prompts), ask(exact, prompts), atol=1e-6)
    assert np.abs(ask(Calibrated(exact, "mean"), prompts) - ask(exact, prompts)).max() > 0.01


def test_calibration_removes_a_leaning_exactly_and_takes_evidence_with_it():
    prompts = sample(RULES, KEY, 64)
    exact, leaning = exact_learner(RULES), Leaning(RULES, 1.5)
    assert np.abs(ask(leaning, prompts) - ask(exact, prompts)).max() > 0.2
    np.testing.assert_allclose(ask(Calibrated(leaning), prompts), ask(Calibrated(exact), prompts), atol=1e-6)
    assert np.abs(ask(Calibrated(exact), prompts) - ask(exact, prompts)).max() > 0.1
    asked = np.asarray(ask(exact, prompts))
    null = np.asarray(ask(exact, prompts.replace(x=prompts.x.at[:, -1].set(0.0))))
    by_hand = asked / null / (asked / null).sum(-1, keepdims=True)
    np.testing.assert_allclose(ask(Calibrated(exact), prompts), by_hand, atol=1e-6)
    with pytest.raises(TypeError, match="real outcomes have no probabilities"):
        Calibrated(exact_learner(REGRESSION))(sample(REGRESSION, KEY, 2))


@pytest.mark.parametrize("task", [RULES, REGRESSION], ids=["rules", "regression"])
def test_ensembling_leaves_the_exact_learner_and_steadies_a_forgetful_one(task):
    prompts = sample(task, KEY, 64)
    exact = exact_learner(task)
    np.testing.assert_allclose(ask(Ensembled(exact, task, KEY), prompts), ask(exact, prompts), atol=1e-5)
    forgetful = BiasedLearner(task, 1.0, BIASES["forgetting"])
    ensembled = Ensembled(forgetful, task, KEY)

    def spread(learner) -> float:
        """Variance over orders of the prompt, each of the ensembles with orders of its own."""
        found = []
        for turn in range(6):
            if isinstance(learner, Ensembled):
                learner = dataclasses.replace(learner, key=jax.random.key(20 + turn))
            found.append(ask(learner, task.reorder(jax.random.key(10 + turn), prompts)))
        return float(np.var(found, axis=0).mean())

    ratio = spread(ensembled) / spread(forgetful)
    assert ratio == pytest.approx(1 / 8, rel=0.5)  # eight independent orders


def test_only_the_last_position_is_answered():
    prompts = sample(RULES, KEY, 64)
    for name, make in MITIGATIONS.items():
        answer = answers_of(make(exact_learner(RULES), RULES, KEY), prompts).mean_target()
        assert np.isnan(answer[:, :-1]).all(), name
        assert np.isfinite(answer[:, -1]).all(), name
