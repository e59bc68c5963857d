"""Planted learners are recognised, every reference off the grid with 2% noise; learners of no reference are not."""

import pytest
from planting import NOISE, planted, unlisted

from icl_lab.calibration.planted import answers_at, disturbed
from icl_lab.hypotheses import DECOYS, REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.comparison import compare
from icl_lab.judging.judge import judge, judge_learner, owner_of
from icl_lab.tasks import MarkovChain


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_planted_references_are_identified(bank, seed):
    """At least 85% of them, and never is another hypothesis supported without the true one."""
    identified, planted_hypotheses = [], []
    for name in bank.references:
        owner = owner_of(name)
        found = judge(compare(bank, planted(bank, name, seed, margin=0.0)))
        if REFERENCES[name][1].yields_to:
            continue  # a variation: see test_near_misses_support_nothing
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
    for seed in (1, 2):  # seed 0 with little noise is in the contract of hypotheses
        decoys = [d.name for d in DECOYS if d.name in each_bank.references and not d.yields_to]
        subjects = {name: planted(each_bank, name, seed, noise, margin=0.0) for name in decoys}
        for name, subject in (subjects | unlisted(each_bank, seed)).items():
            found = judge(compare(each_bank, subject))
            assert found.supported == found.coincides == (), name


@pytest.mark.parametrize("exponent", [0.35, 0.5, 2.2, 3.0])
def test_near_misses_support_nothing(bank, exponent):
    """A posterior that trusts its examples too little or too much is not pool Bayes, and not retrieval."""
    subject = disturbed(answers_at(bank, "tempered_pool_bayes", {"exponent": exponent}), 1, NOISE)
    found, _ = judge_learner(bank, subject)
    assert found.nearest == "tempered_pool_bayes"
    assert found.supported == found.coincides == ()


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
    assert {"population_bayes", "ridge"} <= set(bayes.near)
    assert {"H1", "H2"} <= set(bayes.supported)
    # A wide kernel mimics the mean label; the mean label mimics no narrow kernel.
    mean, _ = judge_learner(bank, planted(bank, "label_mean", 1))
    assert "nadaraya_watson" in (*mean.near, *mean.equivalent)
    narrow, _ = judge_learner(bank, planted(bank, "nadaraya_watson", 1))
    assert "label_mean" not in narrow.equivalent


COUNTING = {  # transition counts with one pseudo-count per state, in four forms
    "population_bayes": {"lapse": 1e-3},
    "context_counts": {"concentration": 1.0},
    "nadaraya_watson": {"bandwidth": 0.25, "pseudo_count": 3.0},
    "delta_rule": {"scale": 1.0},
}
OTHERS = ("gd_1", "gd_5", "nearest_neighbour", "longest_match", "label_mean", "longer_counts")


@pytest.fixture(scope="module")
def dirichlet_bank():
    return build_bank(
        MarkovChain(states=3, examples=23),
        prompts=128,
        calibration=128,
        references={name: REFERENCES[name] for name in (*COUNTING, *OTHERS)},
    )


@pytest.mark.parametrize("name", COUNTING)
def test_on_dirichlet_rows_three_hypotheses_are_one_function(dirichlet_bank, name):
    """Counts of transitions are the posterior mean (H1), a smoother over contexts (H2), a learned online rule (H3)."""
    exact = answers_at(dirichlet_bank, name, COUNTING[name])
    found, _ = judge_learner(dirichlet_bank, disturbed(exact, 1, NOISE))
    assert found.status == "supported", found.reasons
    assert set(found.supported) == {"H1", "H2", "H3"}
    assert set(found.near) == set(COUNTING)
    assert {*found.equivalent, name} >= set(COUNTING) - {found.nearest}
    assert set(found.refuted) == {"H4", "H5"}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("name", "hypothesis"), [("pool_bayes", "H1"), ("pool_map", "H4")])
def test_on_a_pool_of_chains_posterior_and_retrieval_are_told_from_the_rest(chain_bank, name, hypothesis, seed):
    found, _ = judge_learner(chain_bank, planted(chain_bank, name, seed))
    assert found.status == "supported", found.reasons
    near = tuple(each for each in found.near if name not in REFERENCES[each][1].yields_to)  # all but variations of it
    assert (found.supported, near) == ((hypothesis,), (name,))
    assert {"pool_bayes", "pool_map", *COUNTING, *OTHERS} - {name} <= set(found.rejected)
