"""Subjects that go on from other subjects of a run, and tasks within tasks in a configuration."""

import copy

import jax
import numpy as np
import pytest

from icl_lab.commands.train import train_subjects, untrained_params
from icl_lab.config.config import parse_config
from icl_lab.config.overrides import apply_overrides
from icl_lab.core.errors import InputError
from icl_lab.formats import Stream, WithDescription
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import Described, MarkovChain, Pool

CHAINS = {"kind": "markov_chain", "states": 2}
TASK = {"kind": "described", "examples": 3, "pool": 4, "names": 4, "error": 0.2, "base": CHAINS}
BASE = {
    "task": TASK,
    "format": "stream",
    "model": {"layers": 1, "heads": 1, "width": 8},
    "training": {"steps": 4, "batch": 4, "chunk": 4},
    "ensemble": {"seeds": 2},
}


def two(**changes) -> dict:
    """A run of `tuned`, given first, that starts from `base`."""
    tuned = {**copy.deepcopy(BASE), "start_from": "base", **changes}
    return {"name": "two", "judge": {"snapshots": 2}, "subjects": {"tuned": tuned, "base": copy.deepcopy(BASE)}}


def test_a_task_within_a_task_is_a_block_of_its_own():
    config = parse_config(two(), "x")
    subject = config.subjects["base"]
    task = subject.build_task()
    assert isinstance(task, Described)
    assert isinstance(task.base, MarkovChain)
    assert (task.base.states, task.names, task.error, task.prior) == (2, 4, 0.2, Pool(4))
    assert subject.build_format() == WithDescription(Stream(), 4)
    assert parse_config(config.resolved(), "x").hash8() == config.hash8()
    changed = apply_overrides(config, ["--subjects.base.task.base.states", "3"], "x")
    assert changed["subjects"]["base"]["task"]["base"]["states"] == 3
    with pytest.raises(InputError, match=r"subjects.base.task.base.staates: unknown key; did you mean 'states'"):
        parse_config(
            {"name": "x", "subjects": {"base": {**BASE, "task": {**TASK, "base": {**CHAINS, "staates": 1}}}}}, "x"
        )
    with pytest.raises(InputError, match=r"subjects.base.task.names: 4 are too few for a pool of 5"):
        parse_config({"name": "x", "subjects": {"base": {**BASE, "task": {**TASK, "pool": 5}}}}, "x")
    with pytest.raises(InputError, match=r"subjects.base.task.base: "):
        parse_config({"name": "x", "subjects": {"base": {**BASE, "task": {**TASK, "base": None}}}}, "x")


def test_who_starts_from_another_begins_with_its_parameters(tmp_path):
    config = parse_config(two(training={**BASE["training"], "learning_rate": 0.01}), "x")
    directory = RunDirectory.create(config, tmp_path)
    trained = train_subjects(config.subjects, directory, snapshots=2)
    assert list(trained) == ["tuned", "base"]
    begun = trained["tuned"].snapshots.load(0)
    jax.tree.map(np.testing.assert_array_equal, begun, trained["base"].params)
    fresh = untrained_params(trained, "tuned")
    jax.tree.map(np.testing.assert_array_equal, fresh, trained["base"].snapshots.load(0))
    first, last = (jax.tree.leaves(each) for each in (begun, trained["tuned"].params))
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(first, last, strict=True))
    seeds = {name: {int(planned.member.seed) for planned in trained[name].members} for name in trained}
    assert not seeds["tuned"] & seeds["base"]  # other prompts
    again = train_subjects(config.subjects, directory, snapshots=2)
    jax.tree.map(np.testing.assert_array_equal, again["tuned"].params, trained["tuned"].params)


def test_without_a_start_a_configuration_keeps_its_hash():
    resolved = parse_config(two(), "x").resolved()["subjects"]
    assert resolved["tuned"]["start_from"] == "base"
    assert "start_from" not in resolved["base"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_from": "bass"}, "start_from: 'bass' is no subject of this run; did you mean 'base'"),
        ({"start_from": "tuned"}, "start_from: goes in a circle: tuned from tuned"),
        ({"model": {"layers": 1, "heads": 1, "width": 16}}, "start_from: 'base' is another network"),
        ({"ensemble": {"seeds": 3}}, "start_from: 'base' has 2 members, not 3"),
    ],
)
def test_starts_that_cannot_be_met_are_one_line(changes, message):
    with pytest.raises(InputError, match=f"subjects.tuned.{message}"):
        parse_config(two(**changes), "x")


def test_longer_circles_are_refused():
    given = two()
    given["subjects"]["base"]["start_from"] = "tuned"
    with pytest.raises(InputError, match="goes in a circle: tuned from base from tuned"):
        parse_config(given, "x")
