"""Numbers of prompts against a simulated test, equal functions never told, and expectations that are checked."""

import dataclasses

import numpy as np
import pytest
from probes.subjects import TASKS
from scipy.stats import t, ttest_1samp

from icl_lab.calibration import readings as readings_module
from icl_lab.calibration import telling as telling_module
from icl_lab.calibration.equivalences import EQUIVALENT
from icl_lab.calibration.expectations import EXPECTATIONS
from icl_lab.calibration.needed import needed, power_of
from icl_lab.calibration.power import champions, implementable, separations
from icl_lab.calibration.readings import SIZE, prepare
from icl_lab.calibration.telling import Telling, tellings
from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.meta_learning import META_LEARNING
from icl_lab.judging.bank import build_bank
from icl_lab.probes.behaviour.battery import BATTERY

CHOSEN = ("population_bayes", "ridge", "linear_kernel", "nearest_neighbour", "gd_1", "gd_2")
PROBES = ("label_linearity", "orthogonal_query", "label_copying")
PROMPTS = 64


@pytest.fixture(scope="module")
def measured():
    """Separations and tellings of a few references by a few probes."""
    bank = build_bank(TASKS["regression"], 0, PROMPTS, PROMPTS, {name: REFERENCES[name] for name in CHOSEN})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readings_module, "BATTERY", {name: BATTERY[name] for name in PROBES})
        readings = prepare(bank, 0, PROMPTS)
        fits = bank.fit_to_task()
        return bank, fits, separations(bank, fits, readings, 2), tellings(bank, fits, readings), readings


@pytest.mark.parametrize(("mean", "tests"), [(1.5, 1), (0.6, 1), (0.3, 20)])
def test_the_prompts_needed_give_a_paired_test_its_power(mean, tests):
    """An independent simulation: scipy's t-test on as many fresh prompts sees the difference four times in five."""
    generator = np.random.default_rng(0)
    effect = 0.2
    values = generator.normal(size=4000)
    values = mean + effect + (values - values.mean()) / values.std()
    count = int(needed(values, effect, tests))
    drawn = generator.normal(mean + effect, 1, (4000, count))
    power = (ttest_1samp(drawn, effect, axis=1).pvalue < 0.05 / tests).mean()
    assert 0.77 < power < 0.88  # a whole number of prompts gives a little more
    fewer = ttest_1samp(drawn[:, : max(count - 1, 2)], effect, axis=1).pvalue < 0.05 / tests
    assert fewer.mean() < 0.82


@pytest.mark.parametrize(("size", "tests", "count"), [(3.0, 1000, 10), (1.0, 20, 20), (0.5, 1000, 105), (2.0, 1, 5)])
def test_they_are_the_fewest_with_power_also_where_there_are_few(size, tests, count):
    """Quantiles of t that are merely shifted by their noncentrality give one too few: 9 of the first row, power .74."""
    generator = np.random.default_rng(2)
    values = generator.normal(size=400)
    assert needed(size + (values - values.mean()) / values.std(ddof=1), 0.0, tests) == count

    def simulated(prompts):
        shape, draws = prompts - 1, 200_000
        spread = np.sqrt(generator.chisquare(shape, draws) / shape)
        found = (generator.normal(size=draws) + size * np.sqrt(prompts)) / spread
        return (np.abs(found) > t.isf(0.025 / tests, shape)).mean()

    assert simulated(count) > 0.797
    assert simulated(count - 1) < 0.803
    for prompts in (count - 1, count):
        assert power_of(prompts, size, tests) == pytest.approx(simulated(prompts), abs=0.004)


