"""Write files atomically: all of a file or nothing of it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, whose file replaces `path` if the block succeeds.

    Creates missing folders. A process that is killed leaves the temporary file behind (`sweep`).
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
    """Write a file that holds either its old content or all of `content`, whenever the process is killed.

    Creates missing folders.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def sweep(directory: Path) -> None:
    """Remove temporary files of dead processes in a folder and its subfolders.

    A file with this process's own number counts as one of an earlier process. Call this while nothing is being written.
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
