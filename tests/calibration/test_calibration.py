"""Known subjects are what they say, truth is measured before any noise, and a calibration that was stopped goes on."""

import dataclasses
import itertools
import json
import math

import jax
import numpy as np
import pytest

from icl_lab.calibration import subjects as subjects_module
from icl_lab.calibration.distortions import DISTORTIONS
from icl_lab.calibration.measure import Rate, Record, records_of
from icl_lab.calibration.planted import answers_at, between_grid_points, disturbed, mixture, steady_parameters
from icl_lab.calibration.subjects import KINDS, known_subjects
from icl_lab.calibration.truth import Truth, named, scored, truth_of, without
from icl_lab.commands import calibrate as command
from icl_lab.commands.calibration_records import append, dataset_of, read_records
from icl_lab.core.errors import InputError
from icl_lab.core.prompts import Categorical, Point
from icl_lab.judging.comparison import compare
from icl_lab.judging.judge import Verdict, judge
from icl_lab.store.claims import read_claims
from icl_lab.store.results import read_results
from icl_lab.tasks import LinearRegression


def verdict(status="supported", supported=(), coincides=(), rejected=()):
    return Verdict(status, "", (), supported, (), (), coincides, rejected, 0.0)


def test_a_verdict_is_scored_against_the_equivalence_class():
    truth = Truth(("gd_1", "linear_kernel"), ("H2", "H5"))
    assert scored(verdict(supported=("H2", "H5")), truth)["identified"]
    assert scored(verdict(supported=("H5",)), truth)["identified"]
    assert named(verdict(supported=("H5",), coincides=("H3",))) == ("H3", "H5")
    part = scored(verdict(supported=("H5",), coincides=("H3",)), truth)
    assert (part["identified"], part["false"]) == (False, True)
    missed = scored(verdict(status="inconclusive"), truth)
    assert not any(missed.values())
    assert scored(verdict(supported=("H5",), rejected=("linear_kernel",)), truth)["split"]
    assert not scored(verdict(supported=("H5",), rejected=("pool_bayes",)), truth)["split"]
    assert scored(verdict(supported=("H1",)), Truth((), ()))["false"]


def test_the_truth_about_a_reference_holds_its_equals_and_nothing_else(bank):
    one_step = truth_of(bank, answers_at(bank, "gd_1", {"rate": 0.4}), "gd_1")
    assert {"gd_1", "linear_kernel"} <= set(one_step.references)
    assert {"H2", "H5"} <= set(one_step.hypotheses)
    assert "H1" not in one_step.hypotheses
    pool = truth_of(bank, answers_at(bank, "pool_bayes", {}), "pool_bayes")
    assert pool.hypotheses == ("H1",)


def test_what_is_removed_is_gone_from_the_verdict(bank):
    comparison = compare(bank, answers_at(bank, "pool_bayes", {}))
    assert judge(comparison).supported == ("H1",)
    rest = without(comparison, ("pool_bayes", "tempered_pool_bayes"))
    assert not {"pool_bayes", "tempered_pool_bayes"} & set(rest.references)
    assert len(rest.references) == rest.distance.shape[1] == rest.per_prompt.shape[1]
    assert judge(rest).status != "supported"


def test_noise_is_relative_to_the_answers_of_every_prompt(bank):
    answers = answers_at(bank, "gd_5", {"rate": 2.0})  # explodes on some prompts
    error = np.asarray(disturbed(answers, 1, 0.1).mean - answers.mean)
    size = np.sqrt(np.square(np.asarray(answers.mean)).mean(1))
    assert size.max() > 20 * np.median(size)
    np.testing.assert_allclose(np.mean(np.square(error) / np.square(size)[:, None]), 0.01, rtol=0.05)
    np.testing.assert_array_equal(disturbed(answers, 1, 0.0).mean, answers.mean)


def test_what_is_distorted_does_not_explode(bank):
    """Of rates drawn over the whole grid some do; the distortion would be lost in them."""

    def size(parameters):
        return np.square(np.asarray(answers_at(bank, "gd_5", parameters).mean)).mean()

    free = [size(between_grid_points(bank, "gd_5", seed)) for seed in range(12)]
    steady = [size(steady_parameters(bank, "gd_5", seed)) for seed in range(12)]
    labels = np.square(np.asarray(bank.prompts.y)).mean()
    assert max(free) > 1e4 * labels
    assert max(steady) < 200 * labels
    assert len({*np.round(steady, 6)}) > 8


def test_mixtures_are_of_means_or_of_probabilities():
    half = mixture(Point(np.ones((1, 2))), Point(np.full((1, 2), 3.0)), 0.25)
    np.testing.assert_allclose(half.mean, 1.5)
    shares = [np.array([[[0.2, 0.8]]]), np.array([[[0.6, 0.4]]])]
    found = mixture(*(Categorical(np.log(share)) for share in shares), 0.5)
    np.testing.assert_allclose(np.exp(found.log_probs), [[[0.4, 0.6]]], rtol=1e-6)


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_distorted_learners_keep_the_contract_and_are_no_reference(distortion):
    """The answer at position i changes neither with y_i nor with anything later."""
    task = LinearRegression(dimension=2, examples=5)
    prompts = task.sample(jax.random.key(0), 8)
    strength = float(np.mean(distortion.strengths))

    def answer(given):
        return distortion.apply(lambda p: task.population_predictive(p), task, given, strength).mean_target()

    before = np.asarray(answer(prompts))
    edited = prompts.replace(x=prompts.x.at[:, 4:].add(3.0), y=prompts.y.at[:, 3:].add(2.0))
    np.testing.assert_allclose(before[:, :4], np.asarray(answer(edited))[:, :4], atol=1e-5)
    plain = np.asarray(task.population_predictive(prompts).mean_target())
    assert np.abs(before - plain).max() > 0.05


