"""How commands and scripts end: one line and an exit code for everything that can be expected to go wrong."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from icl_lab.runs.errors import InputError, RunError

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


class Parser(argparse.ArgumentParser):
    """argparse that leaves usage errors to `ended`, which says them in one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def ended(name: str, work: Callable[[], int]) -> int:
    """The exit code of what is done, with a line to stderr that begins with `name` where it went wrong.

    Returns:
        what `work` returns: 0 done, 1 a check failed; 1 for a RunError; 2 for bad input or a disk that refuses; 130
        interrupted.
    """

    def complain(message: str) -> None:
        line = " ".join(message.split())
        print(f"{name}: {''.join(c if c.isprintable() else '?' for c in line)}", file=sys.stderr)

    try:
        return work()
    except (InputError, RunError) as error:
        complain(str(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from what is stored")
        return 130
    except BrokenPipeError:  # the reader, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in DISK_TROUBLE:
            raise
        complain(f"{error.filename or 'disk'}: {error.strerror}; what was written before is whole")
        return 2
