"""Dataclasses as pytrees whose structure includes their class."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

Class = TypeVar("Class", bound=type)


def static(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that fixes shapes or code paths: part of the compiled program, not of its data."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def pytree_dataclass(cls: Class) -> Class:
    """Make a class a frozen dataclass and a pytree: `static(...)` fields are structure, all others are data.

    It uses `jax.tree_util.register_pytree_with_keys`, whose structures are equal only if their classes are. Those of
    `register_dataclass` are equal for any two classes with the same static values (as of jax 0.10), and only their
    hashes differ: if two hashes share a bucket, `jit` runs the program of one class on data of the other.
    """
    made: Any = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(made)
    structure = [field.name for field in fields if field.metadata.get("static")]
    data = [field.name for field in fields if not field.metadata.get("static")]
    keys = [jax.tree_util.GetAttrKey(name) for name in data]

    def flatten(tree: Any) -> tuple[tuple, tuple]:
        return tuple(getattr(tree, name) for name in data), tuple(getattr(tree, name) for name in structure)

    def flatten_with_keys(tree: Any) -> tuple[tuple, tuple]:
        leaves, settings = flatten(tree)
        return tuple(zip(keys, leaves, strict=True)), settings

    def unflatten(settings: tuple, leaves: Any) -> Any:
        given = dict(zip(data, leaves, strict=True))
        return made(**given, **dict(zip(structure, settings, strict=True)))

    jax.tree_util.register_pytree_with_keys(made, flatten_with_keys, unflatten, flatten)
    return made