def test_so_large_a_difference_that_nothing_is_missed_needs_no_more():
    """Up to where the noncentral t is too far out to be summed."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=300)
    counts = [needed(size + values, 0.0, 1000) for size in np.geomspace(0.5, 1e6, 40)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 2


def test_noise_is_not_extrapolated_to_some_hundreds_of_prompts():
    generator = np.random.default_rng(1)
    assert all(np.isinf(needed(generator.normal(size=128), tests=50)) for _ in range(200))
    assert np.isinf(needed(np.full(64, 0.001) + 1e-6 * generator.normal(size=64), effect=0.002))
    assert np.isinf(needed(np.ones(7)))
    assert needed(np.array([*np.ones(32), *np.full(32, 1.1), np.nan])) < 5


def test_equal_functions_are_proven_and_probed_by_nothing(measured):
    found = measured[2]
    pair = {(each.first, each.second): each for each in found}
    assert pair["H1", "H2"].proven
    assert pair["H1", "H2"].equal == EQUIVALENT[frozenset(("ridge", "population_bayes"))]
    assert not np.isfinite(list(pair["H1", "H2"].prompts.values())).any()
    assert not set(PROBES) & set(pair["H1", "H2"].prompts)


def test_different_functions_are_told_by_what_differs(measured):
    bank, fits, found, *_ = measured
    assert champions(bank, fits, 1)["H5"] == "gd_1"
    copier = next(each for each in found if (each.first, each.second) == ("H1", "H4"))
    assert (copier.reference, copier.disguise, copier.equal) == ("population_bayes", "nearest_neighbour", "")
    assert copier.prompts["label_copying"] <= PROMPTS
    assert copier.prompts["in_distribution"] <= PROMPTS
    assert np.isinf(copier.prompts["label_linearity"])  # both are linear in the labels
    distance = bank.distances(
        *(
            each["population_bayes"].predictions if each is fits else each.predictions
            for each in (fits, bank.fit("nearest_neighbour", fits["population_bayes"].predictions))
        )
    )
    assert copier.nats == pytest.approx(max(distance[bank.slices[name]].mean() for name in bank.regimes))


def test_steps_beyond_the_depth_are_nobodys_disguise(measured):
    assert implementable("gd_2", 2)
    assert not implementable("gd_2", 1)
    assert implementable("ridge", 1)
    assert all("gd_5" not in (each.reference, each.disguise) for each in measured[2])


def test_learned_steps_take_as_many_layers_as_plain_ones():
    for learned, plain in META_LEARNING.suffices.items():
        able = [implementable(learned, depth) for depth in (1, 2, 4, 5, None)]
        assert able == [implementable(plain, depth) for depth in (1, 2, 4, 5, None)]
    assert not implementable("meta_sgd_5", 1)
    assert not implementable("meta_sgd_5_causal", 4)
    assert implementable("meta_sgd_1", 1)
    assert implementable("delta_rule", 1)  # a step per token, not per layer


def test_tellings_hold_what_is_expected_and_equal_pairs_are_not_told(measured):
    by_pair = {(each.first, each.second): each for each in measured[3]}
    assert by_pair["nearest_neighbour", "ridge"].prompts["label_copying"] <= PROMPTS
    assert by_pair["nearest_neighbour", "ridge"].expected["label_copying"] is True
    step = by_pair["gd_1", "ridge"]
    assert step.expected == {"label_linearity": False, "orthogonal_query": False}
    assert step.wrong() == []
    equal = [each for each in measured[3] if each.equal]
    assert {frozenset((each.first, each.second)) for each in equal} == {
        frozenset(("ridge", "population_bayes")),
        frozenset(("gd_1", "linear_kernel")),
    }
    for each in equal:
        assert not np.isfinite(list(each.prompts.values())).any()
        assert set(each.expected.values()) == {False}


def test_no_probe_has_to_tell_what_the_judge_calls_the_same_function(measured, monkeypatch):
    bank, fits, _, before, readings = measured
    assert any(told for each in before for told in each.expected.values())
    everything = dataclasses.replace(telling_module.THRESHOLDS, floor=1e9)
    monkeypatch.setattr(telling_module, "THRESHOLDS", everything)
    after = tellings(bank, fits, readings)
    assert after
    assert not any(told for each in after for told in each.expected.values())


def test_a_probe_that_does_not_do_what_it_must_is_wrong():
    prompts = {"influence": np.inf, "label_copying": 12.0, "duplication": 3.0}
    expected = {"influence": True, "label_copying": False, "duplication": True}
    assert Telling("a", "b", "", prompts, expected, {}).wrong() == ["influence", "label_copying"]


def test_expectations_are_of_probes_and_references_that_exist_and_every_probe_has_one():
    assert {each.probe for each in EXPECTATIONS if each.told} == set(BATTERY)
    assert {name for each in EXPECTATIONS for name in (each.first, each.second)} <= set(REFERENCES)
    assert len({(each.probe, each.first, each.second) for each in EXPECTATIONS}) == len(EXPECTATIONS)
    assert 0 < SIZE < 0.01
