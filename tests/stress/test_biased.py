"""Planted faults are found at the strength they were planted with, and not in the exact learner."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.stress.biased import BIASES, BiasedLearner
from icl_lab.stress.measure import stressed, terms
from icl_lab.stress.perturbations import PERTURBATIONS
from icl_lab.stress.strength import family_answers, fit_strength
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain, Pool

TASKS = {
    "regression": LinearRegression(dimension=2, examples=6, noise=0.5, prior=Pool(4)),
    "chains": MarkovChain(states=3, examples=10),
    "rules": BooleanRules(bits=2, examples=6, noise=0.1),
}
PROMPTS = 192
PLANTED = {"forgetting": 0.27, "last_label": 0.21, "majority": 0.34, "timid": 0.27}


@pytest.fixture(scope="module", params=TASKS)
def asked(request):
    """A task, prompts of it, its unit and the families' answers."""
    task = TASKS[request.param]
    prompts = task.sample(jax.random.key(5), PROMPTS)
    families = {name: family_answers(bias, task, prompts) for name, bias in BIASES.items()}
    return task, prompts, task.unit(prompts), families


@pytest.mark.parametrize("name", BIASES)
def test_the_planted_strength_is_recovered(asked, name):
    """The learner's answers carry noise, so that the fit has something to be uncertain about."""
    task, prompts, unit, families = asked
    answer = BiasedLearner(task, PLANTED[name], BIASES[name])(prompts).answer()
    noise = jax.random.normal(jax.random.key(7), answer.mean_target().shape)
    mean = answer.mean_target() * jnp.exp(0.03 * noise)
    mean = mean if task.outcomes.linear else mean / mean.sum(-1, keepdims=True)
    found = fit_strength(BIASES[name], families[name], task.outcomes.from_mean(mean), unit, np.asarray(prompts.scored))
    assert found.low - 0.01 <= PLANTED[name] <= found.high + 0.01
    assert found.high - found.low < 0.25
    assert found.left < 0.5


@pytest.mark.parametrize("name", BIASES)
def test_a_family_holds_the_answers_of_its_learners(asked, name):
    task, prompts, _, families = asked
    for place in (0, 7, 20):
        learner = BiasedLearner(task, BIASES[name].grid[place], BIASES[name])
        found = jax.tree.map(lambda leaf, at=place: leaf[at], families[name]).mean_target()
        np.testing.assert_allclose(found, learner(prompts).answer().mean_target(), atol=2e-5)


def test_the_exact_learner_has_no_fault(asked):
    task, prompts, unit, families = asked
    exact = task.posterior_predictive(prompts).answer()
    for name, bias in BIASES.items():
        found = fit_strength(bias, families[name], exact, unit, np.asarray(prompts.scored))
        assert found.strength == pytest.approx(0, abs=1e-3)


def test_a_forgetful_learner_and_one_that_does_not_show_it_as_told():
    """Forgetting is a bias where an example stands far back, and none right before the query."""
    task, perturbation = LinearRegression(dimension=2, examples=6, noise=0.5), PERTURBATIONS["recency"]
    learner = BiasedLearner(task, 0.5, BIASES["forgetting"])
    found = {}
    for strength in (0.0, 1.0):
        given = stressed(perturbation, task, jax.random.key(3), 64, strength)
        found[strength] = terms(perturbation, given, learner, strength)
    assert found[1.0].moved.mean() > 10 * found[0.0].moved.mean() + 0.01
    assert found[1.0].distance.mean() > 1.5 * found[0.0].distance.mean()
