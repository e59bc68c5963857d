"""Every preset can be trained, every script says what it claims, and the measures of the scripts are right by hand."""

import importlib.util
from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest

from icl_lab.hypotheses.judge import Comparison
from icl_lab.probes.early_exit import gradient_iterates
from icl_lab.runs.config import load_config
from icl_lab.runs.experiment import members_claim
from icl_lab.runs.subject import Subject
from icl_lab.tasks import LinearRegression
from icl_lab.training import init_state, stack, train_chunk

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def losses_of_one_step(subject: Subject, seed: int) -> tuple[int, ...]:
    """Shape of the losses of one training step, traced at full size and not computed."""
    model, format, settings = subject.build_model(), subject.build_format(), subject.build_training()

    def one_step(members):
        return train_chunk(model, format, settings, members, init_state(model, settings, members), 1)[1]["loss"]

    return jax.eval_shape(one_step, stack([planned.member for planned in subject.members(seed)])).shape


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_presets_can_be_trained(path):
    config = load_config(path)
    for subject in config.subjects.values():
        assert losses_of_one_step(subject, config.seed)[0] == len(subject.members(config.seed))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_say_what_they_claim(path):
    module = script(path.stem)
    assert all(f"\n{head}" in str(module.__doc__) for head in ("Claim ", "Source", "Time "))
    assert {"quick", "paper"} <= {preset.stem for preset in (ROOT / "configs" / path.stem).glob("*.yaml")}
    assert f"`{path.name}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_of_no_members_nothing_is_claimed():
    none = members_claim("a", "all are right", "", None, [], [])
    assert (none.holds, none.gate) == (None, "report")
    assert members_claim("a", "all are right", "", None, [1, 2], [True, False]).holds is False


def test_flips_that_are_ignored_are_not_followed():
    """A curve that never moves does not fall by half of the exact fall."""
    falls = script("conflict_and_noise").falls
    exact = np.array([3.0, 1.0, -1.0, -3.0])
    assert falls(0.7 * exact, exact)
    assert falls(exact + np.array([0, 0, 0.05, 0]), exact)
    assert not falls(0 * exact, exact)
    assert not falls(np.array([3.0, -3.0, -2.0, -3.0]), exact)


def test_every_folder_of_presets_has_its_script():
    assert {path.parent.name for path in PRESETS} - {"configs"} == {path.stem for path in SCRIPTS}


def test_the_drop_is_past_half_way_and_phases_have_their_minimum_before_it():
    phases = script("markov_phases")
    assert phases.drop(np.array([0.7, 0.6, 0.54, 0.51]), unigram=0.6, bigram=0.5) == 2
    assert phases.drop(np.array([0.7, 0.6, 0.56, 0.55]), unigram=0.6, bigram=0.5) is None
    assert phases.passes_through_unigram(np.array([0.3, 0.01, 0.05, 0.1]), 2)
    assert not phases.passes_through_unigram(np.array([0.3, 0.2, 0.01, 0.1]), 2)  # the minimum is at the drop
    assert not phases.passes_through_unigram(np.array([0.01, 0.2, 0.1, 0.1]), 2)  # at the first snapshot
    assert not phases.passes_through_unigram(np.array([0.3, 0.1, 0.12, 0.15]), 2)  # it does not grow
    assert not phases.passes_through_unigram(np.array([0.3, 0.01, 0.05, 0.1]), None)


def test_transitions_that_do_not_come_are_censored():
    transition = script("in_context_vs_in_weights").transition
    assert transition(np.array([0.1, 0.5, 0.6, 1.0]), [0, 10, 20, 30], chance=0.125) == 20  # above .5625
    assert transition(np.array([0.1, 0.2]), [0, 10], chance=0.125) == np.inf


def test_relative_distance_is_one_at_the_memory_and_zero_at_the_general_solution():
    relative = script("chain_pool").relative
    sides = {"to G": np.array([2.0, 0.0, 1.0]), "to M": np.array([0.0, 2.0, 1.0]), "apart": np.full(3, 2.0)}
    np.testing.assert_allclose(relative(sides), [1.0, 0.0, 0.5])


