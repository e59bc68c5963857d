"""Inside the networks: which token carries the answer after every layer, and what each head and MLP is to it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from icl_lab.report.figures.layout import Drawing, LeftOut, canvas, corner_note, fit, panel, put
from icl_lab.report.numbers.inside import Inside, insides, open_to_doubt, patterns
from icl_lab.report.numbers.reductions import largest, median
from icl_lab.report.subject import Subject
from icl_lab.report.text.vocabulary import MUTED, SUBJECT, listing, number

READING = (
    "Left: one token, or what the network holds at it after a layer, is exchanged for that of a prompt with the same "
    "inputs (of a stream: the same last state) and another task's labels; the colour says how far the answer to the "
    "last question goes to that prompt's (1: all the way; white: not at all). Middle: how much the loss of that "
    "answer rises when a head or an MLP writes its mean over prompts instead, a dot per member with its 95% interval, "
    "a bar at the median; beside it the share of the answer's variance over prompts that it writes itself. Right: how "
    "a head's attention correlates with known patterns. Colours and numbers are medians over members; a dot instead "
    "of a number: the interval includes 0 in half of them or more. Heads of a layer are ordered by what is lost "
    "without them, member by member: their own numbers mean nothing."
)
ROW, INPUT, GAP = 0.205, 1.3, 0.3  # inches of a row; rows of the input, and rows between layers
LEFT, MAP, PARTS, LOSS, WRITES, LIKE = 0.95, 3.85, 1.1, 1.45, 0.75, 0.48  # inches; LIKE: of one pattern
HEAD, BETWEEN, FOOT = 0.72, 0.72, 1.16  # inches above the first block, between two, and below the last
NUMBERED = 0.185  # inches of a cell at least that holds a number
COLOURS, BAR = "RdBu_r", "#C9D3DC"
NORM = FuncNorm((lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: np.sign(v) * np.square(v)), -1, 1)
ORDINALS = ("1st", "2nd", "3rd")
TITLE: dict[str, Any] = {"size": 8, "weight": "bold", "va": "baseline", "linespacing": 1.2}


def draw(subject: Subject) -> Drawing | LeftOut:
    """A block per condition: layers from top to bottom, tokens on the left, heads and MLPs on the right."""
    found = insides(subject)
    if not found:
        return LeftOut("the networks were not mapped")
    takeaway, columns = _takeaway(subject, found), patterns(subject, found)
    spans = _spans(found[0])
    body = ROW * spans[-1][1]
    figure, top = canvas(takeaway, HEAD + len(found) * body + (len(found) - 1) * BETWEEN + FOOT)
    limits = _limits(found)
    left, right = LEFT + MAP + PARTS, LEFT + MAP + PARTS + LOSS + WRITES
    for index, inside in enumerate(found):
        y = top + HEAD + index * (body + BETWEEN)
        axes = [panel(figure, LEFT, y, MAP, body), panel(figure, left, y, LOSS, body)]
        _draw_carried(axes[0], inside, spans, _tokens(subject, inside))
        _draw_lost(axes[1], inside, spans, limits)
        if columns:
            axes.append(panel(figure, right, y, LIKE * len(columns), body))
            _draw_alike(axes[2], inside, spans, list(columns))
        for one in axes:
            one.set_ylim(spans[-1][1], 0)
            one.tick_params(axis="y", length=0)
            one.grid(False, axis="y")
        members = len(inside.condition.members)
        whose = f"{members} member{'s' if members > 1 else ''}"
        label = f"{inside.condition.label}, {whose}" if inside.condition.label else whose
        put(figure, 0.12, y - 0.06, fit(label, LEFT + MAP - 0.2, 8, "bold"), size=8, weight="bold", va="bottom")
        if inside is found[-1]:
            axes[0].set_xlabel("token that is exchanged")
            axes[1].set_xlabel("rise of the loss (nats)")
    y = top + HEAD - 0.34
    put(figure, LEFT, y, "How far the answer goes to another prompt's\nwhen one token comes from there", **TITLE)
    put(figure, LEFT + MAP + 0.2, y, "How much the loss rises\nwithout a head or an MLP", **TITLE)
    put(figure, right - 0.12, y, "Direct share\nof the answer", ha="right", **TITLE)
    if columns:
        put(figure, right, y, "Its attention is like", **TITLE)
        for place, name in enumerate(columns.values()):
            middle = right + LIKE * (place + 0.5)
            put(figure, middle, top + HEAD - 0.04, name.replace(" ", "\n"), size=6.5, ha="center", va="bottom")
    _foot(figure, _notes(subject, found[0]))
    return Drawing(figure, takeaway)


def _spans(inside: Inside) -> list[tuple[float, float]]:
    """Upper and lower edge of every depth, in rows."""
    parts, layers = inside.lost.shape[3], inside.lost.shape[2]
    heights = [INPUT] * inside.has_input + [max(float(parts), INPUT)] * layers
    ends = np.cumsum([height + GAP for height in heights]) - GAP
    return [(float(end - height), float(end)) for end, height in zip(ends, heights, strict=True)]


def _rows(inside: Inside, spans: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Upper and lower edge of every part of every layer, in rows."""
    found = []
    for low, high in spans[inside.has_input :]:
        edges = np.linspace(low, high, inside.lost.shape[3] + 1)
        found.append([(float(a), float(b)) for a, b in itertools.pairwise(edges)])
    return found


