"""Dataclasses as pytrees: what is static, what is data, and that no two classes are taken for one another."""

import jax
import jax.numpy as jnp
import pytest

from icl_lab.core.pytrees import pytree_dataclass, static


@pytree_dataclass
class Doubled:
    value: jax.Array
    power: int = static(default=1)


@pytree_dataclass
class Halved:
    value: jax.Array
    power: int = static(default=1)


def test_fields_are_data_unless_static():
    paths, structure = jax.tree_util.tree_flatten_with_path(Doubled(jnp.ones(3), power=2))
    assert [jax.tree_util.keystr(path) for path, _ in paths] == [".value"]
    assert jax.tree.unflatten(structure, [7]) == Doubled(7, power=2)
    assert jax.tree.map(lambda leaf: leaf + 1, Doubled(1, power=2)) == Doubled(2, power=2)


def test_structures_of_two_classes_differ():
    """Those of `jax.tree_util.register_dataclass` do not (jax 0.10): `jit` may run the program of the other class."""
    assert jax.tree.structure(Doubled(1.0)) != jax.tree.structure(Halved(1.0))
    assert jax.tree.structure(Doubled(1.0)) != jax.tree.structure(Doubled(1.0, power=2))
    assert jax.tree.structure(Doubled(1.0)) == jax.tree.structure(Doubled(2.0))


def test_other_arguments_of_static_fields_are_kept_apart_by_jit():
    traces = []

    @jax.jit
    def result(tree):
        traces.append(None)
        return tree.value * 2.0**tree.power if isinstance(tree, Doubled) else tree.value / 2.0**tree.power

    found = [float(result(tree)) for tree in (Doubled(3.0), Halved(3.0), Doubled(3.0, power=2), Doubled(5.0))]
    assert found == [6.0, 1.5, 12.0, 10.0]
    assert len(traces) == 3


def test_instances_are_frozen():
    with pytest.raises(AttributeError):
        Doubled(1.0).value = 2.0
