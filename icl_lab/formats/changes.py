"""Changes of a format by name: what a subject can be trained in beside its own, and what stress tests ask it in.

Every one keeps the information of a prompt, so that whoever knows the format answers as before.
"""

import dataclasses
from collections.abc import Callable

from icl_lab.formats.base import Format
from icl_lab.formats.changed import Blank, Coded, Marked, Reversed, Scaled, Unreadable
from icl_lab.formats.plain import FORMATS, Interleaved, Swapped
from icl_lab.formats.separated import Separated


def separated(format: Format, per_example: int = 1) -> Format:
    """One separator after every example (in a stream: state); two: after its x and its y, or twice after the whole."""
    if per_example == 0:
        return format
    every, first = _spacing(format)
    if per_example == 1:
        return Separated(format, every, first)
    return Separated(format, 1, first, per_example if every == 1 else per_example // 2)


def _spacing(format: Format) -> tuple[int, int]:
    """Tokens of an example, and the one that begins the first, as the labels say: x0, y0 or s0."""
    begins: dict[str, int] = {}
    for token, label in enumerate(format.labels(3)):
        if label[0] in "xys":
            begins.setdefault(label.split(",")[0][1:], token)
    return begins["1"] - begins["0"], begins["0"]


def swapped(format: Format) -> Format:
    """y before x in every example; `Unreadable` where x and y are no two tokens."""
    if isinstance(format, Interleaved):
        return Swapped()
    inner = getattr(format, "inner", None)
    if inner is None:
        return Unreadable(format, f"x and y are no two tokens of the format {type(format).__name__}")
    other = swapped(inner)
    if isinstance(other, Unreadable):
        return Unreadable(format, other.why)
    return dataclasses.replace(format, inner=other)  # pyrefly: ignore[bad-specialization]


def coded(format: Format, shift: int = 1) -> Format:
    """Codes of the classes `shift` further on."""
    return Coded(format, shift) if shift else format


def scaled(format: Format, factor: float = 2.0) -> Format:
    """Inputs `factor` times as large."""
    return Scaled(format, factor) if factor != 1 else format


def blanks(format: Format, count: int = 4) -> Format:
    """Blank tokens before the prompt."""
    return Blank(format, count) if count else format


def unseen(format: Format) -> Format:
    """None of the others: features in reverse order at half their scale, two separators after every token."""
    _, first = _spacing(format)
    return Separated(Scaled(Reversed(format), 0.5), 1, first, 2)


CHANGES: dict[str, Callable[[Format], Format]] = {
    "plain": lambda format: format,
    "separators": separated,
    "many_separators": lambda format: separated(format, 2),
    "swapped": swapped,
    "codes": coded,
    "scaled": scaled,
    "blanks": blanks,
    "unseen": unseen,
}

# What a subject can be trained in. A marked format has a channel that training never uses, for separators to come.
NAMED: dict[str, Format] = {name: kind() for name, kind in FORMATS.items()} | {
    f"{name}_marked": Marked(kind()) for name, kind in FORMATS.items()
}