def _tokens(subject: Subject, inside: Inside) -> list[str]:
    count = inside.carried.shape[3]
    names = [str(item) for item in subject.json("token_labels", [])]
    return names if len(names) == count else [str(index) for index in range(count)]


def _part(inside: Inside, layer: int, part: int) -> str:
    """Such as "layer 0, 1st head"."""
    if part == inside.alike.shape[4]:
        return f"layer {layer}, MLP"
    if inside.heads == 1:
        return f"layer {layer}, head"
    return f"layer {layer}, {ORDINALS[part] if part < 3 else f'{part + 1}th'} head"


def _limits(found: list[Inside]) -> tuple[float, float]:
    """Of the losses of all conditions, intervals included."""
    every = np.concatenate([inside.lost.ravel() for inside in found])
    low, high = min(0.0, float(np.nanmin(every))), max(0.0, float(np.nanmax(every)))
    margin = 0.04 * (high - low) or 1.0
    return low - margin * (low < 0), high + margin


def _draw_carried(axes: Axes, inside: Inside, spans: list[tuple[float, float]], names: list[str]) -> None:
    """Depths × tokens."""
    for depth, span in enumerate(spans):
        _cells(axes, inside.carried[:, :, depth], span, MAP / len(names) >= NUMBERED)
    layers = [f"after layer {layer}" for layer in range(inside.lost.shape[2])]
    titles = (["input"] if inside.has_input else []) + layers
    axes.set_yticks([(low + high) / 2 for low, high in spans], titles, size=7.5)
    longest, last = max(map(len, names)), len(names) - 1
    upright = len(names) * (0.05 + 0.065 * longest) > MAP and longest < 5
    every = max(1, int(np.ceil(len(names) * (0.1 if upright else 0.05 + 0.065 * longest) / MAP)))
    chosen = [index for index in range(0, last, every) if last - index >= every] + [last]
    turned = 90 if upright else 0
    axes.set_xticks([index + 0.5 for index in chosen], [names[index] for index in chosen], size=6.5, rotation=turned)
    axes.set_xlim(0, len(names))
    axes.grid(False)


def _draw_alike(axes: Axes, inside: Inside, spans: list[tuple[float, float]], columns: list[int]) -> None:
    """Heads × patterns, beside the heads' losses."""
    for layer, parts in enumerate(_rows(inside, spans)):
        for head in range(inside.alike.shape[4]):
            _cells(axes, inside.alike[:, :, columns, layer, head], parts[head], True)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.set_xlim(0, len(columns))
    axes.spines[["left", "bottom"]].set_visible(False)


def _cells(axes: Axes, ends: np.ndarray, span: tuple[float, float], numbered: bool) -> None:
    """One row of cells from [end, member, column]: colours and numbers are medians, dots where there may be nothing."""
    values, doubt = median(ends[0]), open_to_doubt(ends)
    axes.pcolormesh(np.arange(len(values) + 1), span, values[None], cmap=COLOURS, norm=NORM, ec="white", lw=0.4)
    middle = (span[0] + span[1]) / 2
    axes.scatter(np.flatnonzero(doubt) + 0.5, np.full(doubt.sum(), middle), s=2.5, color=MUTED, linewidth=0)
    for column in np.flatnonzero(~doubt & (np.abs(values) >= 0.005)) if numbered else ():
        ink = "white" if abs(values[column]) > 0.4 else SUBJECT
        text = f"{values[column]:.2f}".replace("0.", ".")
        axes.text(column + 0.5, middle, text, size=5.8, color=ink, ha="center", va="center")


