"""Snapshots: parameters at log-spaced steps, one small safetensors file each, for analysis of the training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from icl_lab.core.errors import InputError, first_line
from icl_lab.core.files import write_atomically
from icl_lab.models import Params


def snapshot_steps(steps: int, count: int) -> list[int]:
    """0, `count` − 2 steps spaced evenly in the logarithm, and the last step, without repetitions.

    With `count` < 2 the last step alone is left beside 0: the final parameters are always kept, and so are the
    untrained ones, a null that every run needs.

    >>> snapshot_steps(1000, 5)
    [0, 10, 46, 215, 1000]
    """
    between = np.geomspace(min(10, steps), steps, max(count - 1, 1)) if count > 2 else [steps]
    return sorted({0, steps, *(round(float(step)) for step in between)})


@dataclass(frozen=True)
class Snapshots:
    """Snapshots of one subject. Every array leads with the member axis."""

    directory: Path

    def path(self, step: int) -> Path:
        """The file of that step."""
        return self.directory / f"step-{step:09d}.safetensors"

    def save(self, step: int, params: Params) -> None:
        """Write the parameters after `step` steps."""
        from safetensors.numpy import save

        self.directory.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path(step), save(named_leaves(jax.device_get(params)), metadata={"step": str(step)}))

    def load(self, step: int) -> Params:
        """The parameters after `step` steps, as a nested dictionary.

        Raises:
            InputError: the file is missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            flat = load_file(self.path(step))
        except Exception as error:
            raise InputError(f"{self.path(step)}: cannot be read ({first_line(error)}); it is needed") from None
        params: Params = {}
        for name, value in flat.items():
            *branches, leaf = name.split("/")
            inner: Any = params
            for branch in branches:
                inner = inner.setdefault(branch, {})
            inner[leaf] = value
        return params

    def readable(self, step: int) -> bool:
        """Whether the file is there and whole, judged by its header and size."""
        from safetensors import safe_open

        try:
            with safe_open(self.path(step), framework="numpy") as file:
                return bool(file.keys())
        except Exception:
            return False


def named_leaves(tree: Any) -> dict[str, Any]:
    """Arrays of a pytree by their path, "layers/0/attention/query/kernel"."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
