"""Duels on made-up references, and what they add to means over all prompts."""

import dataclasses

import jax
import numpy as np
import pytest

from icl_lab.core.prompts import Point
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.comparison import compare
from icl_lab.judging.duels import SHARE, duels
from icl_lab.tasks import LinearRegression, Pool

NAMES = ("pool_bayes", "population_bayes", "ridge")
PROMPTS = 40


@pytest.fixture(scope="module")
def bank():
    task = LinearRegression(dimension=2, examples=4, noise=0.5, prior=Pool(4))
    return build_bank(task, 0, PROMPTS, PROMPTS, {name: REFERENCES[name] for name in NAMES})


def test_of_two_references_the_subject_follows_the_one_it_is(bank):
    subject = bank.predictions["pool_bayes"]
    comparison = compare(bank, subject)
    itself, other, none = duels(bank, comparison, "pool_bayes", ["pool_bayes", "population_bayes", ""])
    assert np.isnan(itself).all()
    assert np.isnan(none).all()
    assert other.share == 0
    assert other.high < 0.3
    count = round(SHARE * 3 * PROMPTS)
    assert other.p == pytest.approx(2 * 0.5**count)
    back = duels(bank, comparison, "population_bayes", ["pool_bayes"])[0]
    assert back.share == 1
    # The prompts are those that are farthest apart, by hand.
    means = [np.asarray(bank.predictions[name].mean) for name in ("pool_bayes", "population_bayes")]
    scored = np.asarray(bank.prompts.scored)
    nats = (np.where(scored, (means[0] - means[1]) ** 2 / (2 * bank.unit), 0).sum(1) / scored.sum(1))[PROMPTS:]
    assert other.nats == pytest.approx(np.sort(nats)[-count:].mean(), rel=1e-4)


def test_equals_do_not_fight(bank):
    exact = dict(bank.fit_to_task())
    same = dataclasses.replace(exact["ridge"], predictions=exact["population_bayes"].predictions)
    comparison = compare(bank, exact["population_bayes"].predictions, exact | {"ridge": same})
    assert np.isnan(duels(bank, comparison, "population_bayes", ["ridge"])[0]).all()


def test_a_few_prompts_that_are_answered_otherwise_are_seen(bank):
    """Pool Bayes but for the prompts on which the population's posterior differs most: there it is followed."""
    both = [bank.predictions[name] for name in ("pool_bayes", "population_bayes")]
    pool, population = (np.asarray(each.mean) for each in both)
    apart = bank.distances(*both)
    own = np.arange(len(apart)) >= PROMPTS  # not those that fit parameters
    most = np.argsort(-np.where(own, apart, -1))[: round(SHARE * 3 * PROMPTS)]
    answers = pool.copy()
    answers[most] = population[most]
    comparison = compare(bank, jax.tree.map(np.asarray, Point(answers)))
    found = duels(bank, comparison, "pool_bayes", ["population_bayes"])[0]
    assert found.share == 1