def test_recovered_shares_are_nothing_at_the_dummy_and_one_at_the_examples():
    vectors = script("task_vectors")
    losses = {"dummy": np.array([1.0, 3.0]), "full": np.array([0.5, 1.5])}  # a mean gain of 1
    patched = np.array([[0.5, 1.5], [1.0, 3.0], [1.5, 4.0]])
    found = vectors.recovered(losses | dict.fromkeys((vectors.OWN, *vectors.CONTROLS), patched))[vectors.OWN]
    np.testing.assert_allclose(found, [[0.5, 1.5], [0, 0], [-0.5, -1]])
    low, high = vectors.leads(np.arange(100.0) + 2, np.arange(100.0))
    assert low == pytest.approx(2)  # paired: what the prompts share is no uncertainty
    assert high == pytest.approx(2)


def test_the_first_layer_has_nearly_the_best_score():
    encoded = script("what_is_encoded")
    assert encoded.first_layer(np.array([0.1, 0.85, 0.9, 0.8])) == 2
    assert encoded.first_layer(np.array([0.1, 0.7, 0.9, 0.85])) == 3


def test_the_part_that_a_read_out_sees_is_read_as_the_whole():
    encoded, rng = script("what_is_encoded"), np.random.default_rng(0)
    read = rng.normal(size=(2, 5, 3))
    streams = rng.normal(size=(2, 40, 5))
    found = encoded.directions(streams, 0.7 + streams @ read)
    np.testing.assert_allclose(found, read, atol=1e-9)
    onto = encoded.span(read)
    np.testing.assert_allclose(streams @ onto @ read, streams @ read, atol=1e-9)
    for layer in range(2):  # what is orthogonal to the three directions is left out
        outside = np.linalg.svd(read[layer])[0][:, 3:]
        np.testing.assert_allclose(outside.T @ onto[layer], 0, atol=1e-9)
    moved = encoded.pattern(read, streams)
    np.testing.assert_allclose(streams @ moved @ read, streams @ read, atol=1e-9)
    centred = streams - streams.mean(1, keepdims=True)
    for layer in range(2):  # what it leaves is uncorrelated with what is read
        left = centred[layer] - centred[layer] @ moved[layer]
        np.testing.assert_allclose(left.T @ centred[layer] @ read[layer], 0, atol=1e-8)


def test_an_answer_that_goes_to_pieces_takes_nothing_of_the_others():
    encoded, rng = script("what_is_encoded"), np.random.default_rng(0)
    own, source = rng.normal(size=(2, 500))
    moved = np.stack([source - own, 0.3 * (source - own), -own, rng.normal(size=500)])
    shares = encoded.taken(moved, own, source)
    np.testing.assert_allclose(shares[:3], [1, 0.3, 0], atol=1e-9)
    assert abs(shares[3]) < 0.15
    drawn = rng.integers(0, 500, size=(2, 500))
    counts = np.stack([np.bincount(row, minlength=500) for row in drawn])
    repeated = [encoded.taken(moved[3][row], own[row], source[row]) for row in drawn]
    np.testing.assert_allclose(encoded.taken(moved[3], own, source, counts), repeated)


def test_layers_of_gd_plus_plus_without_its_gamma_are_gradient_descent():
    layers = script("layers_as_iterations")
    task = LinearRegression(dimension=2, examples=4, noise=0.0, covariance=np.array([4.0, 0.25]))
    prompts = task.sample(jax.random.key(0), 512)
    white = layers.whitened(task, prompts)
    second = np.einsum("bif,big->fg", white.x, white.x) / white.x[..., 0].size
    np.testing.assert_allclose(second, np.eye(2), atol=0.15)
    found = layers.plus_plus_iterates(white, 3, 0.4, 0.0)
    np.testing.assert_allclose(found, gradient_iterates(task, white, 3, 0.4), atol=1e-5)


