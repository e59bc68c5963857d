"""The schema: what it derives, what it refuses and in which words, and that it follows the dataclasses it mirrors."""

import dataclasses
import math
import textwrap

import numpy as np
import pytest

from icl_lab.config.config import load_config, parse_config
from icl_lab.config.subject import ModelSection, TrainingSection
from icl_lab.config.task_section import section_of_task
from icl_lab.core.errors import InputError
from icl_lab.formats import Interleaved, Paired
from icl_lab.models import TransformerConfig
from icl_lab.tasks import TASKS, Pool, Population
from icl_lab.training import TrainingSettings, stack


def changed(config: dict, path: str, value: object) -> dict:
    """The configuration with the value at a dotted path set."""
    *branches, leaf = path.split(".")
    inner = config
    for branch in branches:
        inner = inner.setdefault(branch, {})
    inner[leaf] = value
    return config


@pytest.mark.parametrize(
    ("section", "mirrored", "derived"),
    [
        (ModelSection, TransformerConfig, {"channels", "tokens", "outputs"}),
        (TrainingSection, TrainingSettings, set()),
        *((section_of_task(kind), kind, {"prior"}) for kind in TASKS.values()),
    ],
)
def test_sections_have_the_fields_and_defaults_of_what_they_configure(section, mirrored, derived):
    own = {"kind", "pool", "pool_seed"} if "prior" in derived else set()
    fields = {field.name: field.default for field in dataclasses.fields(mirrored) if field.name not in derived}
    assert set(section.model_fields) - own == set(fields)
    for name, default in fields.items():
        if name != "width":
            assert section.model_fields[name].default == default


def test_a_configuration_becomes_the_objects_it_describes(small):
    subject = parse_config(small, "x").subjects["a"]
    task = subject.build_task()
    assert (task.dimension, task.examples, task.noise) == (2, 4, 0.5)
    assert isinstance(task.prior, Population)
    assert isinstance(subject.build_format(), Interleaved)
    assert subject.transformer() == TransformerConfig(channels=3, tokens=9, layers=1, heads=2, width=8)
    assert subject.build_training().steps == 40


def test_without_embedding_the_width_is_the_number_of_channels(small):
    small["subjects"]["a"] |= {"format": "paired", "model": {"embedding": False, "heads": 1, "mask": "full"}}
    config = parse_config(small, "x")
    assert config.subjects["a"].transformer().width == 3
    assert config.resolved()["subjects"]["a"]["model"]["width"] == 3
    assert isinstance(config.subjects["a"].build_format(), Paired)


def test_members_are_every_combination_and_their_labels_say_what_differs(small):
    ensemble = {"seeds": 2, "pool": [4, 16], "learning_rate": [0.001, 0.1], "shuffled_labels": 1}
    members = parse_config(changed(small, "subjects.a.ensemble", ensemble), "x").subjects["a"].members(seed=3)
    assert len(members) == 2 * 2 * 2 + 1
    assert len({member.label for member in members}) == 9
    assert {member.seed for member in members} == {3000, 3001}
    assert {(m.pool, m.learning_rate) for m in members} == {(4, 0.001), (4, 0.1), (16, 0.001), (16, 0.1)}
    for member in members:
        assert member.member.task.prior == Pool(member.pool, 0)
        assert member.member.learning_rate == member.learning_rate
        assert member.member.shuffle_labels == (member.kind == "shuffled labels")
    assert [member.kind for member in members].count("shuffled labels") == 1
    stacked = stack([member.member for member in members])
    np.testing.assert_array_equal(stacked.task.prior.size, [member.pool for member in members])


def test_noise_of_members_is_the_tasks(small):
    members = parse_config(changed(small, "subjects.a.ensemble", {"noise": [0.0, 2.0]}), "x").subjects["a"].members()
    assert [(m.noise, m.member.task.noise, m.pool) for m in members] == [(0.0, 0.0, 0), (2.0, 2.0, 0)]


def test_the_hash_depends_on_what_is_resolved_and_on_nothing_else(small, write):
    base = parse_config(small, "x").hash8()
    assert len(base) == 8
    assert int(base, 16) >= 0
    reordered = dict(reversed(small.items()))
    assert parse_config(reordered, "y").hash8() == base
    assert parse_config(changed(small, "subjects.a.model.loops", 1), "x").hash8() == base  # the default, written out
    assert parse_config(changed(small, "subjects.a.model.loops", 2), "x").hash8() != base


