"""A learner of the user's own: how it is called, what is said when it is wrong, and that it is judged as it should."""

import json
import sys
import textwrap

import jax
import numpy as np
import pytest
from command import main, refused

from icl_lab.learners.outside import OutsideLearner, checked, peeks
from icl_lab.outcomes import Classes, Real
from icl_lab.runs import outside
from icl_lab.runs.config import JudgeConfig
from icl_lab.runs.errors import InputError
from icl_lab.runs.results import read_results
from icl_lab.tasks import Described, LinearRegression, MarkovChain, Pool

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

    def few(x, y):
        if len(x) > 8:
            raise MemoryError("at most 8")
        return ridge(x, y)

    def empty(x, y):
        answers = np.cumsum(y, axis=1) - y
        return np.where(np.arange(y.shape[1]) > 0, answers, np.nan)

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
        ("brought:empty", r"not finite at position 0"),
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
    assert checked(np.zeros((2, 3)), (2, 3), Real()).shape == (2, 3, 1)
    chain = MarkovChain(states=3, examples=4)
    honest = OutsideLearner(lambda x, y: np.full((*y.shape, 3), 1 / 3), chain.outcomes)
    prompts = chain.sample(jax.random.key(0), 4)
    assert peeks(honest, prompts) is None
    oracle = OutsideLearner(lambda x, y: 0.4 * np.eye(3)[y] + 0.2, chain.outcomes)
    assert peeks(oracle, prompts) == 0


def test_it_is_judged_stored_and_reused(module, tmp_path, bank, monkeypatch):
    monkeypatch.setattr(outside, "build_bank", lambda *_: bank)
    config = JudgeConfig(prompts=192, calibration=192, snapshots=0, bootstrap=10, planted=False)
    directory = outside.judge_outside("brought:ridge", bank.task, {"kind": "x"}, config, tmp_path / "runs")
    dataset = read_results(directory)[0]["learner"]
    verdict = json.loads(str(dataset["verdict"].values[0]))
    assert verdict["supported"] == ["H1", "H2"]
    said = []
    outside.judge_outside("brought:ridge", bank.task, {"kind": "x"}, config, tmp_path / "runs", said.append)
    assert said == [f"reusing {directory.path}: nothing has changed since it was made"]


def test_other_answers_are_another_run(module):
    """Weights that a file holds show in the answers, not in the source."""
    ridge = outside.load_callable(f"{module}:ridge")

    def digest(function):
        return outside.fingerprint(outside.adapted("a:b", function, TASK, seed=0)[1])

    assert digest(ridge) == digest(ridge)
    assert digest(lambda x, y: 1.1 * ridge(x, y)) != digest(ridge)


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


def test_the_command_refuses_in_one_line(module):
    refused(main("judge", "brought:peeking"), "depends on what comes later")
    refused(main("judge", "brought:ridge", "--task", "linear_regresion"), "did you mean 'linear_regression'?")
    refused(main("judge", "brought:ridge", "--subject", "a"), "--subject: 'a' has no effect without --config")
    refused(main("judge", "brought:ridge", "--prompts", "4"), "--prompts: 4 is too small")
    refused(main("calibrate", "--task", "markov"), "--task: 'markov' is no family that is calibrated")
    refused(main("calibrate", "--draws", "0"), "--draws: 0 is too small")
    refused(main("power", "none.yaml"), "none.yaml: no such file")
