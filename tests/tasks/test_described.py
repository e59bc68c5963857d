"""Descriptions around other tasks: whose latents have names, and what is passed on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl_lab.analysis.inside import token_texts
from icl_lab.config.config import parse_config
from icl_lab.core.errors import InputError
from icl_lab.formats import NAMED, WithDescription
from icl_lab.probes.inside.attention_latents import carriers
from icl_lab.tasks import Described, LabelMapping, LinearRegression, MarkovChain, ModularRules, Pool

RULES = Described(base=ModularRules(modulus=3), examples=4, prior=Pool(4), names=4)


def test_tasks_outside_the_pool_are_those_the_base_says_and_have_no_name():
    pool = {np.asarray(RULES.pool_latent(jnp.asarray(m))["latent"]).tobytes() for m in range(4)}
    prompts = jax.jit(lambda: RULES.unseen().sample(jax.random.key(0), 200))()
    drawn = {latent.tobytes() for latent in np.asarray(prompts.latent["latent"])}
    assert not pool & drawn
    assert len(drawn) == 5
    assert not np.asarray(prompts.description).any()


def test_examples_are_reordered_as_the_base_does_it():
    task = Described(base=LabelMapping(classes=8, dimension=8, labels=2), examples=4, prior=Pool(3), names=3)
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 6))()
    found = task.reorder(jax.random.key(1), prompts)
    np.testing.assert_array_equal(found.latent["member"], prompts.latent["member"])
    np.testing.assert_array_equal(found.description, prompts.description)
    labels = np.take_along_axis(np.asarray(found.latent["latent"]["label"]), np.zeros((6, 1), int), axis=1)
    np.testing.assert_array_equal(labels[:, 0], found.y[:, 0])  # the latent moved with the pairs
    assert not np.array_equal(found.y, prompts.y)


def test_what_is_wrong_with_the_base_is_wrong():
    base = {"kind": "linear_regression", "dimension": 2, "covariance": -1.0}
    subject = {
        "task": {"kind": "described", "pool": 4, "names": 4, "examples": 3, "base": base},
        "format": "interleaved",
    }
    with pytest.raises(InputError, match="covariance"):
        parse_config({"name": "a", "subjects": {"a": subject}}, "test")
    assert RULES.why_not() == ""


def test_memory_is_that_of_the_base():
    assert Described(base=MarkovChain(order=2), examples=6, prior=Pool(3), names=3).memory == 2
    assert MarkovChain().memory == 1


def test_tokens_that_are_no_pair_hold_neither_input_nor_outcome():
    task = Described(base=LinearRegression(dimension=2), examples=2, prior=Pool(3), names=3)
    format = WithDescription(NAMED["interleaved"], 3)
    found = carriers(format, task.positions)
    np.testing.assert_array_equal(found.inputs, [1, 3, 5])
    np.testing.assert_array_equal(found.outcomes[:2], [2, 4])
    prompts = jax.jit(lambda: task.sample(jax.random.key(0), 4))()
    texts = token_texts(format, task.outcomes, prompts)
    assert texts[1][0] == format.labels(task.positions)[0]
    assert texts[1][1].startswith("x0 = (")


def test_members_of_an_ensemble_have_names_enough():
    task = {"kind": "described", "base": {"kind": "linear_regression", "dimension": 2}, "examples": 4, "names": 4}
    one = {"task": task | {"pool": 4}, "training": {"batch": 8}, "ensemble": {"pool": [4, 64]}}
    with pytest.raises(InputError, match="names: 4 are too few for a pool of 64"):
        parse_config({"name": "x", "subjects": {"a": one}}, "x")


def test_a_task_is_missing_where_none_is_described():
    with pytest.raises(InputError, match=r"^x: subjects\.a\.task\.base: is missing; give a block such as"):
        parse_config({"name": "x", "subjects": {"a": {"task": {"kind": "described", "examples": 4}}}}, "x")


def test_an_edited_task_inside_another_is_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "inner_task_of_a_test.py"
    lines = ("from icl_lab.tasks import LinearRegression, task_dataclass", "@task_dataclass")
    file.write_text("\n".join((*lines, "class Mine(LinearRegression):", "    pass", "")))
    task = {"kind": "described", "base": {"kind": "inner_task_of_a_test:Mine", "dimension": 2}, "examples": 4}
    given = {"name": "x", "subjects": {"a": {"task": task | {"names": 4, "pool": 4}}}}
    before = parse_config(given, "x").hash8()
    file.write_text(file.read_text() + "# edited\n")
    assert parse_config(given, "x").hash8() != before
