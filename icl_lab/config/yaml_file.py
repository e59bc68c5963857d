"""YAML 1.2 files: 1e-3 is a number, on is a word, a date is text, and a key written twice is an error."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from icl_lab.core.errors import InputError, first_line


class _Constructor(SafeConstructor):
    """SafeConstructor that reads dates as text, and an underscore as no part of a number."""

    def construct_yaml_int(self, node: Any) -> Any:
        return node.value if "_" in node.value else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: Any) -> Any:
        return node.value if "_" in node.value else super().construct_yaml_float(node)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.construct_yaml_float)
_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_str)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.default_flow_style, yaml.sort_base_mapping_type_on_output, yaml.width = False, False, 120
    return yaml


def dump_yaml(content: dict[str, Any]) -> str:
    """Return the mapping as YAML that `read_yaml` reads as the same."""
    stream = io.StringIO()
    _yaml().dump(content, stream)
    return stream.getvalue()


def read_word(text: str) -> Any:
    """Return the value written as `text`: a number, truth value, null (or None), list or mapping; else the text."""
    try:
        value = None if text == "None" else _yaml().load(text)
    except (YAMLError, ValueError, TypeError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        InputError: the file is missing, unreadable, not YAML, or not a mapping of names.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as text ({first_line(error)})") from None
    try:
        content = _yaml().load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(f"{path}: {line}not valid YAML: {error.problem}") from None
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {first_line(error)}") from None
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise InputError(f"{path}: {found}; a run configuration is a mapping such as 'name: my_run'")
    if unnamed := [key for key in content if not isinstance(key, str)]:
        raise InputError(f"{path}: not valid: the key {unnamed[0]!r} should be a name")
    return content
