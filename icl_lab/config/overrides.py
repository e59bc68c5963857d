"""Options of the command line that change a configuration: one per setting, its value written as in the file."""

import argparse
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from icl_lab.config.sections import Section
from icl_lab.config.yaml_file import read_word
from icl_lab.core.errors import InputError, Parser, nearest

SEQUENCES = (list, tuple)
_Below = functools.partial(argparse.HelpFormatter, max_help_position=8)  # long names: what they mean on the next line


def apply_overrides(config: Section, options: Sequence[str], source: str) -> dict[str, Any]:
    """Return the configuration as plain data, with options such as ["--subjects.a.training.steps", "200"] applied.

    The result is not validated: the schema checks it once all options are in, because rules span several fields.

    Raises:
        InputError: an option does not exist, or has no value.
        SystemExit: --help, after printing every option with its value.
    """
    prog = f"icl-lab run {source}"
    parser = Parser(prog=prog, usage=f"{prog} [--SETTING VALUE ...]", allow_abbrev=False, formatter_class=_Below)
    annotations = _add_options(parser, config)
    given, rest = parser.parse_known_args([_with_underscores(option) for option in options])
    if rest:
        name = rest[0].partition("=")[0]
        known = [f"--{path}" for path in annotations]
        raise InputError(f"options: {name}: no such setting; {nearest(name, known, 'settings')}")
    plain = config.model_dump(mode="json")
    for path, words in vars(given).items():
        if words is not None:
            *sections, field = path.split(".")
            section = functools.reduce(lambda inside, name: inside.setdefault(name, {}), sections, plain)
            section[field] = _value(annotations[path], words)
    return plain


def _with_underscores(option: str) -> str:
    name, equals, value = option.partition("=")
    return f"--{name[2:].replace('-', '_')}{equals}{value}" if option.startswith("--") else option


def _add_options(parser: Parser, section: Section, prefix: str = "", about: str = "") -> dict[str, Any]:
    """Add an option for every setting of the section and those inside it; return their annotations by path."""
    annotations: dict[str, Any] = {}
    meanings = _meanings(type(section))
    group = parser.add_argument_group(prefix.removesuffix(".") or "settings", about or None)
    inner: list[tuple[str, Section]] = []
    for name, value in section:
        annotation = type(section).model_fields[name].rebuild_annotation()
        kinds = list(_alternatives(annotation))
        if isinstance(value, Section):
            inner.append((name, value))
        elif isinstance(value, dict):
            inner += [(f"{name}.{key}", each) for key, each in value.items()]
        elif not any(_holds_sections(kind) for kind in kinds):
            annotations[f"{prefix}{name}"] = annotation
            text = f"(default: {value}) {meanings.get(name, '')}".strip().replace("%", "%%")
            nargs = "*" if any(typing.get_origin(kind) in SEQUENCES for kind in kinds) else None
            group.add_argument(f"--{prefix}{name}", nargs=nargs, metavar=_named(kinds), help=text)
    for name, value in inner:
        annotations |= _add_options(parser, value, f"{prefix}{name}.", meanings.get(name, ""))
    return annotations


def _meanings(kind: type) -> dict[str, str]:
    """What the docstring says under "Attributes:", by field."""
    text = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}\S.*)*)", text, re.MULTILINE)
    return {name: " ".join(meaning.split()) for names, meaning in entries for name in names.split(", ")}


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that an annotation allows, without constraints."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from _alternatives(inside[0])
    elif origin in (typing.Union, types.UnionType):
        for each in inside:
            yield from _alternatives(each)
    else:
        yield annotation


def _holds_sections(kind: Any) -> bool:
    return any(isinstance(inner, type) and issubclass(inner, Section) for inner in typing.get_args(kind))


def _named(kinds: Sequence[Any]) -> str:
    """The types for the help: "INT", "{adam,sgd}", "FLOAT|None"."""
    names = []
    for kind in kinds:
        inside = typing.get_args(kind)
        if typing.get_origin(kind) is typing.Literal:
            names.append(f"{{{','.join(map(str, inside))}}}")
        elif typing.get_origin(kind) in SEQUENCES:
            names.append(_named(list(_alternatives(inside[0]))))
        else:
            names.append("None" if kind is type(None) else kind.__name__.upper())
    return "|".join(dict.fromkeys(names))


def _value(annotation: Any, words: str | list[str]) -> Any:
    """The first reading of the words that the annotation accepts; if there is none, one for the schema to refuse."""
    if isinstance(words, str):
        readings: list[Any] = [read_word(words), words]
    else:
        read = [read_word(word) for word in words]
        readings = [*(read if len(read) == 1 else ()), read, words]
    schema = pydantic.TypeAdapter(annotation)
    for reading in readings:
        try:
            schema.validate_python(reading, strict=True)
            return reading
        except pydantic.ValidationError:
            continue
    return readings[0]
