"""The two ways a command ends badly: the input is wrong, or a check failed. Each is one line for the user."""


class InputError(Exception):
    """Bad input: one line that names the file or field and says what would be right. The command exits with 2."""


class RunError(Exception):
    """The input was fine and the work failed, for example a loss that is not finite. The command exits with 1."""


def first_line(error: BaseException) -> str:
    """What an exception says, in one line; its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def nearest(name: str, known: list[str] | tuple[str, ...], plural: str = "keys") -> str:
    """What to write instead of an unknown name: the nearest known one, or all of them.

    >>> nearest("stps", ("steps", "batch"))
    "did you mean 'steps'?"
    """
    import difflib

    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known {plural}: {', '.join(known)}" if known else f"there are no {plural} here"
