"""Decoding against definitions written with sorting, and generated chains against all sequences there are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.stress.decoding import Decoding, decode, occurrence_penalty, repetition_penalty, temperature, top_k, top_p
from icl_lab.stress.generation import (
    decoded,
    distortion,
    exact_learner,
    generate,
    knowing_learner,
    row_maxima,
    transitions,
)
from icl_lab.tasks import LinearRegression, MarkovChain

TASK = MarkovChain(states=2, examples=4)
GIVEN, TOKENS = 2, 6  # of six tokens, the last asked for, two are given
ROWS = np.array([[0.7, 0.3], [0.15, 0.85]])
RULES = {
    "none": Decoding(),
    "cold": Decoding(temperature=0.5),
    "penalised": Decoding(temperature=0.8, repetition=1.4, frequency=0.5, presence=0.3),
    "nucleus": Decoding(top_p=0.8, frequency=0.2),
}
SOME = np.log(np.random.default_rng(0).dirichlet(np.full(5, 0.5), size=40))


def plainly(p: np.ndarray, counts: np.ndarray, rule: Decoding) -> np.ndarray:
    """`decode` of one distribution, from the definitions, with sorting; top-k is left out."""
    scores = np.log(p)
    scores = np.where(counts > 0, scores * rule.repetition, scores)
    scores = scores - rule.frequency * counts - rule.presence * (counts > 0)
    q = np.exp(scores / rule.temperature)
    q = q / q.sum()
    order = np.argsort(-q, kind="stable")
    enough = int(np.searchsorted(np.cumsum(q[order]), rule.top_p - 1e-12)) + 1
    q[np.setdiff1d(np.arange(len(q)), order[:enough])] = 0
    return q / q.sum()


def chain_rule(rule: Decoding, told: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All chains that begin 0 1, their probabilities when generated, and their probabilities without decoding."""
    chains = np.array([[0, 1, *rest] for rest in itertools.product((0, 1), repeat=TOKENS - GIVEN)])
    generated, plain = np.ones(len(chains)), np.ones(len(chains))
    for row, chain in enumerate(chains):
        for place in range(GIVEN, TOKENS):
            before = chain[:place]
            followed = np.bincount(before[1:][before[:-1] == before[-1]], minlength=2) + 1.0  # Dirichlet(1)
            p = ROWS[before[-1]] if told else followed / followed.sum()
            generated[row] *= plainly(p, np.bincount(before, minlength=2), rule)[chain[place]]
            plain[row] *= p[chain[place]]
    return chains, generated, plain


def prompts_of(chains: np.ndarray) -> Prompts:
    return Prompts(
        x=jnp.asarray(np.eye(2, dtype=np.float32)[chains[:, :-1]]),
        y=jnp.asarray(chains[:, 1:], jnp.int32),
        latent=jnp.broadcast_to(jnp.asarray(ROWS, jnp.float32), (len(chains), 2, 2)),
        scored=jnp.ones((len(chains), TOKENS - 1), bool),
    )


@pytest.mark.parametrize("told", [True, False], ids=["told", "counts"])
def test_generated_chains_have_the_probability_that_the_chain_rule_gives(told):
    """All 16 continuations, enumerated with plain sums, against 8,192 drawn ones: a χ² test at about 4.5σ."""
    many, learner = 8192, knowing_learner(TASK) if told else exact_learner(TASK)
    # What follows the given tokens must not matter: it is all ones here, and is overwritten.
    start = prompts_of(np.tile([[0, 1, 1, 1, 1, 1]], (many, 1)))
    for name, rule in RULES.items():
        chains, expected, _ = chain_rule(rule, told)
        np.testing.assert_allclose(expected.sum(), 1)
        rolled = generate(learner, TASK, start, rule, jax.random.key(3), GIVEN)
        np.testing.assert_array_equal(rolled.x[:, 1:].argmax(-1), rolled.y[:, :-1])
        drawn = np.concatenate([np.asarray(rolled.x[:, :1].argmax(-1)), np.asarray(rolled.y)], axis=1)
        found = (drawn[:, None] == chains).all(-1).sum(0)
        assert found.sum() == many, name
        possible = expected > 0
        assert (found[~possible] == 0).all(), name
        square = (np.square(found - many * expected)[possible] / (many * expected[possible])).sum()
        freedom = possible.sum() - 1
        assert square < freedom + 4.5 * np.sqrt(2 * freedom) + 10, (name, square)


def test_the_same_answers_are_decoded_teacher_forced_and_distortion_adds_up_to_that_of_whole_chains():
    """Σ over chains of q(chain)·mean step KL, times their length, is KL of the two distributions over chains."""
    for name, rule in RULES.items():
        chains, generated, without = chain_rule(rule, told=False)
        prompts = prompts_of(chains)
        plain, answers = decoded(exact_learner(TASK), prompts, rule)
        own = np.exp(np.asarray(answers.log_prob(prompts.y)))[:, GIVEN - 1 :].prod(1)
        np.testing.assert_allclose(own, generated, rtol=1e-4, atol=1e-7, err_msg=name)
        some = generated > 0
        whole = (generated[some] * np.log(generated[some] / without[some])).sum()
        steps = np.asarray(distortion(plain, answers, GIVEN - 1)) * (TOKENS - GIVEN)
        np.testing.assert_allclose((generated * steps).sum(), whole, atol=1e-5, err_msg=name)
        assert (whole > 0.01) == (name != "none")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9, 0.999])
