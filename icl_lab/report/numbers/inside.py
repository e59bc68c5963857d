"""The maps of the inside as the figure draws them: per condition, heads in an order that means something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_lab.report.subject import Condition, Subject, evenly

CONDITIONS, ROWS = 3, 16  # shown at most; of layers with more heads and MLPs the least needed heads are left out


@dataclass(frozen=True)
class Inside:
    """What is drawn of one condition. The first axis of most arrays, `end`, is value, low and high.

    Heads are sorted in every layer of every member, the one that the loss needs most first: their own numbers mean
    nothing across members.

    Attributes:
        condition: whose members these are.
        heads: of a layer, those that are left out included.
        carried: how far the answer goes when one token is exchanged, [end, member, depth, token]; depths are layers,
            and before them the input where that is stored.
        lost: nats that the loss loses, [end, member, layer, part]; parts are heads, and last the MLP if there is one.
        written: share of the answer, [member, layer, part].
        alike: correlation with known patterns, [end, member, pattern, layer, head].
    """

    condition: Condition
    heads: int
    carried: np.ndarray
    lost: np.ndarray
    written: np.ndarray
    alike: np.ndarray

    @property
    def has_input(self) -> bool:
        return self.carried.shape[2] > self.lost.shape[2]


def insides(subject: Subject) -> list[Inside]:
    """What is stored of the conditions that are shown; nothing where the networks were not mapped."""
    carried, heads = _ends(subject, "interchange", "layer", "token"), _ends(subject, "head_ablation", "layer", "head")
    if carried is None or heads is None:
        return []
    through_input = _ends(subject, "interchange_input", "token")
    if through_input is not None:
        carried = np.concatenate([through_input[:, :, None], carried], axis=2)
    mlp = _ends(subject, "mlp_ablation", "layer")
    order = np.argsort(-np.nan_to_num(heads[0], nan=-np.inf), axis=-1, kind="stable")
    order = order[..., : max(1, ROWS // heads.shape[2] - (mlp is not None))]  # [member, layer, place]

    written = _or_nan(subject.values("attribution", "member", "layer", "head"), heads.shape[1:])
    alike = _or_nan(
        _ends(subject, "attention_likeness", "pattern", "layer", "head"), (*heads.shape[:2], 0, *heads.shape[2:])
    )
    lost, written = np.take_along_axis(heads, order[None], -1), np.take_along_axis(written, order, -1)
    alike = np.take_along_axis(alike, order[None, :, None], -1)
    if mlp is not None:
        of_mlp = _or_nan(subject.values("mlp_attribution", "member", "layer"), mlp.shape[1:])
        lost, written = (np.concatenate([a, b[..., None]], axis=-1) for a, b in ((lost, mlp), (written, of_mlp)))

    mapped = np.isfinite(lost[0]).any((1, 2)) & np.isfinite(carried[0]).any((1, 2))
    kept = [
        Condition(condition.label, condition.kind, tuple(member for member in condition.members if mapped[member]))
        for condition in subject.trained or subject.conditions
    ]
    return [
        Inside(condition, heads.shape[-1], carried[:, rows], lost[:, rows], written[rows], alike[:, rows])
        for condition in evenly([condition for condition in kept if condition.members], CONDITIONS)
        for rows in [list(condition.members)]
    ]


def patterns(subject: Subject, found: list[Inside]) -> dict[int, str]:
    """Index and name of every known pattern that the prompts have, once: a stream's own input is its previous token."""
    names = subject.strings("pattern", "pattern")
    values = np.concatenate([each.alike[0] for each in found])  # [member, pattern, layer, head]
    if names is None or len(names) != values.shape[1]:
        return {}
    kept: dict[int, str] = {}
    for index in sorted(range(len(names)), key=lambda index: names[index] == "own input"):
        same = [np.allclose(values[:, index], values[:, other], atol=1e-5, equal_nan=True) for other in kept]
        if np.isfinite(values[:, index]).any() and not any(same):
            kept[index] = names[index]
    return kept


def open_to_doubt(ends: np.ndarray) -> np.ndarray:
    """Whether the interval includes 0 in half of the members or more, [end, member, …] → […]; not where all are 0."""
    _, low, high = ends
    return (((low <= 0) & (high >= 0)).mean(0) >= 0.5) & (ends != 0).any((0, 1))


def _ends(subject: Subject, name: str, *dims: str) -> np.ndarray | None:
    """[end, member, *dims] of a variable, NaN for ends that are not stored; None where it is not."""
    value = subject.values(name, "member", *dims)
    if value is None:
        return None
    ends = [subject.values(f"{name}{end}", "member", *dims) for end in ("_low", "_high")]
    return np.stack([value, *(_or_nan(end, value.shape) for end in ends)])


def _or_nan(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan) if values is None else values
