"""The stress profile: what every change of the prompt costs, and how much of it the training prior costs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from icl_lab.report.figures.layout import WIDTH, Drawing, LeftOut, canvas, corner_note, fit, panel, plain_log, put
from icl_lab.report.subject import Condition, Subject, evenly
from icl_lab.report.text.vocabulary import COLOURS, CONTEXT, HYPOTHESES, MUTED, SUBJECT, listing, number

READING = (
    "Upper rows: nats that the network (dots: members, with 95% intervals over prompts) loses per answer on changed "
    "prompts against the exact learner who knows of the change. Grey bar: what the exact learner of the training prior "
    "loses there; a dot right of its end loses more, one to its left less. Lower rows: "
    "changes that keep all information, and how far the answer moves: 0 for the exact learner. Coloured ticks: "
    "the nearest reference of each hypothesis, its median over members (an arrow: farther than the axis shows); ×: a "
    "learner that knows nothing."
)
LEFT, ROW, GAP, LEAST, PANELS = 3.0, 0.27, 0.3, 1e-4, 3
BESIDE = 1.2  # ratio of neighbours at the left edge


def draw(subject: Subject) -> Drawing | LeftOut:
    """Perturbations (rows) × conditions (columns)."""
    told: dict[str, Any] = subject.json("stress", {})
    names = [str(name) for name in subject.data["perturbation"].values] if "perturbation" in subject.data else []
    if not names or not told:
        return LeftOut("the run was not stressed; icl-lab stress RUN does it")
    shown = {name: _shown(subject, name, bool(told[name]["aligned"])) for name in names}
    kept = list(evenly(subject.trained, PANELS))
    members = [member for condition in kept for member in condition.members]
    rows = [name for name in names if np.isfinite(shown[name]["own"][members]).any()]
    unread = [name for name in names if name not in rows and np.isfinite(shown[name]["chance"][members]).any()]
    rows.sort(key=lambda name: bool(told[name]["aligned"]))
    if not rows:
        return LeftOut("no perturbation makes sense for this task and model")
    changed = [name for name in rows if not told[name]["aligned"]]
    label = 0.22 if any(condition.label for condition in kept) else 0.05
    space = 0.32 if 0 < len(changed) < len(rows) else 0.0
    takeaway = _takeaway(subject, told, shown, rows, kept)
    figure, top = canvas(takeaway, label + ROW * len(rows) + space + (1.4 if unread else 1.2))
    width = (WIDTH - LEFT - 0.2 - GAP * (len(kept) - 1)) / len(kept)
    high = max(_largest(shown[name], members) for name in rows)
    begin = top + label + 0.12
    parts = [(changed, begin, "nats lost against the best possible answer")]
    below = begin + ROW * len(changed) + (space or 0.0)
    parts.append((rows[len(changed) :], below, "nats by which the answer moves (exact learner: 0)"))
    for part, y, text in parts:
        for column, condition in enumerate(kept if part else ()):
            axes = panel(figure, LEFT + column * (width + GAP), y, width, ROW * len(part))
            _draw(axes, subject, [shown[name] for name in part], condition, high)
            labels = [fit(str(told[name]["title"]), LEFT - 0.3, 8.5) for name in part]
            axes.set_yticks(range(len(part)), labels if column == 0 else [""] * len(part), size=8.5)
            last = part is parts[-1][0] or not rows[len(changed) :]
            axes.tick_params(axis="x", labelbottom=last)
            if last:
                axes.set_xlabel("nats per answer", size=8)
            if y == begin:
                put(
                    figure, LEFT + column * (width + GAP), y - 0.14, condition.label, size=9, weight="bold", va="center"
                )
        if part:
            put(figure, 0.12, y - 0.13, text, size=7.5, color=MUTED, va="center", style="italic")
    _key(figure)
    if unread:
        titles = listing([str(told[name]["title"]) for name in unread])
        note = f"Cannot be read by this model, such as for want of positions: {titles}."
        corner_note(figure, note, figure.get_size_inches()[1] - 0.7)
    return Drawing(figure, takeaway)


def _shown(subject: Subject, name: str, aligned: bool) -> dict[str, np.ndarray]:
    """What one row draws: the members' values with intervals, references, chance, and what the training prior costs."""
    place = [str(n) for n in subject.data["perturbation"].values].index(name)

    def of(variable: str, *dims: str) -> np.ndarray:
        found = subject.values(variable, *dims, "perturbation")
        shape = tuple(subject.data.sizes[dim] for dim in dims)
        return np.full(shape, np.nan) if found is None else found[..., place]

    if aligned:
        own, low, high = (of(f"stress_moved{end}", "member") for end in ("", "_low", "_high"))
        reference, chance = of("stress_reference_moved", "member", "hypothesis"), of("stress_chance_moved", "member")
        return {"own": own, "low": low, "high": high, "reference": reference, "chance": chance, "floor": 0 * own}
    floor = of("stress_chance_mismatch", "member")  # the same for all learners, known also where one cannot be asked
    own, low, high = (of(f"stress_bias{end}", "member") + floor for end in ("", "_low", "_high"))
    reference = of("stress_reference_bias", "member", "hypothesis") + floor[:, None]
    chance = of("stress_chance_bias", "member") + floor
    return {"own": own, "low": low, "high": high, "reference": reference, "chance": chance, "floor": floor}


