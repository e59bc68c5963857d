"""Distance to the nearest reference of each hypothesis during training, and the verdicts at every snapshot."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import to_rgb

from icl_lab.core.statistics import Bracket, bracketed_median, last_change
from icl_lab.report.figures.layout import (
    WIDTH,
    Drawing,
    LeftOut,
    canvas,
    corner_note,
    end_labels,
    panel,
    plain_log,
    put,
)
from icl_lab.report.numbers.reductions import last, median, smallest
from icl_lab.report.subject import Condition, Subject, evenly, mapping
from icl_lab.report.text.vocabulary import COLOURS, HYPOTHESES, INKS, MUTED, SUPPORTED, listing, spoken

READING = (
    "Left: distance in nats to the nearest reference of each hypothesis at every snapshot, members thin, their "
    "median thick; dashed grey: the nearest decoy. Right: the verdict at every snapshot; full colour means that "
    "all members support the hypothesis, pale that some do. Where networks were looked into at every snapshot, the "
    "verdict on the mechanism is beside that on the function."
)
ROWS_SHOWN = 6
EXTRA = {"none": "no hypothesis supported"}


def draw(subject: Subject) -> Drawing | LeftOut:
    """Panels by condition (rows) and prompt set (columns), with a strip of verdicts at the right."""
    distance = subject.values("trajectory_distance", "member", "step", "regime", "reference")
    if distance is None:
        return LeftOut("no distances during training are stored")
    steps = subject.coordinate("step")
    steps = np.arange(distance.shape[1], dtype=float) if steps is None else steps.astype(float)
    if len(steps) < 2:
        return LeftOut("only one snapshot is stored")
    kept = [c for c in subject.trained or subject.conditions if np.isfinite(distance[list(c.members)]).any()]
    if not kept:
        return LeftOut("no distances of trained members during training are stored")
    conditions = evenly(kept, ROWS_SHOWN)
    supports = {condition: _supports(subject, condition, len(steps), "trajectory_verdict") for condition in conditions}
    strips = {"verdict": supports}
    if subject.strings("trajectory_mechanism", "member", "step") is not None:
        inside = {c: _supports(subject, c, len(steps), "trajectory_mechanism") for c in conditions}
        strips = {"function": supports, "mechanism": inside}
    takeaway = _takeaway(subject, conditions, supports, steps)
    left, gap, height = 0.68, 0.78, 1.75
    strip, names = 1.25 if len(strips) == 1 else 1.9, 1.95
    label = 0.24 if any(condition.label for condition in conditions) else 0.0
    row = height + 0.42 + label
    regimes = subject.regimes
    width = (WIDTH - left - strip - names - gap * len(regimes)) / max(len(regimes), 1)
    figure, top = canvas(takeaway, row * len(conditions) + 0.45)
    for order, condition in enumerate(conditions):
        y = top + 0.24 + label + order * row
        put(figure, 0.12, y - 0.34, condition.label, size=9, weight="bold", va="center")
        bottom = order == len(conditions) - 1
        for column, regime in enumerate(regimes):
            axes = panel(figure, left + column * (width + gap), y, width, height)
            ends = _draw_distances(axes, subject, distance[list(condition.members)][:, :, column], steps)
            axes.set_title(spoken(regime))
            axes.set_xlabel("training step" if bottom else "")
            axes.set_ylabel("distance (nats)" if column == 0 else "")
            end_labels(axes, ends, 0.55, size=7.5)
        each = (strip - 0.12 * (len(strips) - 1)) / len(strips)
        for place, (title, shares) in enumerate(strips.items()):
            axes = panel(figure, left + len(regimes) * (width + gap) + place * (each + 0.12), y, each, height)
            _draw_verdicts(axes, shares[condition], steps, title, named=place == len(strips) - 1)
            axes.set_xlabel("training step" if bottom and place == 0 else "")
    note = (
        "thick: median of members; thin: every member; dashed grey: nearest decoy; verdict: full colour where all agree"
    )
    corner_note(figure, note, figure.get_size_inches()[1] - 0.18)
    return Drawing(figure, takeaway)


def _draw_distances(axes, subject: Subject, distance: np.ndarray, steps: np.ndarray) -> list[tuple[float, str, str]]:
    shown, ends = [], []
    for group in ("decoy", *HYPOTHESES):
        chosen = [index for index, groups in enumerate(subject.groups) if group in groups]
        if not chosen or not np.isfinite(distance[:, :, chosen]).any():
            continue
        nearest = np.maximum(smallest(distance[:, :, chosen], axis=2), 1e-7)
        colour = COLOURS[group]
        shown.append(nearest)
        if group != "decoy":
            axes.plot(steps, nearest.T, color=colour, linewidth=0.5, alpha=0.55)
        style = {"linestyle": "--", "linewidth": 1.1} if group == "decoy" else {"linewidth": 2.0}
        axes.plot(steps, median(nearest), color=colour, **style)
        ends += [(last(median(nearest)), group, colour)] if group != "decoy" else []
    values = np.concatenate([item.ravel() for item in shown]) if shown else np.array([1.0])
    values = values[np.isfinite(values)]
    low, high = float(values.min()) / 1.4, float(values.max()) * 1.4
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    plain_log(axes.yaxis, low, high)
    _step_axis(axes, steps)
    return [end for end in ends if np.isfinite(end[0])]


def _step_axis(axes, steps: np.ndarray) -> None:
    """A log axis on which step 0 has a place of its own, left of the first snapshot."""
    positive = steps[steps > 0]
    if steps.min() > 0:
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=float(positive.min()), linscale=0.5)
    axes.set_xlim(float(steps.min()), float(steps.max()))
    powers = range(int(np.ceil(np.log10(positive.min()))), int(np.floor(np.log10(positive.max()))) + 1)
    ticks = [10.0**power for power in powers][-4:]
    ticks = ([0.0] if steps.min() == 0 else []) + (ticks or [float(positive.max())])
    axes.set_xticks(ticks, [_short(tick) for tick in ticks])
    axes.minorticks_off()


def _short(tick: float) -> str:
    return f"{tick / 1e6:g}M" if tick >= 1e6 else f"{tick / 1e3:g}k" if tick >= 1e3 else f"{tick:g}"


def _draw_verdicts(axes, supports: dict[str, np.ndarray], steps: np.ndarray, title: str, named: bool) -> None:
    edges = np.concatenate([steps, [steps[-1] * 1.6 if steps[-1] > 0 else 1.0]])
    names = [*HYPOTHESES, *EXTRA]
    for index, name in enumerate(names):
        share = supports[name]
        strength = to_rgb(COLOURS.get(name, COLOURS["decoy"]))
        for left, right, value in zip(edges[:-1], edges[1:], share, strict=True):
            if value > 0:
                axes.fill_between(
                    [left, right], index - 0.4, index + 0.4, color=strength, alpha=0.15 + 0.85 * value, linewidth=0
                )
    _step_axis(axes, edges)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.yaxis.tick_right()
    words = [f"{name} {HYPOTHESES[name]}" if name in HYPOTHESES else EXTRA[name] for name in names]
    axes.set_yticks(range(len(names)), words if named else [""] * len(names))
    axes.tick_params(axis="y", length=0)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(INKS.get(name, MUTED))
        label.set_fontweight("bold" if supports[name][-1] > 0.5 else "normal")
    axes.grid(False, axis="y")
    axes.set_title(title)


def _supports(subject: Subject, condition: Condition, steps: int, verdicts: str) -> dict[str, np.ndarray]:
    """Share of members [step] that support each hypothesis; "none": the share that supports nothing."""
    stored = subject.strings(verdicts, "member", "step")
    shares = {name: np.zeros(steps) for name in (*HYPOTHESES, *EXTRA)}
    if stored is None:
        return shares
    for member in condition.members:
        for step in range(steps):
            verdict = mapping(stored[member, step])
            for name in (subject.hypotheses_named(verdict.get(SUPPORTED)) or ["none"]) if verdict else ():
                shares[name][step] += 1 / len(condition.members)
    return shares


def _takeaway(subject: Subject, conditions: list[Condition], supports: dict, steps: np.ndarray) -> str:
    parts = []
    for condition in conditions:
        where = f" ({condition.label})" if condition.label else ""
        shares = supports[condition]
        final = [name for name in HYPOTHESES if shares[name][-1] > 0.5]
        if not final:
            parts.append(f"no hypothesis is supported by most members at the end of training{where}")
            continue
        named = listing([f"{name} {HYPOTHESES[name]}" for name in final])
        seen = _verdicts(subject, condition, len(steps))
        since = bracketed_median([last_change(row, steps.tolist()) for row in seen])
        parts.append(f"{named} supported by most members, {last_changed(since)} (median){where}")
    return f"{subject.title}: {'; '.join(parts[:3])}."


def last_changed(at: Bracket) -> str:
    """When verdicts became what they are at the end; at the ends of training it is censored."""
    if math.isinf(at.after):
        return f"verdicts the same since the first look, at step {at.by:,.0f}"
    if math.isinf(at.by):
        return f"verdicts still changing after step {at.after:,.0f}"
    return f"verdicts last changed at steps {at}"


def _verdicts(subject: Subject, condition: Condition, steps: int) -> list[list[tuple[str, ...]]]:
    """Of every member the hypotheses supported at every snapshot."""
    stored = subject.strings("trajectory_verdict", "member", "step")
    assert stored is not None  # most members support something there

    def named(text: str) -> tuple[str, ...]:
        return tuple(subject.hypotheses_named(mapping(text).get(SUPPORTED)))

    return [[named(stored[member, step]) for step in range(steps)] for member in condition.members]
