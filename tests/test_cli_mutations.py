"""Whatever a configuration file holds, `icl-lab run` runs it or refuses it in one line: properties of mutated files."""

import copy
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
import pytest
import yaml
from command import CONFIG, ExecutedError, instead_of_a_run, main, refused
from hypothesis import given, settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples of a property write their files, one over the other."""
    return tmp_path_factory.mktemp("mutated")


def paths(tree: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside nested mappings."""
    if not isinstance(tree, dict):
        return []
    return [path for key, value in tree.items() for path in [(*prefix, key), *paths(value, (*prefix, key))]]


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        tree = tree[step]
    return tree


def run_with(config: Any, folder: Path) -> tuple[int, str, str]:
    """Run a configuration in a folder; says (0, "", "") where it would have begun."""
    file, output = folder / "mutated.yaml", folder / "output"
    file.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    try:
        with mock.patch("icl_lab.commands.run.execute", instead_of_a_run):
            result = main("run", file, "--output", output)
    except ExecutedError:
        return 0, "", ""
    assert not output.exists()
    refused(result, "mutated.yaml: ")
    return result


WORDS = ["", "none", "full", "prefix", "context", "linear", "paired", "1e-3", "a: b", "\n", "σ", "module:Class"]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS))
ANYTHING = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=2)
)


def like(value: Any) -> st.SearchStrategy:
    """Values of the same type, near those that make sense: what rules over several fields have to catch."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(-1, 12)
    if isinstance(value, float):
        return st.sampled_from([-1.0, 0.0, 1e-3, 0.5, 2.0, 1e300, float("nan"), float("inf")])
    if isinstance(value, list):
        return st.lists(like(value[0]), max_size=3)
    return st.sampled_from(WORDS) if isinstance(value, str) else ANYTHING


VALUES = [path for path in paths(CONFIG) if not isinstance(at(CONFIG, path), dict)]


@settings(max_examples=100)
@given(st.data())
def test_changed_values_are_run_or_refused_in_one_line(folder, data):
    config = copy.deepcopy(CONFIG)
    for path in data.draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=3)):
        at(config, path[:-1])[path[-1]] = data.draw(like(at(CONFIG, path)))
    run_with(config, folder)


@settings(max_examples=100)
@given(st.sampled_from(paths(CONFIG)), ANYTHING)
def test_a_value_of_any_type_is_run_or_refused_in_one_line(folder, path, value):
    config = copy.deepcopy(CONFIG)
    at(config, path[:-1])[path[-1]] = value
    run_with(config, folder)


@settings(max_examples=40)
@given(
    path=st.sampled_from([(), *(p for p in paths(CONFIG) if isinstance(at(CONFIG, p), dict))]), key=st.text(min_size=1)
)
def test_an_unknown_key_is_always_refused(folder, path, key):
    if path == ("subjects",):
        key += " "  # a subject may have any name, but not with a space
    config = copy.deepcopy(CONFIG)
    at(config, path)[key + "_"] = 1
    code, _, _ = run_with(config, folder)
    assert code == 2


@settings(max_examples=40)
@given(path=st.sampled_from(paths(CONFIG)), where=st.integers(0, 9), letter=st.sampled_from("xq_"))
def test_a_misspelt_key_is_answered_with_the_right_one(folder, path, where, letter):
    if path[:-1] == ("subjects",):
        return  # names of subjects are free
    config, key = copy.deepcopy(CONFIG), path[-1]
    section = at(config, path[:-1])
    spelt = key[: where % len(key)] + letter + key[where % len(key) :]
    section[spelt] = section.pop(key)
    code, _, err = run_with(config, folder)
    assert code == 2
    required = key in ("kind", "task", "subjects")  # then the missing key may be what is said
    assert f"unknown key; did you mean '{key}'?" in err or (required and "is missing" in err)


@settings(max_examples=60)
@given(cut=st.integers(0, 600), put=st.text(max_size=4))
def test_a_spoilt_file_is_run_or_refused_in_one_line(folder, cut, put):
    text = yaml.safe_dump(CONFIG, sort_keys=False)
    run_with(text[: cut % len(text)] + put.replace("\ud800", "") + text[cut % len(text) + 1 :], folder)
