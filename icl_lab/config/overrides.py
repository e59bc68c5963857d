"""Options of the command line that change a configuration: one per setting, typed, read by tyro."""

import contextlib
import dataclasses
import io
import typing
from collections.abc import Sequence
from typing import Any

import tyro

from icl_lab.config.config import RunConfig
from icl_lab.config.sections import Section
from icl_lab.core.errors import InputError, nearest


def apply_overrides(config: RunConfig, options: Sequence[str], source: str) -> dict[str, Any]:
    """The configuration as plain data, with options such as ["--subjects.a.training.steps", "200"] applied.

    The result is not validated: rules over several fields are for the schema to check, once all options are in.

    Raises:
        InputError: an option that does not exist, or a value that cannot be read as its type.
        SystemExit: --help, after printing every option with its default.
    """
    known = [f"--{path}" for path in _paths(config)]
    for option in options:
        name = option.split("=", 1)[0].replace("-", "_").replace("__", "--", 1)
        if option.startswith("--") and name not in (*known, "--help"):
            raise InputError(f"options: {option}: no such setting; {nearest(name, known, 'settings')}")
    draft, said, complaint = _draft(config), io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            changed = tyro.cli(
                type(draft),
                default=draft,
                args=list(options),
                prog=f"icl-lab run {source}",
                config=(tyro.conf.FlagConversionOff,),
                use_underscores=True,
            )
    except SystemExit as error:
        if not error.code:
            print(said.getvalue())
            raise
        raise InputError(f"options: {_complaint(complaint.getvalue() + said.getvalue())}") from None
    return _merged(config, changed)


def _paths(section: Section | dict[str, Any], prefix: str = "") -> list[str]:
    paths: list[str] = []
    for name, value in _children(section).items():
        paths += _paths(value, f"{prefix}{name}.") if isinstance(value, Section | dict) else [f"{prefix}{name}"]
    return paths


def _children(section: Section | dict[str, Any]) -> dict[str, Any]:
    """What can be an option, or leads to some: all but lists of sections."""
    if isinstance(section, dict):
        return section
    return {name: value for name, value in section if not _holds_sections(type(section).model_fields[name].annotation)}


def _holds_sections(annotation: Any) -> bool:
    inner = typing.get_args(annotation)
    return typing.get_origin(annotation) is list and isinstance(inner[0], type) and issubclass(inner[0], Section)


def _merged(section: Section | dict[str, Any], changed: Any) -> dict[str, Any]:
    """The section as plain data, with the values of the draft `changed`."""
    plain = {} if isinstance(section, dict) else section.model_dump(mode="json")
    for name, value in _children(section).items():
        new = getattr(changed, name)
        plain[name] = _merged(value, new) if isinstance(value, Section | dict) else new
    return plain


def _draft(section: Section | dict[str, Any]) -> Any:
    """A dataclass instance with the section's fields, types and values, but none of its rules."""
    fields: dict[str, tuple[Any, Any]] = {}
    for name, value in _children(section).items():
        if isinstance(value, Section | dict):
            inner = _draft(value)
            fields[name] = (type(inner), inner)
        else:
            fields[name] = (type(section).model_fields[name].rebuild_annotation(), value)
    kind = dataclasses.make_dataclass(
        type(section).__name__, [(name, annotation) for name, (annotation, _) in fields.items()], frozen=True
    )
    kind.__doc__ = None if isinstance(section, dict) else type(section).__doc__
    return kind(**{name: value for name, (_, value) in fields.items()})


def _complaint(panel: str) -> str:
    """What tyro's panel complains of, in one line: its first paragraph after the title."""
    boxed = "╭" in panel  # else drawn for a terminal without box characters: the title is a paragraph of its own
    lines = [line.strip().strip("│").strip() for line in panel.splitlines() if not line.strip().startswith(("╭", "╰"))]
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line and not line.strip("─-"):
            paragraphs.append([])
        elif line:
            paragraphs[-1].append(line)
    said = paragraphs[0 if boxed else min(1, len(paragraphs) - 1)]
    return " ".join(said).removeprefix("Error parsing ") or "cannot be read"
