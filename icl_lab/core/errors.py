"""The two ways in which a command fails: wrong input, or failed work. Each is one line for the user."""

import argparse
import difflib
from typing import NoReturn


class InputError(Exception):
    """Bad input: one line that names the file or field and says what is right. The command exits with code 2."""


class RunError(Exception):
    """Failed work on good input, for example a loss that is not finite. The command exits with code 1."""


class Parser(argparse.ArgumentParser):
    """argparse that raises its usage errors as InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its class if it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(name: str, known: list[str] | tuple[str, ...], plural: str = "keys") -> str:
    """Return a hint for an unknown name: the nearest known one, or all of them.

    >>> nearest("stps", ("steps", "batch"))
    "did you mean 'steps'?"
    """
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known {plural}: {', '.join(known)}" if known else f"there are no {plural} here"