def _largest(row: dict[str, np.ndarray], members: list[int]) -> float:
    values = np.concatenate([row[key][members].ravel() for key in ("own", "high", "chance", "floor")])
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size else LEAST


def _draw(axes: Axes, subject: Subject, rows: list[dict[str, np.ndarray]], condition: Condition, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(LEAST / 1.4, max(high * 1.6, 10 * LEAST))
    plain_log(axes.xaxis, LEAST / 1.4, max(high * 1.6, 10 * LEAST), 6)
    own = list(condition.members)
    keys = [str(key) for key in subject.data["hypothesis"].values]
    right = axes.get_xlim()[1]
    for y, row in enumerate(rows):
        floor = float(np.nanmean(row["floor"][own])) if np.isfinite(row["floor"][own]).any() else 0.0
        if floor > LEAST:
            axes.barh(y, floor - LEAST / 1.4, left=LEAST / 1.4, height=0.78, color=CONTEXT, zorder=1)
        edge = 0  # references so far at the left edge, where they stand side by side
        for place, key in enumerate(keys):
            value = np.median(row["reference"][own, place])
            if np.isfinite(value):
                edge += value <= LEAST
                at = LEAST * BESIDE ** (edge - 1) if value <= LEAST else min(float(value), right)
                marker, size = ("|", 80) if value <= right else (">", 30)
                axes.scatter(at, y, s=size, marker=marker, linewidth=2.0, color=COLOURS[key], zorder=3, clip_on=False)
        chance = row["chance"][own[0]]
        if np.isfinite(chance):
            axes.scatter(max(float(chance), LEAST), y, s=26, marker="x", color=MUTED, zorder=3)
        offsets = np.linspace(-0.22, 0.22, len(own)) if len(own) > 1 else [0.0]
        for member, offset in zip(own, offsets, strict=True):
            value, low, top = (row[key][member] for key in ("own", "low", "high"))
            if not np.isfinite(value):
                axes.text(LEAST, y, "does not apply", size=7, color=MUTED, va="center")
                break
            if np.isfinite(low) and np.isfinite(top):
                ends = np.clip([low, top], LEAST, None)
                axes.plot(ends, [y + offset] * 2, color=SUBJECT, linewidth=1.0, zorder=4)
            marker = "o" if value >= LEAST else "<"
            axes.scatter(max(float(value), LEAST), y + offset, s=16, marker=marker, color=SUBJECT, zorder=5)
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _key(figure: Figure) -> None:
    """What the marks mean, below the panels."""
    networks = [
        Line2D([], [], color=SUBJECT, marker="o", markersize=4, linewidth=1.0, label="a network, 95% over prompts"),
        Patch(color=CONTEXT, label="exact learner of the training prior"),
        Line2D([], [], color=MUTED, marker="x", markersize=5, linewidth=0, label="knows nothing"),
        Line2D([], [], linewidth=0, label=f"side by side at the left edge: {LEAST:.4f} or less"),
    ]
    references = [
        Line2D(
            [], [], color=COLOURS[key], marker="|", markersize=9, markeredgewidth=2, linewidth=0, label=f"{key} {name}"
        )
        for key, name in HYPOTHESES.items()
    ]
    for row, handles in enumerate((references, networks)):
        figure.legend(
            handles=handles,
            loc="lower left",
            bbox_to_anchor=(0, 0.2 * row / figure.get_size_inches()[1]),
            ncol=len(handles),
            fontsize=7.5,
            frameon=False,
            columnspacing=1.0,
        )


def _takeaway(
    subject: Subject, told: dict[str, Any], shown: dict[str, Any], rows: list[str], kept: list[Condition]
) -> str:
    """Where the mechanism adds most, and what moves the answer although nothing was said anew."""
    members = [member for condition in kept for member in condition.members]

    def mean(values: np.ndarray) -> float:
        values = values[members]
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    added = {name: mean(shown[name]["own"] - shown[name]["floor"]) for name in rows if not told[name]["aligned"]}
    moved = {name: mean(shown[name]["own"]) for name in rows if told[name]["aligned"]}
    parts = []
    worst = sorted(((value, name) for name, value in added.items() if value > 0.001), reverse=True)[:2]
    if worst:
        items = [f"{told[name]['title']} (+{number(value)} nats)" for value, name in worst]
        parts.append(f"beyond the training prior's own loss its networks lose most by {listing(items)} in the mean")
    elif added:
        parts.append("its networks lose nothing beyond the training prior's own loss")
    if moved:
        value, name = max((value, name) for name, value in moved.items())
        parts.append(f"of changes that say nothing new, {told[name]['title']} moves them most ({number(value)} nats)")
    return f"{subject.title}: {'; '.join(parts)}."
