"""Options of the command line: typed, named like the fields, refused in one line."""

import pytest

from icl_lab.config.config import load_config
from icl_lab.core.errors import InputError


def test_options_change_what_they_name_and_nothing_else(small, write):
    path = write(small)
    plain = load_config(path).resolved()
    options = "--subjects.a.training.steps 70 --subjects.a.ensemble.pool 4 8 --judge.planted False --seed=7"
    found = load_config(path, options.split()).resolved()
    plain["subjects"]["a"]["training"]["steps"] = 70
    plain["subjects"]["a"]["ensemble"]["pool"] = [4, 8]
    plain["judge"]["planted"] = False
    plain["seed"] = 7
    assert found == plain


@pytest.mark.parametrize(
    ("option", "value", "path"),
    [
        ("--subjects.a.training.learning-rate", ["1e-2"], 0.01),
        ("--subjects.a.training.clip", ["1.5"], 1.5),
        ("--subjects.a.task.pool", ["16"], 16),
        ("--subjects.a.task.covariance", ["1", "2"], [1.0, 2.0]),
        ("--subjects.a.task.covariance", ["4"], 4.0),
        ("--subjects.a.task.covariance", ["[[1, 0], [0, 2]]"], [[1.0, 0.0], [0.0, 2.0]]),
        ("--subjects.a.model.normalisation", ["none"], "none"),
        ("--subjects.a.ensemble.pool", ["4"], [4]),
        ("--subjects.a.ensemble.pool", [], []),
        ("--judge.probes", ["martingale"], ["martingale"]),
        ("--subjects.a.task.pool", ["None"], None),
        ("--subjects.a.task.pool", ["null"], None),
        ("--title", ["None"], "None"),
        ("--title", ["3"], "3"),
        ("--title", ["a: b # c"], "a: b # c"),
    ],
)
def test_types_are_those_of_the_fields(small, write, option, value, path):
    found = load_config(write(small), [option, *value]).resolved()
    for key in option.removeprefix("--").replace("-", "_").split("."):
        found = found[key]
    assert found == path
    assert type(found) is type(path)


def test_lists_of_sections_stay_as_the_file_has_them(small, write):
    small["subjects"]["a"]["expect"] = [{"near": ["ridge"], "source": "here"}]
    path = write(small)
    assert load_config(path, ["--seed", "1"]).subjects["a"].expect == load_config(path).subjects["a"].expect != []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--subjects.a.training.stps 3", "did you mean '--subjects.a.training.steps'?"),
        ("--subjects.b.training.steps 3", "did you mean '--subjects.a.training.steps'?"),
        ("--subjects.a.training.steps many", "subjects.a.training.steps: 'many' should be a valid integer"),
        ("--subjects.a.training.steps", "--subjects.a.training.steps: expected one argument"),
        ("--subjects.a.model.mask sideways", "subjects.a.model.mask: 'sideways' should be 'causal', "),
        ("--subjects.a.model.heads 3", "subjects.a.model.heads: 3 does not divide width 8"),
        ("--subjects.a.task.noise -1", "subjects.a.task.noise: -1 should be greater than or equal to 0"),
        ("surplus", "surplus: no such setting"),
        ("--seed=3 surplus", "surplus: no such setting"),
        ("--seed", "--seed: expected one argument"),
        ("--name 3/4", "name: '3/4' should"),
        ("--subjects.a.ensemble.pool 4 x", "subjects.a.ensemble.pool.1: 'x' should be a valid integer"),
    ],
)
def test_a_bad_option_is_refused_in_one_line(small, write, options, words, capsys):
    with pytest.raises(InputError) as caught:
        load_config(write(small), options.split())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_help_shows_every_setting_with_its_value(small, write, capsys):
    with pytest.raises(SystemExit) as ended:
        load_config(write(small), ["--help"])
    assert not ended.value.code
    shown = capsys.readouterr().out
    for name in (
        "--subjects.a.task.noise",
        "--subjects.a.model.layers",
        "--subjects.a.training.steps",
        "--judge.prompts",
    ):
        assert name in shown
    assert "(default: 40)" in shown