def test_the_nucleus_is_the_smallest_set_of_enough_mass(share):
    found = np.exp(np.asarray(top_p(jnp.asarray(SOME), share)))
    for row, log_probs in zip(found, SOME, strict=True):
        np.testing.assert_allclose(
            row, plainly(np.exp(log_probs), np.zeros(5), Decoding(top_p=share)), atol=1e-6, rtol=1e-5
        )
    kept = (found > 0).sum(1)
    assert kept.min() >= 1
    assert kept.max() > kept.min() or share in (0.05, 0.999)


def test_top_k_keeps_the_first_of_equals():
    equal = jnp.log(jnp.asarray([[0.2, 0.3, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]]))
    np.testing.assert_allclose(np.exp(top_k(equal, 1)), [[0, 1, 0, 0], [1, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(np.exp(top_k(equal, 3)), [[0.25, 0.375, 0.375, 0], [1 / 3, 1 / 3, 1 / 3, 0]], atol=1e-6)
    # By mass the first two of four equals are just enough for a half.
    np.testing.assert_allclose(np.exp(top_p(equal, 0.5)), [[0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0]], atol=1e-6)


def test_temperature_is_the_power_of_probabilities():
    for value in (0.25, 0.5, 2.0):
        powers = np.exp(SOME) ** (1 / value)
        expected = powers / powers.sum(1, keepdims=True)
        np.testing.assert_allclose(np.exp(temperature(jnp.asarray(SOME), value)), expected, atol=1e-6)


def test_nothing_changes_by_default_not_even_what_is_hardly_possible():
    log_probs = jnp.asarray([[np.log1p(-2e-12), np.log(1e-12), np.log(1e-12)]], jnp.float32)
    counts = jnp.asarray([[3.0, 0.0, 1.0]])
    found = decode(Categorical(log_probs), counts, Decoding()).log_probs
    np.testing.assert_allclose(found, log_probs, rtol=1e-6, atol=1e-9)
    logits = jnp.asarray([[2.0, -1.0, 0.5]])
    np.testing.assert_array_equal(repetition_penalty(logits, counts, 1.0), logits)
    np.testing.assert_array_equal(occurrence_penalty(logits, counts, 0.0, 0.0), logits)


def test_penalties_act_on_what_has_occurred():
    logits, counts = jnp.asarray([[2.0, -1.0, 0.5]]), jnp.asarray([[3.0, 1.0, 0.0]])
    np.testing.assert_allclose(repetition_penalty(logits, counts, 2.0), [[1.0, -2.0, 0.5]])
    np.testing.assert_allclose(occurrence_penalty(logits, counts, 0.1, 1.0), [[0.7, -2.1, 0.5]], atol=1e-6)


def test_once_everything_has_been_seen_a_repetition_penalty_is_a_temperature():
    seen = jnp.ones(SOME.shape)
    found = decode(Categorical(jnp.asarray(SOME)), seen, Decoding(repetition=1.5)).log_probs
    np.testing.assert_allclose(np.exp(found), np.exp(temperature(jnp.asarray(SOME), 1 / 1.5)), atol=1e-6)
    presence = decode(Categorical(jnp.asarray(SOME)), seen, Decoding(presence=2.0)).log_probs
    np.testing.assert_allclose(np.exp(presence), np.exp(SOME), atol=1e-6)


def test_transitions_are_counted_and_expected_from_the_first_position_on():
    prompts = prompts_of(np.array([[0, 1, 1, 0, 1, 0]]))
    answers = Categorical(jnp.log(jnp.full((1, 5, 2), 0.25) + jnp.asarray([0.0, 0.5])))
    counted, expected = transitions(TASK, prompts, answers, 1)
    np.testing.assert_allclose(counted, [[[0, 1], [2, 1]]])  # 1→1, 1→0, 0→1, 1→0
    np.testing.assert_allclose(expected, [[[0.25, 0.75], [0.75, 2.25]]])
    np.testing.assert_allclose(row_maxima(counted), [[1, 2 / 3]], atol=1e-6)
    np.testing.assert_allclose(row_maxima(counted, least=2), [[np.nan, 2 / 3]], atol=1e-6)
    np.testing.assert_allclose(row_maxima(jnp.zeros((1, 2, 2))), [[np.nan, np.nan]])


def test_what_makes_no_sense_is_refused():
    for name, value in (("temperature", 0.0), ("top_p", 0.0), ("top_p", 1.5), ("repetition", -1.0), ("top_k", -1)):
        with pytest.raises(ValueError, match=name):
            Decoding(**{name: value})
    prompts = prompts_of(np.array([[0, 1, 1, 0, 1, 0]]))
    for given in (0, 6):
        with pytest.raises(ValueError, match="given"):
            generate(knowing_learner(TASK), TASK, prompts, Decoding(), jax.random.key(0), given)
    pairs = LinearRegression(dimension=2, examples=3)
    with pytest.raises(TypeError, match="streams"):
        decoded(knowing_learner(pairs), pairs.sample(jax.random.key(0), 2), Decoding())