def test_maps_are_made_unless_they_are_left_out(small):
    base = parse_config(small, "x")
    assert base.judge.maps
    without = parse_config(changed(small, "judge.maps", False), "x")
    assert not without.judge.maps
    assert without.hash8() != base.hash8()


def test_a_resolved_configuration_is_a_configuration_again(small):
    config = parse_config(small, "x")
    again = parse_config(config.resolved(), "y")
    assert again.resolved() == config.resolved()
    assert again.hash8() == config.hash8()


def test_a_name_comes_from_the_file(small, write):
    del small["name"]
    assert load_config(write(small, "my_run.yaml")).name == "my_run"


TASK_FILE = """
    import jax, jax.numpy as jnp
    from icl_lab.core.prompts import Gaussian
    from icl_lab.tasks import Task, task_dataclass, static

    @task_dataclass
    class Constant(Task):
        sizes: tuple[int, ...] = static(default=(1,))
        spread: float = 1.0
        def draw_latent(self, key): return self.spread * jax.random.normal(key)
        def draw_inputs(self, key, latent): return jnp.ones((self.positions, self.sizes[0]))
        def outcome(self, latent, x): return Gaussian(latent * x[:, 0], jnp.ones(len(x)))

    class Bare(Constant): pass

    @task_dataclass
    class Half(Task):
        def draw_latent(self, key): return 0.0

    class NoTask: pass
"""


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    (tmp_path / "own_task_module.py").write_text(textwrap.dedent(TASK_FILE))
    (tmp_path / "broken_module.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", __import__("sys").path[:])
    yield "own_task_module"
    __import__("sys").modules.pop("own_task_module", None)


def test_a_task_of_the_users_own_is_found_in_the_current_directory(small, own_task, tmp_path):
    small["subjects"]["a"]["task"] = {"kind": f"{own_task}:Constant", "examples": 3, "sizes": [2], "spread": 2.0}
    config = parse_config(small, "x")
    assert config.subjects["a"].build_task().sizes == (2,)
    before = config.hash8()
    file = tmp_path / "own_task_module.py"
    file.write_text(file.read_text() + "\n# edited: results of the old file are not reused\n")
    assert config.hash8() != before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("own_task_module:Bare", "@task_dataclass"),
        ("own_task_module:Half", "draw_inputs, outcome"),
        ("own_task_module:NoTask", "no task 'NoTask'"),
        ("own_task_module:Constnat", "did you mean 'Constant'?"),
        ("broken_module:Any", "SyntaxError"),
        ("no_such_module:Any", "cannot import 'no_such_module'"),
        ("linear_regresion", "did you mean 'linear_regression'?"),
    ],
)
def test_a_task_that_is_none_is_refused_in_one_line(small, own_task, kind, words):
    small["subjects"]["a"]["task"] = {"kind": kind}
    with pytest.raises(InputError, match=r"^x: subjects\.a\.task\.kind: ") as caught:
        parse_config(small, "x")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


