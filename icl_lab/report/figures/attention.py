"""Mean attention pattern of every head: rows are queries, columns are keys, one colour scale for all panels."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, panel, put
from icl_lab.report.subject import Subject
from icl_lab.report.text.vocabulary import MUTED, number

READING = (
    "Each square is one head's attention, averaged over prompts: the row is the token that looks, the column the "
    "one it looks at; white is never seen. All panels share one colour scale. With linear attention weights may "
    "be negative and need not sum to one. Heads have no common order across members, so one member is shown "
    "unless there is a single head."
)
MEMBERS_SHOWN = 4


def draw(subject: Subject) -> Drawing | LeftOut:
    """A grid of layers × heads of one member, or of members where there is a single head."""
    pattern = subject.values("attention", "member", "layer", "head", "token", "token_key")
    if pattern is None:
        return LeftOut("no attention patterns are stored")
    usable = [m for c in (subject.trained or subject.conditions) for m in c.members if np.isfinite(pattern[m]).any()]
    if not usable:
        return LeftOut("no attention patterns of trained members are stored")
    layers, heads = pattern.shape[1:3]
    if layers * heads == 1:
        shown = [(subject.labels[m], pattern[m, 0, 0]) for m in usable[:MEMBERS_SHOWN]]
        rows, columns = 1, len(shown)
        whose = f"{len(shown)} members"
    else:
        member = usable[0]
        shown = [(f"layer {i}, head {j}", pattern[member, i, j]) for i in range(layers) for j in range(heads)]
        rows, columns = layers, heads
        whose = subject.labels[member]
    takeaway = _takeaway(subject, [values for _, values in shown], [name for name, _ in shown], whose)
    left, gap, bar = 0.75, 0.16, 0.95
    side = min(2.6, (WIDTH - left - bar - gap * (columns - 1)) / columns)
    figure, top = canvas(takeaway, rows * (side + 0.42) + 0.55)
    tokens = pattern.shape[3]
    labels = [str(item) for item in subject.json("token_labels", [])]
    labels = labels if len(labels) == tokens else [str(index) for index in range(tokens)]
    seen = np.concatenate([values[np.isfinite(values)] for _, values in shown])
    signed = seen.min() < -1e-6
    limit = float(np.quantile(np.abs(seen), 0.999)) or 1.0
    norm, colours = Normalize(-limit if signed else 0.0, limit), "RdBu_r" if signed else "magma_r"
    every = max(1, int(np.ceil(tokens * 0.155 / side)))
    across = max(1, int(np.ceil(tokens * (0.05 + 0.075 * max(map(len, labels))) / side)))
    for index, (name, values) in enumerate(shown):
        row, column = divmod(index, columns)
        axes = panel(figure, left + column * (side + gap), top + 0.25 + row * (side + 0.42), side, side)
        axes.imshow(np.where(values == 0, np.nan, values), aspect="auto", norm=norm, cmap=colours)
        axes.grid(False)
        axes.set_title(name, size=8)
        _ticks(axes.xaxis, axes.set_xticks, labels, across, row == rows - 1)
        _ticks(axes.yaxis, axes.set_yticks, labels, every, column == 0)
        if row == rows - 1:
            axes.set_xlabel("attended token")
        if column == 0:
            axes.set_ylabel("token that looks")
    height = min(2.2, rows * (side + 0.42) - 0.45)
    bar_axes = panel(figure, left + columns * (side + gap), top + 0.25, 0.14, height)
    colourbar = figure.colorbar(
        ScalarMappable(norm, colours), cax=bar_axes, extend="max" if seen.max() > limit * 1.01 else "neither"
    )
    colourbar.set_label("attention weight", size=8)
    if layers * heads > 1:
        put(
            figure,
            WIDTH - 0.12,
            figure.get_size_inches()[1] - 0.1,
            f"member: {whose}",
            size=7.5,
            color=MUTED,
            ha="right",
            va="bottom",
        )
    return Drawing(figure, takeaway)


def _ticks(axis, place, labels: list[str], every: int, written: bool) -> None:
    last = len(labels) - 1
    # The last token is the query: it is always named, and a neighbour too close to it is dropped.
    chosen = [index for index in range(0, last, every) if last - index >= every] + [last]
    place(chosen, [labels[index] for index in chosen]) if written else axis.set_ticks(chosen, [""] * len(chosen))
    axis.set_tick_params(labelsize=6.5, length=2)


def _takeaway(subject: Subject, patterns: list[np.ndarray], names: list[str], whose: str) -> str:
    final = [np.nan_to_num(values[-1]) for values in patterns]
    total = [np.abs(values).sum() for values in final]
    peaks = [float(np.abs(values).max() / mass) if mass > 0 else 0.0 for values, mass in zip(final, total, strict=True)]
    sharpest = int(np.argmax(peaks))
    labels = [str(item) for item in subject.json("token_labels", [])]
    target = int(np.abs(final[sharpest]).argmax())
    named = labels[target] if target < len(labels) else str(target)
    even = 1 / max(len(final[sharpest]), 1)
    if peaks[sharpest] < 2.5 * even:
        most = f"no token gets more than {peaks[sharpest]:.0%} of it"
        return f"{subject.title} ({whose}): the query's attention is spread evenly; {most}."
    return (
        f"{subject.title} ({whose}): the query attends most sharply in {names[sharpest]}, "
        f"{number(100 * peaks[sharpest])}% of its weight on token {named}."
    )