def test_errors_are_typical_and_orders_are_told():
    layers = script("layers_as_iterations")
    answers = np.array([[[1.0], [3.0]], [[0.1], [20.0]]])
    np.testing.assert_allclose(layers.typical(answers, np.zeros(2)), [3.0, 2.0], rtol=1e-6)
    linear, doubling = layers.orders(np.exp(-np.arange(5.0)))
    assert linear == pytest.approx(1, abs=1e-5)
    assert doubling < 0.9


def test_descriptions_and_demonstrations_are_level_where_the_share_is_one_half():
    described = script("description_vs_demonstrations")
    assert described.crossing(np.array([0.9, 0.7, 0.3, 0.6])) == pytest.approx(1.5)
    assert described.crossing(np.array([0.4, 0.3])) == 0
    assert described.crossing(np.array([0.9, 0.8])) == np.inf
    curve = described.ratio_curve(np.array([[1.0, 3.0], [3.0, 1.0]] * 20), np.array([[2.0, 8.0], [6.0, 8.0]] * 20))
    np.testing.assert_allclose(curve.value, [0.5, 0.25])  # sums over prompts, not a mean of ratios
    np.testing.assert_allclose([curve.low[0], curve.high[0]], 0.5)
    assert curve.low[1] < 0.25 < curve.high[1]
    noise = np.random.default_rng(0).normal(size=(400, 1))
    assert described.rises(noise + [3.0, 2.0, 1.0] + 0.1 * np.random.default_rng(1).normal(size=(400, 3))) < 0
    assert described.rises(noise + [3.0, 1.0, 2.0] + 0.1 * np.random.default_rng(1).normal(size=(400, 3))) > 10


def test_recall_is_compared_by_thirds_and_log_odds_over_the_gap():
    recency = script("recency")
    np.testing.assert_array_equal(recency.thirds(np.arange(7), 7), [0, 0, 1, 1, 1, 2, 2])
    third = np.repeat([0, 1, 2], 200)
    values = np.array([1.0, 2.0, 4.0])[third] + np.random.default_rng(0).normal(size=600)
    mean, low, high = recency.apart(values, third, 2, 0)
    assert low < 3 < high
    assert mean == pytest.approx(values[third == 2].mean() - values[third == 0].mean())
    gap = np.random.default_rng(1).integers(1, 9, 500).astype(float)
    odds = 0.2 * gap + 0.1 * np.random.default_rng(2).normal(size=500)
    value, low, high = recency.slope(odds, gap)
    assert value == pytest.approx(np.polyfit(gap, odds, 1)[0])
    assert low < 0.2 < high


def test_a_kind_that_changes_at_the_last_snapshot_is_censored():
    settled = script("when_it_changes").settled
    assert settled(["a", "a", "a"]) == 0
    assert settled(["a", "b", "b", "b"]) == 1
    assert settled(["b", "a", "b", "b"]) == 2
    assert settled(["a", "a", "b"]) is None


def test_a_look_has_the_least_relative_distance_of_every_kind():
    changes = script("when_it_changes")
    names = ("pool_bayes", "pool_map", "ridge", "gd_1", "label_mean")
    assert [changes.kind_of(name) for name in names] == ["stored", "stored", "H1", "H5", "decoy"]
    distance = np.array([[0.3, 0.1, 0.001, 0.4, 0.5], [0.5, 0.9, 0.001, 0.2, 0.5]])
    comparison = Comparison(("a", "b"), names, distance, distance[..., None], np.array([[1.0], [2.0]]), {})
    found = changes.look(comparison)
    assert (found.nearest, found.kind, found.status) == ("ridge", "H1", "supported")
    expected = {"stored": (0.3 + 0.25) / 2, "H1": 0.00075, "H5": 0.25, "decoy": 0.375}
    assert found.distances == pytest.approx(expected)
    assert found.remainder == pytest.approx(0.001)
