"""The stress part of a made-up run."""

from __future__ import annotations

import numpy as np
import xarray as xr

HYPOTHESES = ["H1", "H2", "H3", "H4", "H5"]


def _told(title: str, aligned: bool) -> dict:
    return {"title": title, "question": "?", "unit": "share", "strength": 1.0, "aligned": aligned}


PERTURBATIONS = {
    "order": _told("another order", True),
    "switch": _told("task switches", False),
    "length": _told("longer than in training", False),
}
FAULTS = {"forgetting": {"title": "forgets exponentially", "unit": "rate per example"}}


def stress(members: int, random: np.random.Generator) -> xr.Dataset:
    """Switches cost a tenth of a nat that nobody avoids and .2 more; order moves little; length cannot be read."""
    shape, dims = (members, len(PERTURBATIONS)), ("member", "perturbation")
    bias = np.array([0.0, 0.2, np.nan]) * random.uniform(0.9, 1.1, shape)
    moved = np.array([0.003, np.nan, np.nan]) * random.uniform(0.9, 1.1, shape)
    data = {}
    for name, own in (("bias", bias), ("moved", moved), ("distance", bias), ("mismatch", np.full(shape, 0.1))):
        data[f"stress_{name}"] = (dims, own)
        data |= {f"stress_{name}{end}": (dims, own * by) for end, by in (("_low", 0.8), ("_high", 1.2))}
        chance = np.full(shape, {"moved": 0.0, "mismatch": 0.1}.get(name, 0.9))
        data[f"stress_chance_{name}"] = (dims, chance)
        other = np.full((members, len(HYPOTHESES), shape[1]), 0.05) * np.arange(len(HYPOTHESES))[:, None]
        data[f"stress_reference_{name}"] = (("member", "hypothesis", "perturbation"), other)
    for name, value in (("strength", 0.1), ("low", 0.08), ("high", 0.12), ("left", 0.3)):
        data[f"fault_{name}"] = (("member", "fault"), np.full((members, 1), value))
    return xr.Dataset(
        data, coords={"perturbation": list(PERTURBATIONS), "fault": list(FAULTS), "hypothesis": HYPOTHESES}
    )
