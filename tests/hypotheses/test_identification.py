"""Planted learners are recognised, every reference off the grid with 2% noise; learners of no reference are not."""

import pytest
from planting import planted, unlisted

from icl_lab.hypotheses import DECOYS
from icl_lab.hypotheses.judge import judge_learner, owner_of


@pytest.mark.parametrize("seed", [1, 2])
def test_planted_references_are_identified(bank, seed):
    """At least 85% of them, and never is another hypothesis supported without the true one."""
    identified, planted_hypotheses = [], []
    for name in bank.references:
        owner = owner_of(name)
        found, _ = judge_learner(bank, planted(bank, name, seed, margin=0.0))
        if owner in ("rival", "decoy"):
            assert found.status != "supported" or owner == "rival", (name, found.reasons)
            assert name in found.near
            continue
        planted_hypotheses.append(name)
        if found.status == "supported":
            assert owner in (*found.supported, *found.coincides), (name, found.near)
            identified.append(name)
    missed = set(planted_hypotheses) - set(identified)
    assert len(identified) >= 0.85 * len(planted_hypotheses), missed


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_decoys_support_nothing(each_bank, noise):
    for seed in range(3):
        decoys = [reference.name for reference in DECOYS if reference.name in each_bank.references]
        subjects = {name: planted(each_bank, name, seed, noise, margin=0.0) for name in decoys}
        for name, subject in (subjects | unlisted(each_bank, seed)).items():
            found, _ = judge_learner(each_bank, subject)
            assert found.supported == found.coincides == (), name


def test_a_mixture_of_two_references_is_neither(bank):
    """Halfway between ridge and the nearest example: unexplained, with both rejected or neither near."""
    both = bank.predictions["nearest_neighbour"].mean + bank.predictions["population_bayes"].mean
    subject = bank.predictions["population_bayes"].__class__((0.5 * both).astype("float32"))
    found, _ = judge_learner(bank, subject)
    assert found.status == "unexplained"
    assert found.supported == ()


def test_known_equivalences_are_named_and_directional(bank):
    one_step, comparison = judge_learner(bank, planted(bank, "gd_1", 1))
    assert {"gd_1", "linear_kernel"} <= set(one_step.near)
    assert {"H2", "H5"} <= set(one_step.supported)
    assert {"gd_1", "linear_kernel"} - {one_step.nearest} <= set(one_step.equivalent)
    assert comparison.fits["gd_1"].parameters["rate"] == pytest.approx(
        comparison.fits["linear_kernel"].parameters["scale"], rel=1e-3
    )
    bayes, _ = judge_learner(bank, planted(bank, "population_bayes", 1))
    assert {"ridge", "linear_kernel_ridge"} <= set(bayes.near)
    # A wide kernel mimics the mean label; the mean label mimics no narrow kernel.
    mean, _ = judge_learner(bank, planted(bank, "label_mean", 1))
    assert "nadaraya_watson" in (*mean.near, *mean.equivalent) or "label_mean" in mean.near
    narrow, _ = judge_learner(bank, planted(bank, "nadaraya_watson", 1))
    assert "label_mean" not in narrow.equivalent