BAD = [
    ("subjects.a.model.heads", 3, "3 does not divide width 8"),
    ("subjects.a.model.heads", 0, "at least 1"),
    ("subjects.a.model.width", 2, "cannot hold an input of 2 features and its outcome; use at least 3"),
    ("subjects.a.model.embedding", False, "width"),
    ("subjects.a.model.mask", "full", "shows later tokens to token 0, where format 'interleaved' reads an answer"),
    ("subjects.a.model.mask", "context", "shows later tokens to token 0"),
    ("subjects.a.model.mask", "causl", "'causl' should be 'causal'"),
    ("subjects.a.model.layrs", 2, "unknown key; did you mean 'layers'?"),
    ("subjects.a.model", [1], "[1] should be a mapping of settings"),
    ("subjects.a.task.noise", -0.5, "-0.5 should be greater than or equal to 0"),
    ("subjects.a.task.noise", math.nan, "nan should be"),
    ("subjects.a.task.noise", "much", "'much' should be a valid number"),
    ("subjects.a.task.pool", 0, "0 should be greater than or equal to 1"),
    ("subjects.a.task.covariance", "wide", "'wide' should be a valid number or should be a list"),
    ("subjects.a.task.covariance", [1.0, 2.0, 3.0], "covariance: shape (3,) does not fit dimension 2; give a number"),
    ("subjects.a.task.covariance", [[1.0, 0.0]], "covariance: shape (1, 2) does not fit dimension 2"),
    ("subjects.a.task.weight_mean", [[1.0, 2.0], [3.0, 4.0]], "weight_mean: shape (2, 2) does not fit dimension 2"),
    ("subjects.a.task.weight_scale", [1.0, 1.0, 1.0], "weight_scale: shape (3,) does not fit dimension 2; give a num"),
    ("subjects.a.task.dimension", 8, "width: 8 cannot hold an input of 8 features"),
    ("subjects.a.task.dimension", True, "True should be a valid integer"),
    ("subjects.a.task.dimension", 10**30, "too large"),
    ("subjects.a.task.noise", 1e39, "subjects.a.task.noise: 1e+39 is too large"),
    ("subjects.a.task.weight_mean", [0.0, -1e39], "subjects.a.task.weight_mean: -1e+39 is too large"),
    ("subjects.a.ensemble.learning_rate", [1e300], "subjects.a.ensemble.learning_rate: 1e+300 is too large"),
    ("subjects.a.title", "\ud800", "subjects.a.title: holds half of a character"),
    ("judge.probes", ["\ud800"], "judge.probes: "),
    ("subjects.a.task", None, "None should be a mapping of settings"),
    ("subjects.a.task", {"dimension": 2}, "kind: is missing"),
    ("subjects.a.format", "stream", "'stream' is for streams; the inputs of 'linear_regression'"),
    ("subjects.a.training.steps", 0, "0 is too small; it must be at least 1"),
    ("subjects.a.training.steps", 1.5, "1.5 should be a valid integer"),
    ("subjects.a.training.steps", "10", "'10' should be a valid integer"),
    ("subjects.a.training.learning_rate", 0, "0.0 must be above 0"),
    ("subjects.a.training.micro_batch", 3, "3 does not divide batch 8"),
    ("subjects.a.ensemble.seeds", 0, "0 should be greater than or equal to 1"),
    ("subjects.a.ensemble.pool", [4, 0], "0 should be greater than or equal to 1"),
    ("subjects.a.ensemble.pool", 4, "4 should be a list"),
    ("subjects.a.ensemble.noise", [0.1, 0.1], "twice"),
    ("subjects.a.expect", [{"near": ["rigde"]}], "did you mean 'ridge'?"),
    ("subjects.a.expect", [{"rejected": ["xyz"]}], "'xyz' is no reference; known references: "),
    ("subjects.planted", {"task": {"kind": "linear_regression"}}, "taken by the planted learners"),
    ("subjects.two words", {"task": {"kind": "linear_regression"}}, "letters, digits and _ only"),
    ("subjects", {}, "subjects: {} should hold at least one entry"),
    ("subjects", None, "should be a mapping"),
    ("judge.prompts", 0, "0 should be greater than or equal to 8"),
    ("judge.planted", "yes", "'yes' should be a valid boolean"),
    ("judge.maps", "no", "'no' should be a valid boolean"),
    ("judge.probes", ["influense"], "probes: 'influense' is no probe; did you mean 'influence'?"),
    ("name", "a/b", "letters, digits and _.- only"),
    ("seed", -1, "-1 should be greater than or equal to 0"),
    ("subject", {}, "unknown key; did you mean 'subjects'?"),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD, ids=[f"{path}={value}"[:60] for path, value, _ in BAD])
def test_a_bad_value_is_refused_in_one_line_that_names_the_field(small, path, value, words):
    with pytest.raises(InputError) as caught:
        parse_config(changed(small, path, value), "x.yaml")
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    place = message.removeprefix("x.yaml: ").split(": ")[0]
    # A rule over two fields may name the other one, but never another section.
    assert place.startswith(path.rsplit(".", 1)[0].split(".")[0])


def test_a_missing_section_is_named(small):
    del small["subjects"]["a"]["task"]
    with pytest.raises(InputError, match=r"^x: subjects\.a\.task: is missing$"):
        parse_config(small, "x")


def test_the_fields_a_subject_lacks_cannot_be_swept(small, own_task):
    small["subjects"]["a"] |= {"task": {"kind": f"{own_task}:Constant"}, "ensemble": {"noise": [0.1]}}
    with pytest.raises(InputError, match=r"subjects\.a\.ensemble\.noise: .*has no noise"):
        parse_config(small, "x")
