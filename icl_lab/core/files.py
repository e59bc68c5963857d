"""How files are written: all of one or nothing of it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, to be written inside; at the end it takes the place of `path`, if all went well.

    Folders that lead there are made. A process that is killed leaves it behind, see `sweep`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """The file holds either what it held before or all of `content`, whenever the process is killed.

    Folders that lead there are made.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sweep(directory: Path) -> None:
    """Remove the temporary files in a folder and below that processes left behind which are gone.

    One with this process's own number is another's, of before: call it while nothing is being written.
    """
    for path in directory.rglob(".*.tmp"):
        process = path.name.split(".")[-2]
        if process.isdecimal() and (int(process) == os.getpid() or not _runs(int(process))):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
