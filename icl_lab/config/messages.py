"""Validation errors as one line: where, what was found, what would be right."""

import reprlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pydantic

T = TypeVar("T")
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60
# pydantic's words where they speak to programmers, in words that speak of files.
_EXPECTED = {
    "model_type": "should be a mapping of settings",
    "dict_type": "should be a mapping",
    "list_type": "should be a list",
    "finite_number": "should be a finite number",
    "string_type": "should be text",
    "too_short": "should hold at least one entry",
}


class FieldError(ValueError):
    """A rule of ours is broken; `path` leads from the section that checks it to the field to change."""

    def __init__(self, path: Iterable[Any], message: str):
        super().__init__(message)
        self.path = tuple(path)


def at(path: Iterable[Any], build: Callable[[], T]) -> T:
    """`build()`, with a ValueError of the form "field: what is wrong" placed at that field of the section at `path`.

    Raises:
        FieldError: in place of that ValueError, and of any other exception that building raises.
    """
    path = tuple(path)
    try:
        return build()
    except FieldError as error:
        raise FieldError((*path, *error.path), str(error)) from None
    except pydantic.ValidationError as error:
        raise FieldError(path, one_line(error, {})) from None
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        field, separator, rest = text.partition(": ")
        if separator and field.isidentifier():
            raise FieldError((*path, field), rest) from None
        raise FieldError(path, f"cannot be used: {text[:200]}") from None


def one_line(error: pydantic.ValidationError, given: Any) -> str:
    """The first problem of a validation error of the data `given`: "field.path: 'x' should be ...", in one line."""
    path, message = _first(error, given)
    where = ".".join(str(step) for step in path)
    return f"{where}: {message}" if where else message


def _first(error: pydantic.ValidationError, given: Any) -> tuple[list[Any], str]:
    problems: list[Any] = error.errors(include_url=False)
    problem = problems[0]
    path = _path(problem, given)
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, pydantic.ValidationError):
        for step in path:
            given = given[step]
        inner, message = _first(cause, given)
        return [*path, *inner], message
    if isinstance(cause, FieldError):
        return [*path, *cause.path], str(cause)
    if cause is not None:
        return path, " ".join(str(cause).split())
    if problem["type"] == "missing":
        return [*path, problem["loc"][-1]], "is missing"
    same_place = [other for other in problems if _path(other, given) == path]
    expected = list(dict.fromkeys(_should(other) for other in same_place))
    return path, f"{_shown(problem['input'])} {' or '.join(expected[:3])}"


def _shown(value: Any) -> str:
    text = _short.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _should(problem: Any) -> str:
    text = " ".join(problem["msg"].split())
    return _EXPECTED.get(problem["type"]) or text.replace("Input should", "should", 1)


def _path(problem: Any, given: Any) -> list[Any]:
    """The keys of the file that lead to the problem; pydantic's own words for union branches are left out."""
    path: list[Any] = []
    for step in problem["loc"]:
        inside = isinstance(given, dict) and step in given
        inside = inside or (isinstance(given, list) and isinstance(step, int) and 0 <= step < len(given))
        if inside:
            given = given[step]
            path.append(step)
    return path
