"""Readers of changed formats: who knows the format does not move, who does not is found at the share planted."""

import jax
import numpy as np
import pytest

from icl_lab.formats import CHANGES, Interleaved, Unreadable
from icl_lab.stress.measure import answers_of, in_format, sample, stressed, terms
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.planted_formats import FormatReader, misreading
from icl_lab.stress.readable import why_unreadable
from icl_lab.stress.scoring import last_only
from icl_lab.stress.strength import family_answers, fit_strength
from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain

RULES = BooleanRules(bits=2, examples=5, noise=0.1)
TRAINED = Interleaved()


def moved(name: str, share: float) -> np.ndarray:
    perturbation = FORMAT_PERTURBATIONS[name]
    given = stressed(perturbation, RULES, jax.random.key(0), 48, perturbation.standard)
    reader = FormatReader(RULES, share, TRAINED, TRAINED)
    assert why_unreadable(in_format(reader, perturbation, perturbation.standard), given.after) == ""
    found = terms(perturbation, given, reader, perturbation.standard)
    assert np.isnan(found.distance).all()
    assert np.isnan(found.bias).all()
    return found.moved


@pytest.mark.parametrize("name", FORMAT_PERTURBATIONS)
def test_who_knows_the_format_does_not_move_and_who_does_not_does(name):
    np.testing.assert_array_equal(moved(name, 0.0), 0.0)
    if name in ("scaled_encoding", "blanks"):  # the sign of a bit has no scale, and the last tokens are the prompt
        np.testing.assert_array_equal(moved(name, 1.0), 0.0)
    else:
        assert moved(name, 1.0).mean() > 0.05


def test_the_planted_share_is_recovered():
    prompts = last_only(sample(RULES, jax.random.key(1), 128))
    format = CHANGES["separators"](TRAINED)
    family = misreading(TRAINED, format)
    every = family_answers(family, RULES, prompts)
    for share in (0.0, 0.27, 0.6):
        answer = answers_of(FormatReader(RULES, share, TRAINED, format), prompts)
        noise = 0.02 * jax.random.normal(jax.random.key(2), answer.mean_target().shape)
        noisy = RULES.outcomes.from_mean(answer.mean_target() * (1 + (noise if share else 0)))
        found = fit_strength(family, every, noisy, RULES.unit(prompts), np.asarray(prompts.scored))
        assert found.strength == pytest.approx(share, abs=0.02)
        assert found.low - 0.02 <= share <= found.high + 0.02
        assert found.left < 0.1 or not share


def test_what_makes_no_sense_for_a_task_is_said():
    said = {
        name: [perturbation.applies(task) != "" for task in (RULES, LinearRegression(), MarkovChain())]
        for name, perturbation in FORMAT_PERTURBATIONS.items()
    }
    everywhere = [False, False, False]
    assert said.pop("swapped") == [False, False, True]
    assert said.pop("label_codes") == [False, True, False]
    assert all(value == everywhere for value in said.values())


def test_strength_zero_is_the_format_of_training():
    for perturbation in FORMAT_PERTURBATIONS.values():
        assert perturbation.format(TRAINED, perturbation.strengths[0]) == TRAINED
        for strength in perturbation.strengths[1:]:
            changed = perturbation.format(TRAINED, strength)
            assert changed != TRAINED
            assert not isinstance(changed, Unreadable)
