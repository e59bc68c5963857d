"""One group of results.nc as the figures see it: its members, references, verdicts and labelled arrays.

Every accessor is tolerant: a variable that is absent, has other dimensions, or holds only NaN comes back as None, and
the figure that wanted it says so instead of drawing empty axes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from icl_lab.core.statistics import evenly as evenly
from icl_lab.core.thresholds import Thresholds
from icl_lab.report.text.vocabulary import HYPOTHESES, groups_of

if TYPE_CHECKING:
    import xarray

PLANTED = "planted"
TRAINED = "trained"


@dataclass(frozen=True)
class Condition:
    """Members of one subject that differ in their seed only, for example three seeds trained on a pool of 16 tasks."""

    label: str
    kind: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """One group of results.nc."""

    name: str
    data: xarray.Dataset
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def title(self) -> str:
        return self.text("title") or self.name.replace("_", " ")

    @property
    def family(self) -> str:
        """The kind of task, such as "markov chain"; "" where it is not stored."""
        return self.text("family")

    def text(self, attribute: str) -> str:
        """A string attribute of the group, "" where it is missing."""
        return str(self.data.attrs.get(attribute, "") or "").strip()

    def json(self, attribute: str, default: Any) -> Any:
        """An attribute that holds JSON, `default` where it is missing or damaged."""
        return parsed(self.text(attribute), default)

    def values(self, name: str, *dims: str) -> np.ndarray | None:
        """Variable `name` as floats with exactly these dimensions, in this order; None where nothing can be drawn."""
        if name not in self.data.variables or set(self.data[name].dims) != set(dims):
            return None
        array = np.asarray(self.data[name].transpose(*dims).values, dtype=float)
        return array if array.size and np.isfinite(array).any() else None

    def strings(self, name: str, *dims: str) -> np.ndarray | None:
        """Variable or coordinate `name` as an object array of strings; None where absent."""
        if name not in self.data.variables or set(self.data[name].dims) != set(dims):
            return None
        return np.vectorize(str, otypes=[object])(self.data[name].transpose(*dims).values)

    def coordinate(self, name: str) -> np.ndarray | None:
        """A coordinate along its own dimension, None where absent."""
        return np.asarray(self.data[name].values) if name in self.data.variables else None

    @cached_property
    def members(self) -> int:
        return int(self.data.sizes.get("member", 0))

    @cached_property
    def labels(self) -> list[str]:
        found = self.strings("label", "member")
        return [f"member {index}" for index in range(self.members)] if found is None else list(found)

    @cached_property
    def regimes(self) -> list[str]:
        return [str(name) for name in self._names("regime")]

    @cached_property
    def references(self) -> list[str]:
        return [str(name) for name in self._names("reference")]

    @cached_property
    def titles(self) -> dict[str, str]:
        """Display name of every reference."""
        found = self.strings("title", "reference")
        shown = [name.replace("_", " ") for name in self.references] if found is None else list(found)
        return dict(zip(self.references, shown, strict=True))

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """For every reference the hypotheses it belongs to, or ("rival",), or ("decoy",)."""
        found = self.strings("hypothesis_of", "reference")
        return [("decoy",)] * len(self.references) if found is None else [groups_of(item) for item in found]

    @cached_property
    def floors(self) -> np.ndarray:
        """Distance below which differences do not count, [member, regime], nats."""
        zero = self.values("zero_distance", "member", "regime")
        least = np.full((self.members, len(self.regimes)), self.thresholds.floor)
        return least if zero is None else np.fmax(least, self.thresholds.precision * zero)

    def best_references(self, condition: Condition, hypothesis: str) -> list[str]:
        """Of every member the reference from which its distance to the hypothesis is measured, "" if there is none."""
        stored, keys = self.strings("hypothesis_reference", "member", "hypothesis"), self.coordinate("hypothesis")
        if stored is None or keys is None or hypothesis not in keys:
            return [""] * len(condition.members)
        chosen = stored[list(condition.members), list(keys).index(hypothesis)]
        return [name if name in self.references else "" for name in chosen]

    @cached_property
    def verdicts(self) -> list[dict[str, Any]]:
        """One dictionary per member, empty where there is no verdict."""
        found = self.strings("verdict", "member")
        return [{}] * self.members if found is None else [mapping(item) for item in found]

    @cached_property
    def mechanisms(self) -> list[dict[str, Any]]:
        """The mechanism verdict of every member, empty where nothing was looked at."""
        found = self.strings("mechanism", "member")
        return [{}] * self.members if found is None else [mapping(item) for item in found]

    @cached_property
    def kinds(self) -> list[str]:
        found = self.strings("kind", "member")
        return [TRAINED] * self.members if found is None else list(found)

    @cached_property
    def conditions(self) -> list[Condition]:
        """Members grouped by everything but the seed; trained ones first, in the order of the file."""
        varying = [name for name in _CONDITION_NAMES if self._varies(name)]
        groups: dict[tuple[str, str], list[int]] = {}
        for index, kind in enumerate(self.kinds):
            parts = [_CONDITION_NAMES[name](self.data[name].values[index]) for name in varying]
            groups.setdefault((kind, ", ".join(parts)), []).append(index)
        found = [Condition(label, kind, tuple(indices)) for (kind, label), indices in groups.items()]
        return sorted(found, key=lambda condition: condition.kind not in (TRAINED, PLANTED))

    @cached_property
    def trained(self) -> list[Condition]:
        """The conditions of trained (or planted) members, without the nulls."""
        return [condition for condition in self.conditions if condition.kind in (TRAINED, PLANTED)]

    @cached_property
    def nulls(self) -> list[Condition]:
        """Untrained models, shuffled labels, and whatever else must come out as nothing: one condition per kind."""
        kinds = dict.fromkeys(kind for kind in self.kinds if kind not in (TRAINED, PLANTED))
        return [Condition("", kind, tuple(i for i, other in enumerate(self.kinds) if other == kind)) for kind in kinds]

    def hypotheses_named(self, items: Any) -> list[str]:
        """Hypotheses named in a verdict's list, whether it holds "H1" or names of references."""
        found: list[str] = []
        for item in items or []:
            names = [item] if item in HYPOTHESES else []
            if item in self.references:
                names = [group for group in self.groups[self.references.index(item)] if group in HYPOTHESES]
            found += [name for name in names if name not in found]
        return found

    def _names(self, dimension: str) -> list[Any]:
        if dimension in self.data.coords:
            return list(self.data[dimension].values)
        return [f"{dimension} {index}" for index in range(int(self.data.sizes.get(dimension, 0)))]

    def _varies(self, name: str) -> bool:
        if name not in self.data.variables or self.data[name].dims != ("member",):
            return False
        kept = {str(value) for value, kind in zip(self.data[name].values, self.kinds, strict=True) if kind == TRAINED}
        return len(kept) > 1


def parsed(text: str, default: Any) -> Any:
    """JSON, or `default` where it is damaged."""
    try:
        return json.loads(text)
    except ValueError:
        return default


def mapping(text: str) -> dict[str, Any]:
    """A JSON object, or an empty one."""
    found = parsed(text, {})
    return found if isinstance(found, dict) else {}


_CONDITION_NAMES = {
    "pool": lambda value: f"pool of {int(value)} tasks" if value > 0 else "population",
    "noise": lambda value: f"noise {float(value):g}",
    "learning_rate": lambda value: f"learning rate {float(value):g}",
    "weight_decay": lambda value: f"weight decay {float(value):g}",
}
