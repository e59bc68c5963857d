"""Resumable checkpoints: orbax for the sharded state, a digest per file, and the one before the newest as a spare.

A checkpoint is one directory, made under another name and renamed when it is complete. Damage of any kind, such as a
file cut short or a flipped byte, shows in the digests; then the checkpoint before is used.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from icl_lab.core.errors import first_line
from icl_lab.store.directory import digest

KEEP = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds: arrays of the state by name, and the metric history up to its step."""

    step: int
    state: dict[str, Any]
    history: dict[str, np.ndarray]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one subject, in `directory`/STEP."""

    directory: Path

    def steps(self) -> list[int]:
        """Steps of all complete checkpoints, ascending."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())

    def path(self, step: int) -> Path:
        """Where the checkpoint of that step is."""
        return self.directory / f"{step:09d}"

    def save(self, step: int, state: Mapping[str, Any], history: Mapping[str, np.ndarray]) -> None:
        """Write a checkpoint; then remove all but the newest two, and what an earlier process left unfinished."""
        import orbax.checkpoint as ocp
        from safetensors.numpy import save_file

        for leftover in self.directory.glob("*.unfinished*"):
            shutil.rmtree(leftover)
        unfinished = self.directory / f"{step:09d}.unfinished"
        unfinished.mkdir(parents=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save((unfinished / "state").resolve(), dict(state))
        save_file({name: np.ascontiguousarray(values) for name, values in history.items()}, unfinished / "history")
        manifest = {"arrays": _shapes(state), "files": _digests(unfinished)}
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if self.path(step).exists():
            shutil.rmtree(self.path(step))
        unfinished.rename(self.path(step))
        for old in self.steps()[:-KEEP]:
            shutil.rmtree(self.path(old))

    def clear(self, after: int = -1) -> None:
        """Remove the checkpoints after a step, or all: they belong to a training that starts again from there."""
        for step in self.steps():
            if step > after:
                shutil.rmtree(self.path(step))

    def restore(self, target: Mapping[str, Any], say: Callable[[str], None]) -> Restored | None:
        """The newest checkpoint that can be read, or None.

        Args:
            target: shapes, types and shardings of the state, by name.
            say: told in one line of every checkpoint that is damaged. Such a one is renamed, not removed.
        """
        for step in reversed(self.steps()):
            try:
                return self._read(step, target)
            except Exception as error:
                aside = self.path(step).with_suffix(".damaged")
                shutil.rmtree(aside, ignore_errors=True)
                self.path(step).rename(aside)
                before = self.steps()
                then = f"the one of step {before[-1]}" if before else "the beginning, as there is none before it"
                say(f"the checkpoint of step {step} is damaged ({first_line(error)[:200]}); going on from {then}")
        return None

    def _read(self, step: int, target: Mapping[str, Any]) -> Restored:
        import orbax.checkpoint as ocp
        from safetensors.numpy import load_file

        path = self.path(step)
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        expected, found = manifest["files"], _digests(path)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise ValueError(f"{name} is {'not what was written' if name in found else 'missing'}")
        if manifest["arrays"] != _shapes(target):
            raise ValueError("it holds arrays of other names or shapes")
        with ocp.StandardCheckpointer() as checkpointer:
            state = checkpointer.restore((path / "state").resolve(), dict(target))
        return Restored(step, state, load_file(path / "history"))


def _shapes(state: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Shape and type of every array, as JSON gives them back."""
    return {name: [list(value.shape), str(value.dtype)] for name, value in sorted(state.items())}


def _digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a checkpoint but the manifest itself."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(directory).as_posix(): digest(path) for path in files}
