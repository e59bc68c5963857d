"""Sections of a configuration made from the dataclasses they configure, so that the two cannot drift apart."""

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic

from icl_lab.config.messages import FieldError, one_line
from icl_lab.core.errors import InputError, nearest

Numbers = float | list[float] | list[list[float]]
LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3.4e38  # of the float32 that is computed with
AnySection = TypeVar("AnySection", bound="Section")


class Section(pydantic.BaseModel):
    """One mapping of a configuration file: frozen, strict about types, closed to unknown keys and to infinities."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def checked(cls: type[AnySection], **given: Any) -> AnySection:
        """The section with these values. Raises InputError, in one line, for one that is out of bounds."""
        try:
            return cls(**given)
        except pydantic.ValidationError as error:
            raise InputError(one_line(error, given)) from None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                raise FieldError((key,), f"unknown key; {nearest(key, list(cls.model_fields))}")
        return given

    @pydantic.model_validator(mode="after")
    def _values_fit(self) -> "Section":
        for name, value in self:
            if why := _misfit(value):
                raise FieldError((name,), why)
        return self


def _misfit(value: Any) -> str:
    """Why a value, or one inside a list, cannot be computed with or written down; "" if it can."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(_misfit, value)), "")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return f"the number is too large; it must be at most {LARGEST_INTEGER}"
    if isinstance(value, float) and abs(value) > LARGEST_FLOAT:
        return f"{value:g} is too large; it must be at most {LARGEST_FLOAT:g}"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return "holds half of a character (a surrogate), which no file can; leave it out"
    return ""


def section_of(
    kind: type, base: type[Section] = Section, leave_out: tuple[str, ...] = (), replace: Mapping[str, Any] | None = None
) -> type[Section]:
    """A section with the fields, types, limits, defaults and docstring of the dataclass `kind`.

    Args:
        kind: a dataclass.
        base: what the section extends.
        leave_out: fields that the configuration does not give (they are derived).
        replace: {field: (annotation, default)} for fields that are written otherwise in the file.

    Fields whose annotation is no plain value (Any, an array) take numbers: one, a list, or a list of lists.
    """
    hints: dict[str, Any] = {}
    for ancestor in reversed(kind.__mro__):
        hints |= inspect.get_annotations(ancestor, eval_str=True)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.init and field.name not in leave_out:
            fields[field.name] = (_plain(hints[field.name]), _default(field))
    fields.update(replace or {})
    return pydantic.create_model(f"{kind.__name__}Section", __base__=base, __doc__=kind.__doc__, **fields)


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return pydantic.Field(default_factory=field.default_factory)
    return ...


def _plain(annotation: Any) -> Any:
    """The annotation as a file can express it."""
    if annotation is Any:
        return Numbers
    if typing.get_origin(annotation) is tuple:
        return Annotated[annotation, pydantic.Strict(False)]  # YAML has lists only
    try:
        pydantic.TypeAdapter(annotation)
    except pydantic.errors.PydanticSchemaGenerationError:
        return Numbers
    return annotation
