"""`icl-lab verify`: a line for every construction, which fails when what it checks is spoiled."""

import dataclasses

import jax
import pytest

from icl_lab.core.claims import failed
from icl_lab.learners.constructions import CONSTRUCTIONS
from icl_lab.mechanisms.controls import random_control
from icl_lab.verify import built


def test_every_construction_passes():
    found = built.transformers()
    assert failed(found) == []
    assert [claim.id for claim in found] == [f"construction.{name}" for name in CONSTRUCTIONS]
    assert all(claim.gate == "exact" for claim in found)


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_a_construction_with_a_wrong_weight_fails(name, monkeypatch):
    """All weights a thousandth too large; random weights."""
    row = CONSTRUCTIONS[name]

    def spoiled(task):
        learner = row.build(task)
        return dataclasses.replace(learner, params=jax.tree.map(lambda leaf: 1.001 * leaf, learner.params))

    monkeypatch.setattr(built, "CONSTRUCTIONS", {name: dataclasses.replace(row, build=spoiled)})
    assert len(failed(built.transformers())) == 1
    random = dataclasses.replace(row, build=lambda task: random_control(row.build(task), jax.random.key(0)))
    monkeypatch.setattr(built, "CONSTRUCTIONS", {name: random})
    assert len(failed(built.transformers())) == 1