def test_subjects_are_drawn_anew_for_another_seed_and_the_same_for_the_same(bank):
    def names(seed, draws):
        return [subject.name for subject in known_subjects(bank, seed, draws)]

    first = names(7, 1)
    assert len(set(first)) == len(first)
    assert names(7, 1) == first
    assert names(8, 1) != first
    assert len({*names(3000, 4)}) == len(names(3000, 4))  # a record is found again by its name
    kinds = {subject.kind for subject in known_subjects(bank, 7, 1)}
    assert kinds == set(KINDS) - {"distilled", "retrained", "inner loop"}  # which have to be trained
    assert between_grid_points(bank, "ridge", 7) != between_grid_points(bank, "ridge", 8)
    unknown = [s for s in known_subjects(bank, 7, 4) if s.kind in ("distorted", "untrained")]
    assert len(unknown) >= 150  # enough to claim 2% false support


def test_a_record_has_a_verdict_for_every_noise_and_number_of_prompts(bank):
    subject = next(s for s in known_subjects(bank, 7, 1) if s.reference == "pool_bayes")
    records = records_of(bank, subject, [bank.first(32)])
    assert [(r.noise, r.prompts) for r in records] == [
        ("none", 192),
        ("low", 192),
        ("low", 32),
        ("middle", 192),
        ("high", 192),
    ]
    assert records[0].identified
    assert records[0].truth == records[0].named == ("H1",)
    assert not records[0].false_without


def test_the_first_prompts_of_a_bank_are_a_bank(bank):
    part, rows = bank.first(32)
    assert {name: r.stop - r.start for name, r in part.slices.items()} == dict.fromkeys(bank.slices, 32)
    subject = answers_at(bank, "gd_1", {"rate": 0.4})
    distance = bank.distances(subject, bank.exact)
    few = jax.tree.map(lambda leaf: leaf[rows], subject)
    np.testing.assert_allclose(part.distances(few, part.exact), distance[rows])
    half = bank.slices["calibration"].stop // 2
    assert (rows[:16] < half).all()
    assert (rows[16:32] >= half).all()


def test_rates_have_score_intervals():
    rate = Rate.of([True] * 9 + [False])
    assert (rate.count, rate.total, rate.value) == (9, 10, 0.9)
    assert rate.interval == pytest.approx((0.596, 0.982), abs=1e-3)
    assert np.isnan(Rate.of([]).value)


def test_the_upper_bound_is_the_share_that_gives_as_few_in_one_of_twenty():
    assert Rate(0, 149).upper == pytest.approx(1 - 0.05 ** (1 / 149))
    assert Rate(0, 149).upper < 0.02 < Rate(0, 148).upper + 1e-4
    share = Rate(2, 10).upper
    assert sum(math.comb(10, k) * share**k * (1 - share) ** (10 - k) for k in range(3)) == pytest.approx(0.05)
    assert (Rate(3, 3).upper, Rate(0, 0).upper) == (1.0, 1.0)


@pytest.fixture
def small(bank, monkeypatch):
    """A calibration of a handful of subjects on a bank that is there."""

    def few(bank, seed, draws):
        everyone = list(subjects_module.known_subjects(bank, seed, draws))
        by_kind = itertools.groupby(everyone, key=lambda subject: subject.kind)
        for kind, group in by_kind:
            yield from itertools.islice(group, 2 if kind == "planted" else int(kind in ("distorted", "untrained")))

    monkeypatch.setattr(command, "build_bank", lambda *_: bank)
    monkeypatch.setattr(command, "known_subjects", few)
    return command.CalibrationConfig(
        families=("linear_regression",), draws=1, prompts=192, seed=7, distilled=0, mechanisms=0
    )


def test_a_calibration_that_was_stopped_goes_on_and_ends_the_same(small, tmp_path, monkeypatch):
    whole = command.calibrate(small, tmp_path / "whole")
    calls = []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return records_of(*arguments)

    monkeypatch.setattr(command, "records_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        command.calibrate(small, tmp_path / "stopped")
    folder = next((tmp_path / "stopped").iterdir())
    path = folder / "records" / "linear_regression.jsonl"
    with path.open("a") as file:
        file.write('[{"kind": "cut o')
    monkeypatch.setattr(command, "records_of", records_of)
    again = command.calibrate(small, tmp_path / "stopped")
    assert again.path.name == whole.path.name
    first, second = (read_results(each)[0]["linear_regression"] for each in (whole, again))
    assert first.equals(second)
    assert {claim.gate for claim in read_claims(again.claims_file)} == {"order", "report"}
    said = []
    command.calibrate(small, tmp_path / "stopped", said.append)
    assert said[0].startswith("reusing")


def test_records_survive_the_file(tmp_path):
    record = Record("planted", "a 0", "H1", "a", "low", 8, ("H1", "H2"), "supported", ("H1",), "a", 0.1, *[True] * 6)
    path = tmp_path / "records.jsonl"
    append(path, [record])
    assert read_records(path) == [record]
    student = dataclasses.replace(record, reference=None, truth=(), distance=(0.1, 0.2), limit=(0.2, 0.1))
    dataset = dataset_of([record, student], ("here", "there"))
    assert dataset["truth"].values.tolist() == ["H1+H2", ""]
    assert dataset["identified"].values.tolist() == [1, 1]
    assert dataset["counted"].values.tolist() == [1, 0]
    np.testing.assert_array_equal(dataset["distance"], [[np.nan, np.nan], [0.1, 0.2]])
    assert json.loads(path.read_text())[0]["group"] == "H1"
    path.write_text(path.read_text().replace('"kind"', '"kinds"'))
    with pytest.raises(InputError, match=r"records.jsonl: line 1 is damaged"):
        read_records(path)
