"""Every preset can be trained, every script says what it claims, and the measures of the scripts are right by hand."""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from icl_lab.config.config import load_config
from icl_lab.config.subject import Subject
from icl_lab.core.errors import InputError
from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.experiments import first_step, right, shown_steps
from icl_lab.experiments.script import members_claim, run_experiment
from icl_lab.judging.comparison import Comparison
from icl_lab.tasks import BooleanRules, LinearRegression
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


def presets() -> list:
    """Every preset; those that are not run on a CPU belong to the slow tests."""
    slow = [() if path.stem in ("quick", "quickstart") else pytest.mark.slow for path in PRESETS]
    names = [f"{path.parent.name}/{path.stem}" for path in PRESETS]
    return [pytest.param(path, id=name, marks=mark) for path, name, mark in zip(PRESETS, names, slow, strict=True)]


@pytest.mark.parametrize("path", presets())
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


@pytest.mark.parametrize("words", [["--output", "o", "--judge.prompts", "100"], ["--judge.prompts=100"], ["quick"]])
def test_what_stands_after_a_setting_is_not_taken_for_the_preset(words, tmp_path, monkeypatch):
    def stop(config, output):
        found.append((config.judge.prompts, str(output)))
        raise InputError("as far as this")

    found: list[tuple[int, str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("icl_lab.experiments.script.RunDirectory.create", stop)
    own = load_config(ROOT / "configs" / "one_step_gd" / "quick.yaml").judge.prompts
    assert run_experiment(str(ROOT / "experiments" / "one_step_gd.py"), lambda *_: [], words) == 2
    assert found == [(own if words == ["quick"] else 100, "o" if "--output" in words else "runs")]


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
    assert first_step(np.array([0.1, 0.5, 0.6, 1.0]) > 0.5625, [0, 10, 20, 30]) == 20
    assert first_step(np.array([0.1, 0.2]) > 0.5625, [0, 10]) == np.inf
    assert shown_steps([20.0, np.inf], 30) == ["20", ">30"]


def test_the_commonest_label_of_a_prompt_is_right_as_often_as_enumeration_says():
    weights = script("in_context_vs_in_weights")
    for classes, labels in ((1, 3), (2, 4), (4, 8), (5, 3)):
        counts = [max(map(drawn.count, drawn)) for drawn in itertools.product(range(labels), repeat=classes)]
        assert weights.commonest_label(classes, labels) == pytest.approx(np.mean(counts) / classes)
    for burstiness in (2, 0):  # four classes of eight labels, either way
        data = SimpleNamespace(task_examples=8, task_labels=8, task_burstiness=burstiness)
        assert weights.thresholds(data)[1] == pytest.approx(0.412109375)


def test_relative_distance_is_one_at_the_memory_and_zero_at_the_general_solution():
    relative = script("chain_pool").relative
    sides = {"to_G": np.array([2.0, 0.0, 1.0]), "to_M": np.array([0.0, 2.0, 1.0]), "between": np.full(3, 2.0)}
    np.testing.assert_allclose(relative(sides), [1.0, 0.0, 0.5])


def test_recovered_shares_are_nothing_at_the_dummy_and_one_at_the_examples():
    vectors = script("task_vectors")
    losses = {"dummy": jnp.array([1.0, 3.0]), "full": jnp.array([0.5, 1.5])}  # a mean gain of 1
    patched = jnp.array([[0.5, 1.5], [1.0, 3.0], [1.5, 4.0]])
    found = vectors.recovered(losses | dict.fromkeys((vectors.OWN, *vectors.CONTROLS), patched))[vectors.OWN]
    np.testing.assert_allclose(found, [[0.5, 1.5], [0, 0], [-0.5, -1]])
    low, high = vectors.leads(np.arange(100.0) + 2, np.arange(100.0))
    assert low == pytest.approx(2)  # paired: what the prompts share is no uncertainty
    assert high == pytest.approx(2)


def test_places_are_chosen_on_other_prompts_of_every_draw_alone():
    vectors = script("task_vectors")
    choosing = np.array([[[0.0, 0.2], [1.0, 1.2]], [[5.0, 5.0], [3.0, 9.0]], [[2.0, 2.0], [1.0, 1.0]]])
    measuring = np.arange(12.0).reshape(3, 2, 2)
    found, place = vectors.at_best(choosing, measuring)
    np.testing.assert_array_equal(place, [1, 1, 0])
    np.testing.assert_array_equal(found, measuring[[0, 1, 2], place])
    alone, first = vectors.at_best(choosing[2], measuring[2])
    np.testing.assert_array_equal(alone, measuring[2, 0])
    assert first == 0
    assert vectors.rank(np.array([1.0, 3.0]), np.array([[1.0, 1.0], [2.0, 2.0], [4.0, 2.0]])) == 3


def test_a_share_counts_above_controls_in_their_own_best_layers():
    """Controls that are worse in the vector's layer, and better in another, win."""
    vectors = script("task_vectors")

    def member(other: float, random: float) -> dict:
        noise = 0.01 * np.random.default_rng(0).normal(size=200)
        rows = {
            vectors.OWN: np.array([0.1, 0.5])[:, None] + noise,
            "another task": np.array([other, -0.5])[:, None] + noise,
            "random": np.tile(np.array([random, -0.5])[:, None] + noise, (vectors.DRAWS, 1, 1)),
        }
        sets = ("choosing", "measuring")
        shares = {(name, mode, kind): row for name in sets for mode in vectors.MODES for kind, row in rows.items()}
        return shares | {(name, "soft"): rows[vectors.OWN] for name in sets}

    def holds(other: float, random: float, members: int = 3) -> list[bool]:
        claims = {c.id: c for c in vectors.share_claims("a", "", [member(other, random)] * members, gates=True)}
        assert {claims[f"a.add.{kind}"].gate for kind in ("random", "another_task")} == {"order"}
        return [bool(claims[f"a.add.{kind}"].holds) for kind in ("another_task", "random", "random.each")]

    assert holds(0.3, 0.3) == [True, True, True]
    assert holds(0.6, 0.3) == [False, True, True]
    assert holds(0.3, 0.6) == [True, False, False]
    assert holds(0.3, 0.3, members=1) == [True, False, True]  # first of nine once is no evidence


def test_who_is_nearer_to_the_changed_prior_has_not_fallen_back_to_the_pool():
    """Of s = t + a(c − t) the bias is below the mismatch up to a = 1, and s nearer to t up to a = ½."""
    prior = script("prior_and_coverage")

    def terms(share: float, count: int):
        rng = np.random.default_rng(0)  # the same prompts for every member
        trained = 10 + rng.normal(size=(count, 100, 3))
        changed = trained + rng.normal(size=trained.shape)
        asked = prior.Asked(None, changed, trained, trained, np.ones(trained.shape))
        return prior.terms(asked, trained + share * (changed - trained))

    def row(share: float):
        return prior.Row(4, terms(share, len(prior.CHANGES)), terms(share, len(prior.SHARES)))

    for share, nearer in ((0.3, True), (0.7, False)):
        claims = {claim.id: claim for claim in prior.few_claims([row(0.1), row(share)], 4)}
        bias, gate = claims["few.bias.fresh_w"], claims["few.prior.fresh_w"]
        assert (bias.holds, bias.gate) == (True, "report")
        assert (gate.holds, gate.gate) == (nearer, "order")


def test_parities_are_counted_by_bits_and_chance_is_asked_of_two_and_more():
    rules = script("boolean_rules")
    task = BooleanRules(bits=3, rules="parity", sparsity=None, examples=5)
    bits = rules.bits_of(task)
    np.testing.assert_array_equal(bits, [0, 1, 1, 2, 1, 2, 2, 3])
    assert (rules.bits_of(task.replace(sparsity=2)) == 2).all()
    assert 0.5 + 3 * 0.5 / np.sqrt(rules.SCORED) <= rules.NEAR_CHANCE + 1e-12
    hard = rules.about(task, np.flatnonzero(bits > 1), jax.random.key(0))
    assert len(hard.y) >= rules.SCORED
    assert np.isin(hard.latent, np.flatnonzero(bits > 1)).all()
    asked = {"chance": hard, "single": rules.about(task, np.flatnonzero(bits < 2), jax.random.key(1))}

    def accuracies(known: list[int]) -> list[tuple[bool, float]]:
        """Of a learner that knows these rules and tosses a coin about the others."""

        def learner(prompts: Prompts) -> Categorical:
            share = jnp.where(jnp.isin(prompts.latent, np.array(known)), 1.0, 0.5)[:, None, None]
            right = jax.nn.one_hot(prompts.y, 2)
            return Categorical(jnp.log(share * right + (1 - share) * (1 - right)))

        accuracy = np.array(rules.accuracies(jax.tree_util.Partial(learner), asked)[1])
        found = {"accuracy": (("member", "part"), accuracy[None]), "part": list(asked)}
        found |= {name: (("part",), [1, 1]) for name in ("exact_accuracy", "prompts")}
        claims = rules.claims({"a": xarray.Dataset(found, attrs={"title": ""})})
        return [(bool(claim.holds), claim.values[0]) for claim in claims]

    assert accuracies([0, 1, 2, 4]) == [(True, 0.5), (True, 1.0)]  # those of one bit, and the empty one
    assert accuracies([3])[0] == (False, 0.625)  # one of the four others
    assert [holds for holds, _ in accuracies([])] == [True, False]  # a learner that knows nothing is at chance


def test_an_answer_is_right_as_often_as_a_coin_among_the_most_probable_classes():
    shares = np.array([[0.3, 0.7, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(right(shares, [1, 0, 2, 2]), [1, 0.5, 0, 1 / 3])


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


def test_whitened_prompts_have_unit_covariance():
    layers = script("layers_as_iterations")
    task = LinearRegression(dimension=2, examples=4, noise=0.0, covariance=np.array([4.0, 0.25]))
    prompts = task.sample(jax.random.key(0), 512)
    white = layers.whitened(task, prompts)
    second = np.einsum("bif,big->fg", white.x, white.x) / white.x[..., 0].size
    np.testing.assert_allclose(second, np.eye(2), atol=0.15)


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


def test_log_odds_grow_by_half_of_the_exact_steps():
    """Of P = .5, .75 and 1, taken for .95: half of log 3 and of log 19 − log 3, .55 and .92."""
    recency = script("recency")
    for rows, holds in (([0.0, 0.6, 1.6], True), ([0.0, 0.5, 1.6], False), ([0.0, 0.6, 1.5], False)):
        claim = recency.grows_claim("no", {p: [value] for p, value in zip((0.5, 0.75, 1.0), rows, strict=True)})
        assert bool(claim.holds) == holds


def test_coverage_is_asked_of_pools_that_hold_its_lines():
    coverage = script("prior_and_coverage")
    for pools, words in (((2, 64), "smallest pool has 2"), ((0,), "no subject has a pool")):
        members = [SimpleNamespace(pool=pool) for pool in pools]
        with pytest.raises(InputError, match=words):
            coverage.measure(None, {"a": SimpleNamespace(members=members)}, None)


def test_no_recency_is_told_by_narrow_intervals_only():
    """A lead of the last third that is not there has to be excluded; few prompts exclude nothing."""
    recency = script("recency")

    def holds(kind: str, last: float, prompts: int) -> bool:
        place = np.arange(prompts) % 3
        values = 0.4 + last * (place == 2) + 0.7 * np.random.default_rng(0).normal(size=prompts)
        data = xarray.Dataset(
            {"excess": (("member", "prompt"), values[None]), "place": (("member", "prompt"), place[None])},
            attrs={"title": "", "task_examples": 3, "task_labels": 16, "task_start": 0.0}
            | {"task_end": 30.0 if kind == "end" else 0.0},
        )
        order, level = recency.recall_claims("a", data)
        assert level.gate == "report"
        return bool(order.holds)

    assert holds("uniform", 0.0, 20_000)
    assert holds("uniform", 0.2, 20_000)  # primacy
    assert not holds("uniform", -0.06, 20_000)
    assert not holds("uniform", 0.0, 300)
    assert holds("end", -0.2, 20_000)
    assert not holds("end", 0.0, 20_000)


def test_a_look_has_the_least_relative_distance_of_every_kind():
    changes = script("when_it_changes")
    names = ("pool_bayes", "pool_map", "ridge", "gd_1", "label_mean")
    assert [changes.kind_of(name) for name in names] == ["stored", "stored", "H2", "H5", "decoy"]
    distance = np.array([[0.3, 0.1, 0.001, 0.4, 0.5], [0.5, 0.9, 0.001, 0.2, 0.5]])
    comparison = Comparison(("a", "b"), names, distance, distance[..., None], np.array([[1.0], [2.0]]), {})
    found = changes.look(comparison)
    assert (str(found.nearest.values), str(found.status.values)) == ("ridge", "supported")
    assert changes.function_of("ridge") == changes.function_of("population_bayes") != changes.kind_of("ridge")
    assert changes.function_of("pool_map") == "stored"
    expected = {"stored": (0.3 + 0.25) / 2, "H2": 0.00075, "H5": 0.25, "decoy": 0.375}
    assert {kind: float(found.distance.sel(family=kind)) for kind in expected} == pytest.approx(expected)
    assert np.isnan(found.distance.sel(family="H3"))
    assert float(found.remainder) == pytest.approx(0.001)
