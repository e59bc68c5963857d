"""How commands and scripts end: one line and an exit code for everything that can be expected to go wrong."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator

from icl_lab.core.errors import InputError, RunError

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
BROKEN_PIPE = 141  # what a shell makes of SIGPIPE


@contextlib.contextmanager
def showing() -> Iterator[None]:
    """Around the printing of what is done: a reader that goes away, such as head, changes no exit code."""
    with contextlib.suppress(BrokenPipeError, SystemExit):  # with the latter rich leaves
        yield
    _let_go()


def _let_go() -> None:
    """Whichever stream has lost its reader leads nowhere from here on, so that nothing fails when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def ended(name: str, work: Callable[[], int], resumes: bool = False) -> int:
    """The exit code of what is done, with a line to stderr that begins with `name` where it went wrong.

    Args:
        name: of the command.
        work: what it does.
        resumes: whether the same command, given again, goes on from where this one was interrupted.

    Returns:
        what `work` returns: 0 done, 1 a check failed; 1 for a RunError; 2 for bad input or a disk that refuses; 130
        interrupted; 141 where the reader of what is printed went away before the work was done.
    """

    def complain(message: str) -> None:
        line = " ".join(message.split())
        print(f"{name}: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)

    try:
        code = work()
        _let_go()
        return code
    except (InputError, RunError) as error:
        complain(str(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        then = "goes on from what is stored" if resumes else "begins again"
        complain(f"interrupted; the same command {then}")
        return 130
    except BrokenPipeError:
        _let_go()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        complain(f"{error.filename or 'disk'}: {error.strerror}; what was written before is whole")
        return 2