def _draw_lost(axes: Axes, inside: Inside, spans: list[tuple[float, float]], limits: tuple[float, float]) -> None:
    """What the loss loses without every head and MLP, and which share of the answer it writes."""
    middles, titles = [], []
    members = len(inside.condition.members)
    for layer, parts in enumerate(_rows(inside, spans)):
        for part, (upper, lower) in enumerate(parts):
            value, low, high = inside.lost[:, :, layer, part]
            y = (upper + lower) / 2
            axes.barh(y, median(value), 0.72, color=BAR, zorder=1)
            beside = y + 0.6 * ((np.arange(members) + 0.5) / members - 0.5)
            axes.hlines(beside, low, high, color=SUBJECT, linewidth=0.7, zorder=3)
            axes.scatter(value, beside, s=5, color=SUBJECT, linewidth=0, zorder=3)
            share = median(inside.written[:, layer, part])
            text = f"{share:.0%}".replace("-0%", "0%") if np.isfinite(share) else ""
            across = axes.get_yaxis_transform()
            axes.text(1 + (WRITES - 0.2) / LOSS, y, text, size=7.5, ha="right", va="center", transform=across)
            middles.append(y)
            titles.append(_part(inside, layer, part))
    axes.set_yticks(middles, titles, size=7)
    axes.axvline(0, color="#444444", linewidth=0.7, zorder=2)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.spines["left"].set_visible(False)


def _foot(figure: Figure, notes: str) -> None:
    """One colour bar for both maps, and what is known of the nulls."""
    height = float(figure.get_size_inches()[1])
    bar = panel(figure, LEFT, height - 0.52, 1.9, 0.09)
    ticks = [-1, -0.25, 0, 0.25, 1]
    bars = figure.colorbar(ScalarMappable(NORM, COLOURS), cax=bar, orientation="horizontal", ticks=ticks)
    bars.set_ticklabels([f"{tick:g}" for tick in ticks])
    bar.tick_params(labelsize=6.5, length=2)
    told = "left: share of the way to the other prompt's answer; right: correlation with the pattern; white: none"
    put(figure, LEFT + 2.1, height - 0.475, told, size=7.5, color=MUTED, va="center")
    corner_note(figure, notes, height - 0.2)


def _notes(subject: Subject, inside: Inside) -> str:
    """What the most needed part is worth to networks that have learned nothing, and how many heads are left out."""
    heads = subject.values("head_ablation", "member", "layer", "head")
    mlp = subject.values("mlp_ablation", "member", "layer")
    assert heads is not None  # it is drawn
    every = heads if mlp is None else np.concatenate([heads, mlp[..., None]], axis=-1)
    most = {null.kind: largest(every[list(null.members)], axis=(0, 1, 2)) for null in subject.nulls}
    told = [f"{kind} {number(float(value))} nats" for kind, value in most.items() if np.isfinite(value)]
    notes = [f"Largest rise of the loss in controls: {listing(told)}."] if told else []
    if (shown := inside.alike.shape[4]) < inside.heads:
        notes.append(f"Shown are the {shown} of {inside.heads} heads of every layer that the loss needs most.")
    return " ".join(notes)


def _takeaway(subject: Subject, found: list[Inside]) -> str:
    """Where the answer is after which layer, and which part the loss needs most; of the first and last condition."""
    parts = []
    for inside in found if len(found) < 3 else (found[0], found[-1]):
        share = np.nan_to_num(median(inside.carried[0])[inside.has_input :])  # [layer, token]
        token = int(share[-1].argmax())
        at = share[:, token]
        first = int((at >= 0.5).argmax()) if (at >= 0.5).any() else len(at) - 1
        before = f" ({max(at[first - 1], 0.0):.0%} of it before)" if first else ""
        lost = median(inside.lost[0])
        layer, part = np.unravel_index(int(np.nanargmax(lost)), lost.shape)
        needed = "the loss needs no head and no MLP"
        if lost[layer, part] > 0:
            name = _part(inside, int(layer), int(part)).replace(", ", "'s ")
            needed = f"the loss needs {name} most (+{number(float(lost[layer, part]))} nats)"
        where = f"{inside.condition.label}: " if inside.condition.label else ""
        parts.append(f"{where}the answer reaches {_tokens(subject, inside)[token]} in layer {first}{before}, {needed}")
    between = ", " if found[0].condition.label else ": "
    return f"{subject.title}{between}{'; '.join(parts)}."
