"""A learner of the user's own: how it is called, what is said when it is wrong, and that it is judged as it should."""

import json
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from command import main, refused

from icl_lab.analysis.scores import Judged, analyse
from icl_lab.commands import judge as outside
from icl_lab.config.config import JudgeConfig
from icl_lab.config.yaml_file import read_yaml
from icl_lab.core.errors import InputError
from icl_lab.core.outcomes import Classes, Real
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.learners.outside import OutsideLearner, checked, peeks
from icl_lab.probes.behaviour.battery import BATTERY, ask, read_all
from icl_lab.report.data import load
from icl_lab.report.numbers.probes import probe_rows, seen_and_predicted
from icl_lab.report.numbers.tally import blocks
from icl_lab.store.directory import RunDirectory
from icl_lab.store.results import read_results, write_results
from icl_lab.tasks import BooleanRules, Described, LinearRegression, MarkovChain, Pool

TASK = LinearRegression(dimension=2, examples=4)
SOURCE = """
    import numpy as np

    def ridge(x, y, penalty=0.25):
        answers = np.zeros(y.shape)
        for b, i in np.ndindex(*y.shape):
            seen = x[b, :i]
            weights = np.linalg.solve(seen.T @ seen + penalty * np.eye(x.shape[2]), seen.T @ y[b, :i])
            answers[b, i] = x[b, i] @ weights
        return answers

    def last(x, y):
        return ridge(x, y)[:, -1]

    def peeking(x, y):
        return np.cumsum(y, axis=1)

    def wrong_shape(x, y):
        return np.zeros((3, 2, 1, 1))

    def broken(x, y):
        raise RuntimeError("no such layer\\nand more")

    def leaves(x, y):
        raise SystemExit(3)

    def few(x, y):
        if len(x) > 8:
            raise MemoryError("at most 8")
        return ridge(x, y)

    def empty(x, y):
        answers = np.cumsum(y, axis=1) - y
        return np.where(np.arange(y.shape[1]) > 0, answers, np.nan)

    def scaled(x, y):
        if not np.std(y, axis=1).all():
            raise ZeroDivisionError("labels without a spread")
        return ridge(x, y)

    def lost(x, y):
        return np.where(np.arange(len(y)) == 2, np.inf, last(x, y))

    number = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "brought.py").write_text(textwrap.dedent(SOURCE))
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "brought"

    sys.modules.pop("brought", None)


def learner(spec, task=TASK):
    return outside.adapted(spec, outside.load_callable(spec), task, seed=0)[0]


def test_its_answers_are_those_of_the_function_also_when_compiled(module):
    prompts = TASK.sample(jax.random.key(0), 5)
    found = jax.jit(lambda given, p: given(p))(learner("brought:ridge"), prompts)
    exact = TASK.population_predictive(prompts)
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-4)


def test_one_that_answers_the_last_position_only_leaves_the_others_unanswered(module):
    adapted = learner("brought:last")
    assert adapted.last_only
    found = np.asarray(adapted(TASK.sample(jax.random.key(0), 5)).mean)
    assert np.isfinite(found[:, -1]).all()
    assert np.isnan(found[:, :-1]).all()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("brought", "should be MODULE:CALLABLE"),
        ("nothing_here:answer", "cannot import 'nothing_here': ModuleNotFoundError"),
        ("brought:absent", "'absent' is nothing that can be called"),
        ("brought:number", "'number' is nothing that can be called"),
        ("brought:peeking", "the answer at position 0 depends on what comes later"),
        ("brought:wrong_shape", r"shape \(3, 2, 1, 1\) should be \(4, 5\)"),
        ("brought:broken", "RuntimeError: no such layer and more"),
        ("brought:leaves", "SystemExit: 3"),
        ("brought:empty", r"not finite at position 0 of prompt 0; without examples 0 is an answer$"),
        ("brought:lost", r"not finite for prompt 2$"),
        ("exits:answer", r"cannot import 'exits': SystemExit: 3"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(module, spec, words):
    with pytest.raises(InputError, match=words) as caught:
        learner(spec)
    assert "\n" not in str(caught.value)


def test_classes_are_answered_with_probabilities():
    with pytest.raises(ValueError, match="not probabilities"):
        checked(np.full((2, 3, 2), 0.7), (2, 3), Classes(2))
    shares = np.full((2, 3, 2), 0.5)
    shares[1, 2, 1] = np.nan
    with pytest.raises(ValueError, match=r"not finite at position 2 of prompt 1$"):
        checked(shares, (2, 3), Classes(2))
    with pytest.raises(ValueError, match=r"not finite for prompt 1$"):  # the last position alone
        checked(shares[:, -1], (2,), Classes(2))
    assert checked(np.zeros((2, 3)), (2, 3), Real()).shape == (2, 3, 1)
    chain = MarkovChain(states=3, examples=4)
    honest = OutsideLearner(lambda x, y: np.full((*y.shape, 3), 1 / 3), chain.outcomes)
    prompts = chain.sample(jax.random.key(0), 4)
    assert peeks(honest, prompts) is None
    oracle = OutsideLearner(lambda x, y: 0.4 * np.eye(3)[y] + 0.2, chain.outcomes)
    assert peeks(oracle, prompts) == 0


def test_it_is_judged_probed_stored_and_reused(module, tmp_path, bank, monkeypatch):
    monkeypatch.setattr(outside, "build_bank", lambda *_: bank)
    config = JudgeConfig(prompts=192, calibration=192, bootstrap=10, probes=["label_copying", "label_linearity"])
    directory = outside.judge_outside("brought:ridge", bank.task, {"kind": "x"}, config, tmp_path / "runs")
    dataset = read_results(directory)[0]["learner"]
    verdict = json.loads(str(dataset["verdict"].values[0]))
    assert verdict["supported"] == ["H1", "H2"]
    recorded = read_yaml(directory.config_file)["judge"]
    assert recorded["battery"]
    assert {name: recorded[name] for name in outside.WITHIN} == outside.WITHIN
    seen, predicted = (dataset[name].isel(member=0) for name in ("probe_seen", "probe_predicted"))
    assert float(np.abs(seen - predicted.sel(hypothesis="H1")).max()) < 1e-3  # ridge does what ridge predicts
    differing = (seen - predicted.sel(hypothesis="H4")).sel(statistic="label_linearity: nonlinearity")
    assert float(differing) < -0.05  # and what retrieves a member of the pool is not linear in the labels
    subject = load(directory.path).subjects[0]
    shown = seen_and_predicted(subject)
    assert shown is not None
    assert all(len([*probe_rows(shown, subject.trained[0], name)]) == 4 for name in dataset["hypothesis"].values)
    assert "Not asked: derivatives of its answers and what is inside it" in subject.text("description")
    said = []
    outside.judge_outside("brought:ridge", bank.task, {"kind": "x"}, config, tmp_path / "runs", said.append)
    assert said == [f"reusing {directory.path}: nothing has changed since it was made"]


@pytest.fixture
def battery(monkeypatch):
    """Asks a callable of the module the battery without references to compare it with: probes that were read, left."""

    def read_only(members, dataset, seed, bootstrap, names, progress):
        task = members[0].bank.task
        asked = {name: ask(BATTERY[name], task, jax.random.key(seed), outside.PROMPTS) for name in names}
        return dataset.assign_attrs(read_all(members[0].learner, task, asked, outside.PROMPTS))

    monkeypatch.setattr(outside, "seen_and_predicted", read_only)

    def asked(brought, task, **settings):
        bank = build_bank(task, 0, 8, 8, {"label_mean": REFERENCES["label_mean"]})
        judged = Judged("brought", "trained", brought, bank)
        found, left = outside.with_battery(judged, xarray.Dataset(), JudgeConfig(**settings))
        return found.attrs, left

    return asked


def test_a_probe_on_whose_prompts_it_fails_is_left_out_and_why_is_said(module, battery):
    names = ["label_linearity", "label_copying", "label_noise"]
    read, left = battery(learner("brought:scaled"), TASK, probes=names)
    assert set(read) == {"label_copying", "label_noise"}
    assert list(left) == ["label_linearity"]
    assert left["label_linearity"].endswith("labels without a spread")
    said = outside.described_asking(True, left)
    assert "Probes left out: linearity in the labels (" in said
    assert said.endswith("labels without a spread).")
    assert "were switched off" in outside.described_asking(False, {})


@pytest.mark.parametrize(
    "task", [MarkovChain(states=2, examples=5), BooleanRules(bits=2, examples=4)], ids=["chain", "rules"]
)
def test_probes_of_other_positions_are_left_out_of_one_that_answers_the_last_only(task, battery):
    def uniform(x, y):
        return jax.nn.softmax(jnp.zeros((len(x), task.outcomes.size)))  # one that computes with JAX itself

    read, left = battery(OutsideLearner(uniform, task.outcomes, last_only=True), task)
    assert set(left) == {name for name in outside.ELSEWHERE if BATTERY[name].applies(task)}
    assert left
    assert all(np.isfinite(values).all() for values in read.values())


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_answers_that_say_nothing_or_everything_are_judged_in_silence(bank, value, tmp_path):
    """Warnings are errors here: shares of a distance of 0 or infinity."""
    judged = Judged("x", "trained", OutsideLearner(lambda x, y: np.full(y.shape, value)), bank)
    directory = RunDirectory(tmp_path)
    found = analyse([judged], np.ones(bank.task.positions, bool), 10)
    write_results(directory, {"learner": found})
    directory.finish()
    (entry,) = blocks(load(tmp_path))
    assert entry.status == "unexplained"
    if not value:
        shares = found["distance"].values[0].min(1) / entry.subject.thresholds.floor
        np.testing.assert_allclose([row.remainder for row in entry.rows], shares)


def test_other_answers_are_another_run(module):
    """Weights that a file holds show in the answers, not in the source."""
    ridge = outside.load_callable(f"{module}:ridge")

    def digest(function):
        return outside.fingerprint(outside.adapted("a:b", function, TASK, seed=0)[1])

    assert digest(ridge) == digest(ridge)
    assert digest(lambda x, y: 1.1 * ridge(x, y)) != digest(ridge)


def test_small_answers_have_a_fingerprint_of_their_own():
    answers = np.random.default_rng(0).normal(size=(4, 5))
    found = {outside.fingerprint(scale * answers) for scale in (1.0, 1e-5, 1.5e-5, 0.0)}
    assert len(found) == 4
    assert outside.fingerprint(answers * (1 + 1e-9)) == outside.fingerprint(answers)


def test_what_fails_only_on_the_judges_prompts_is_said_in_one_line(module, tmp_path, bank, monkeypatch):
    monkeypatch.setattr(outside, "build_bank", lambda *_: bank)
    config = JudgeConfig(prompts=192, calibration=192, snapshots=0, bootstrap=0, planted=False)
    with pytest.raises(InputError, match=r"brought:few: called with the judge's \d+ prompts: .*at most 8") as caught:
        outside.judge_outside("brought:few", bank.task, {"kind": "x"}, config, tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "runs").glob("*/results.nc"))


def test_a_task_whose_prompts_hold_more_than_pairs_is_refused(module, tmp_path):
    described = Described(base=LinearRegression(dimension=2), examples=4, prior=Pool(3), names=3)
    with pytest.raises(InputError, match="begin with a name that answer"):
        outside.judge_outside("brought:ridge", described, {}, JudgeConfig(), tmp_path)


@pytest.mark.parametrize(("options", "asked"), [((), True), (("--no-battery",), False)])
def test_the_command_asks_the_battery_unless_told_not_to(module, monkeypatch, options, asked):
    def told(spec, task, described, config, output, say):
        raise InputError(f"battery: {config.battery}")

    monkeypatch.setattr(outside, "judge_outside", told)
    refused(main("judge", "brought:ridge", *options), f"battery: {asked}")


def test_the_command_refuses_in_one_line(module):
    refused(main("judge", "brought:peeking"), "depends on what comes later")
    refused(main("judge", "brought:ridge", "--task", "linear_regresion"), "did you mean 'linear_regression'?")
    refused(main("judge", "brought:ridge", "--subject", "a"), "--subject: 'a' has no effect without --config")
    refused(main("judge", "brought:ridge", "--prompts", "4"), "--prompts: 4 is too small")
    refused(main("calibrate", "--task", "markov"), "--task: 'markov' is no family that is calibrated")
    refused(main("calibrate", "--draws", "0"), "--draws: 0 is too small")
    refused(main("power", "none.yaml"), "none.yaml: no such file")
