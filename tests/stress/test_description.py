"""Descriptions of a task: how often they are right, what they are worth, and who believes them, all by enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Prompts
from icl_lab.formats import Interleaved, Stream, WithDescription
from icl_lab.learners.bayes import pool_bayes
from icl_lab.learners.reference import Reference, ReferenceLearner
from icl_lab.stress.measure import stressed, terms
from icl_lab.stress.perturbations.description import DESCRIPTION_PERTURBATIONS, share_followed, withheld
from icl_lab.tasks import Described, LinearRegression, MarkovChain, Pool, pool_posterior

MEMBERS, ERROR, DROPOUT = 3, 0.2, 0.4
CHAIN = MarkovChain(states=2)  # its own examples and prior do not count
TASK = Described(examples=4, prior=Pool(MEMBERS, seed=1), base=CHAIN, names=4, error=ERROR, dropout=DROPOUT)
KEY = jax.random.key(0)
draw = jax.jit(lambda task, key: task.sample(key, 4096))
answer = jax.jit(lambda task, prompts: pool_posterior(task, prompts))


@pytest.fixture(scope="module")
def prompts():
    return draw(TASK, KEY)


def by_hand(prompts: Prompts, row: int, chains: np.ndarray, error: float) -> np.ndarray:
    """Σ_m p(m | description, chain so far) P_m[s_i] at every position of one prompt."""
    x, y, description = (np.asarray(part[row]) for part in (prompts.x, prompts.y, prompts.description))
    weight = np.ones(MEMBERS) / MEMBERS
    if description.any():
        weight = weight * np.where(description[:MEMBERS] > 0, 1 - error, error / (MEMBERS - 1))
    answers = []
    for state, following in zip(x.argmax(-1), y, strict=True):
        answers.append(weight @ chains[:, state] / weight.sum())
        weight = weight * chains[:, state, following]
    return np.array(answers)


@pytest.mark.parametrize("error", [ERROR, 0.0])
def test_the_exact_answer_is_the_posterior_over_members(prompts, error):
    task = TASK.replace(error=error)
    chains = np.asarray(jax.vmap(task.plain.pool_latent)(jnp.arange(MEMBERS)), float)
    few = jax.tree.map(lambda leaf: leaf[:32], draw(task, KEY))
    found = np.asarray(answer(task, few).predictive.mean_target())
    for row, one in enumerate(found):
        np.testing.assert_allclose(one, by_hand(few, row, chains, error), atol=1e-5)


def test_a_sure_description_tells_all_and_none_tells_nothing():
    sure = TASK.replace(error=0.0, dropout=0.0)
    prompts = jax.tree.map(lambda leaf: leaf[:32], draw(sure, KEY))
    truth = jax.vmap(sure.outcome)(prompts.latent, prompts.x).mean_target()
    np.testing.assert_allclose(answer(sure, prompts).predictive.mean_target(), truth, atol=1e-5)
    silent = withheld(prompts, KEY, 1.0)
    assert not np.asarray(silent.description).any()
    plain = answer(sure.plain, prompts.replace(description=None)).predictive.mean_target()
    np.testing.assert_allclose(answer(sure, silent).predictive.mean_target(), plain, atol=1e-6)
    assert np.abs(np.asarray(plain) - truth).max() > 0.1


def test_descriptions_are_right_wrong_and_missing_as_often_as_said(prompts):
    said = np.asarray(prompts.description)
    member = np.asarray(prompts.latent["member"])
    there = np.any(said, axis=1)
    np.testing.assert_array_equal(said.sum(1), there)
    assert not said[:, MEMBERS:].any()
    assert there.mean() == pytest.approx(1 - DROPOUT, abs=0.03)
    away = (said.argmax(1) - member) % MEMBERS  # 0: right; the others are equally likely
    shares = np.bincount(away[there], minlength=MEMBERS) / there.sum()
    np.testing.assert_allclose(shares, [1 - ERROR, ERROR / 2, ERROR / 2], atol=0.03)
    for m in range(MEMBERS):  # whether there is one says nothing about the member
        assert np.mean(there[member == m]) == pytest.approx(1 - DROPOUT, abs=0.05)


def test_descriptions_change_nothing_else_of_a_prompt(prompts):
    plain = jax.jit(lambda task: task.sample(KEY, 4096))(TASK.plain)
    np.testing.assert_array_equal(prompts.x, plain.x)
    np.testing.assert_array_equal(prompts.y, plain.y)
    assert plain.description is None


def test_latents_outside_the_pool_have_no_name():
    fresh = draw(TASK.fresh(), KEY)
    assert not np.asarray(fresh.description).any()
    found, plain = (task.population_predictive(fresh) for task in (TASK, CHAIN))
    assert found is not None
    assert plain is not None
    np.testing.assert_allclose(found.mean_target(), plain.mean_target())


def test_too_few_names_are_refused():
    with pytest.raises(ValueError, match="names: 4 are too few for a pool of 5"):
        jax.eval_shape(lambda: TASK.replace(prior=Pool(5)).sample(KEY, 1))


def test_the_first_token_is_the_description(prompts):
    few = jax.tree.map(lambda leaf: leaf[:3], prompts)
    format = WithDescription(Stream(), 4)
    tokens = np.asarray(format.encode(few, TASK.outcomes))
    assert tokens.shape == (3, format.tokens(5), format.channels(2, 2))
    np.testing.assert_array_equal(tokens[:, 0], np.pad(few.description, ((0, 0), (0, 2))))
    np.testing.assert_array_equal(tokens[:, 1:], np.pad(few.x, ((0, 0), (0, 0), (4, 0))))
    np.testing.assert_array_equal(format.encode(few.replace(description=None), TASK.outcomes)[:, 0], 0)
    assert len(format.labels(5)) == 6
    pairs = WithDescription(Interleaved(), 4)
    read = range(pairs.tokens(5))[pairs.read(5)]
    assert [pairs.labels(5)[token] for token in read] == ["x0", "x1", "x2", "x3", "x4"]


# -- the perturbations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DESCRIPTION_PERTURBATIONS)
def test_both_exact_learners_are_those_of_their_error_rate(name):
    perturbation = DESCRIPTION_PERTURBATIONS[name]
    given = stressed(perturbation, TASK, KEY, 48, perturbation.standard)
    said = np.asarray(given.after.description).any(1)
    wrong = np.asarray(given.after.description).argmax(1) != np.asarray(given.after.latent["member"])
    rate = {"description_noisy": ERROR + 0.5 * (1 - ERROR), "description_contradicting": 1.0}.get(name, ERROR)
    assert said.all() if name != "description_withheld" else not said.any()
    assert wrong[said].all() if rate == 1 else True
    chains = np.asarray(jax.vmap(TASK.plain.pool_latent)(jnp.arange(MEMBERS)), float)
    for found, error in ((given.trained, ERROR), (given.changed, rate)):
        for row in range(0, 48, 6):
            np.testing.assert_allclose(found.mean_target()[row], by_hand(given.after, row, chains, error), atol=1e-5)
    exact = ReferenceLearner(TASK, {}, Reference("exact", "exact", pool_bayes))
    own = terms(perturbation, given, exact, perturbation.standard)
    np.testing.assert_allclose(own.distance, 0, atol=1e-5)
    if name == "description_withheld":
        np.testing.assert_allclose(own.mismatch, 0, atol=1e-6)
        before = answer(TASK, given.before).predictive.mean_target()
        assert np.abs(before - given.trained.mean_target()).max() > 0.05  # what was withheld counted
    else:
        assert own.mismatch.mean() > 1e-2


def test_only_described_pools_can_be_contradicted():
    for perturbation in DESCRIPTION_PERTURBATIONS.values():
        assert "no description" in perturbation.applies(LinearRegression(prior=Pool(2)))
        assert "pool" in perturbation.applies(TASK.fresh())
        assert not perturbation.applies(TASK)


def test_the_share_that_follows_is_the_weight_of_a_blend():
    rng = np.random.default_rng(0)
    described, shown = jnp.asarray(rng.dirichlet([1, 1, 1], (2, 50)))
    part, whole = share_followed(0.3 * described + 0.7 * shown, described, shown)
    np.testing.assert_allclose(part, 0.3 * whole, rtol=1e-4, atol=1e-7)
    assert (whole > 0).all()
