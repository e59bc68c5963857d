"""The run directory: named by its configuration, written atomically, by one process at a time.

NAME-HASH8/
  config.yaml            the resolved configuration; `icl-lab run` accepts it again
  status.json            {"state": "trained" | "done", ...}
  subjects/SUBJECT/      checkpoints/, snapshots/
  results.nc, claims.json, report.html, figures/
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from icl_lab.config.config import RunConfig, parse_config
from icl_lab.config.yaml_file import dump_yaml, read_yaml
from icl_lab.core.errors import InputError
from icl_lab.core.files import sweep, write_atomically

RESULTS_DIGEST = "results_sha256"


@runtime_checkable
class Resolved(Protocol):
    """What a directory is made for: a configuration with a name, its plain values and their hash."""

    @property
    def name(self) -> str:
        """First part of the directory's name."""
        ...

    def resolved(self) -> dict[str, Any]:
        """Everything that decides the results, as plain JSON values."""
        ...

    def hash8(self) -> str:
        """Eight hex digits that stand for it."""
        ...


@dataclass(frozen=True)
class RunDirectory:
    """Paths of a run and the state it is in."""

    path: Path

    @classmethod
    def of(cls, config: "Resolved", output: Path | str) -> "RunDirectory":
        """Where this configuration's run belongs. Nothing is written."""
        return cls(Path(output) / f"{config.name}-{config.hash8()}")

    @classmethod
    def create(cls, config: "Resolved", output: Path | str) -> "RunDirectory":
        """That directory, made if it is not there, with config.yaml inside.

        Raises:
            InputError: it cannot be written, or holds another configuration.
        """
        directory = cls.of(config, output)
        with writing(directory.path):
            directory.path.mkdir(parents=True, exist_ok=True)
            directory._keep_config(config)
            # That a directory of long ago cannot be written any more must not be found out after the training.
            write_atomically(directory.path / ".writable", b"")
            (directory.path / ".writable").unlink()
        return directory

    @classmethod
    def open(cls, path: Path | str) -> "RunDirectory":
        """An existing run directory.

        Raises:
            InputError: there is no run in that place.
        """
        directory = cls(Path(path))
        if not directory.path.is_dir():
            raise InputError(f"{path}: no such directory; give a run directory such as runs/quickstart-0123abcd")
        if not directory.config_file.is_file():
            raise InputError(f"{path}: no config.yaml in it; give a run directory such as runs/quickstart-0123abcd")
        return directory

    def _keep_config(self, config: "Resolved") -> None:
        if not self.config_file.exists():
            write_atomically(self.config_file, dump_yaml(config.resolved()).encode())
        elif read_yaml(self.config_file) != config.resolved():
            raise InputError(f"{self.config_file}: was changed after the run was made; move this directory away")

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def results_file(self) -> Path:
        return self.path / "results.nc"

    @property
    def claims_file(self) -> Path:
        return self.path / "claims.json"

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    def subject(self, name: str) -> Path:
        """Directory of one subject's checkpoints and snapshots."""
        return self.path / "subjects" / name

    def config(self) -> RunConfig:
        """The configuration this run was made from."""
        return parse_config(read_yaml(self.config_file), str(self.config_file))

    def unchanged_config(self) -> RunConfig:
        """The same, sure that what it says is still what the run was made from: config.yaml and files of users' tasks.

        Raises:
            InputError: one of them was changed, or the directory renamed.
        """
        config, name = self.config(), self.path.resolve().name
        if not name.endswith(config.hash8()):
            if not re.search("-[0-9a-f]{8}$", name):
                raise InputError(
                    f"{self.path}: was renamed, so that nothing says what its results are of; give it its name back, "
                    f"{config.name}-{config.hash8()} if config.yaml is as it was"
                )
            raise InputError(
                f"{self.path}: config.yaml or a file it names has changed since the run was made (its name would end "
                f"with {config.hash8()}); run the configuration again"
            )
        return config

    def status(self) -> dict[str, Any]:
        """The content of status.json; {"state": "new"} where nothing ran yet.

        Raises:
            InputError: the file is damaged.
        """
        try:
            found = json.loads(self.status_file.read_text(encoding="utf-8"))
            if isinstance(found, dict) and isinstance(found.get("state"), str):
                return found
        except FileNotFoundError:
            return {"state": "new"}
        except (OSError, ValueError):
            pass
        raise InputError(f"{self.status_file}: damaged; delete this file to have the run judged again")

    def set_status(self, state: str) -> None:
        """Replace the state in status.json; the digest of results.nc stays."""
        self._write_status({**self.status(), "state": state})

    def expect_results(self, file: Path) -> None:
        """Accept `file` as results.nc from now on, beside the one that is there until it is replaced.

        Called before the replacement, so that a process killed between the two leaves no results that look damaged.
        """
        before = [digest(self.results_file)] if self.results_file.exists() else []
        self._write_status({**self.status(), RESULTS_DIGEST: [*before, digest(file)]})

    def expected_digests(self) -> list[str]:
        """Return the digests of which results.nc must have one; none where nothing was written."""
        return self.status().get(RESULTS_DIGEST, [])

    def _write_status(self, status: dict[str, Any]) -> None:
        write_atomically(self.status_file, (json.dumps(status, indent=1) + "\n").encode())

    def finish(self) -> None:
        """Mark the run as done."""
        self.set_status("done")

    @property
    def done(self) -> bool:
        """Whether results are complete, so that the run can be reused."""
        return self.status()["state"] == "done" and self.results_file.exists() and self.claims_file.exists()

    @property
    def report_is_current(self) -> bool:
        """Whether the page was drawn after the results and the claims were written."""
        try:
            drawn = self.report_file.stat().st_mtime_ns
            return all(drawn >= file.stat().st_mtime_ns for file in (self.results_file, self.claims_file))
        except OSError:
            return False

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. The kernel drops the lock when its process ends, however it ends.

        What killed processes left half written is removed.

        Raises:
            InputError: another process works on this run.
        """
        with writing(self.path):
            file = (self.path / "lock").open("a+", encoding="utf-8")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "?"
                raise InputError(
                    f"{self.path}: process {owner} is working on this run; wait for it or stop it"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            sweep(self.path)
            yield


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's refusal to write below `path` into bad input.

    Raises:
        InputError: no permission, no space, or something in the path that is no directory.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); choose another place with --output") from None
