"""The attention viewer of the page: every head of every member at every snapshot, as data for `viewer.js`."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from icl_lab.report.subject import Subject

DIMS = ("member", "look", "snapshot", "layer", "head", "token", "token_key")
LEVELS = 127  # of one byte: weights are kept to this part of the largest of their snapshot


def viewer_data(subject: Subject) -> dict[str, Any] | None:
    """What the widget shows: names, and patterns as signed bytes in base64, each snapshot with its largest weight."""
    patterns = subject.values("attention_over_time", *DIMS)
    if patterns is None:
        return None
    kept = [m for c in [*subject.trained, *subject.nulls] for m in c.members if np.isfinite(patterns[m]).any()]
    patterns = np.nan_to_num(patterns[kept])
    scales = np.abs(patterns).max(axis=(3, 4, 5, 6))  # [member, look, snapshot]
    units = np.where(scales > 0, scales, 1.0)[..., None, None, None, None]
    levels = np.round(patterns / units * LEVELS).astype(np.int8)
    tokens = patterns.shape[-1]
    labels = subject.strings("look_labels", "member", "look", "token")
    if labels is None:
        labels = np.full((subject.members, patterns.shape[1], tokens), "", object)
    names = [text or str(index) for index, text in enumerate(labels[kept[0], 0])]
    return {
        "title": subject.title,
        "members": [_member(subject, member) for member in kept],
        "looks": ["mean over prompts", *(f"prompt {index} alone" for index in range(1, patterns.shape[1]))],
        "steps": [int(step) for step in subject.data["snapshot"].values],
        "layers": patterns.shape[3],
        "heads": patterns.shape[4],
        "tokens": names,
        "texts": [[list(labels[member, look]) for look in range(1, patterns.shape[1])] for member in kept],
        "scales": [[[float(f"{v:.6g}") for v in row] for row in block] for block in scales.tolist()],
        "signed": bool((levels < 0).any()),
        "values": base64.b64encode(levels.tobytes()).decode("ascii"),
    }


def _member(subject: Subject, member: int) -> str:
    kind = subject.kinds[member]
    label = subject.labels[member]
    return label if kind == "trained" or kind in label else f"{label} ({kind})"
