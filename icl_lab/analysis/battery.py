"""What was seen against what each hypothesis predicts: behavioural probes of members and of fitted references.

What a hypothesis predicts of a probe is what its own reference answers to the same prompts: of its references the one
nearest to the member (smallest D_k/D_0, mean over prompt sets), at the parameters fitted to it. A description of how
subject and reference differ; the function verdict does not depend on it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.analysis.scores import Judged
from icl_lab.core.statistics import contrast
from icl_lab.core.streams import stream
from icl_lab.hypotheses import HYPOTHESES, REFERENCES
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.probes.behaviour.battery import BATTERY, ask, read_all
from icl_lab.tasks import Task

if TYPE_CHECKING:
    import xarray

PROMPTS = 64


def seen_and_predicted(
    members: Sequence[Judged],
    judged: "xarray.Dataset",
    seed: int = 0,
    bootstrap: int = 200,
    names: Sequence[str] = (),
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """The judged dataset with what probes say of every member and of the references.

    Adds `probe_seen` [member, statistic], `probe_predicted`, `probe_difference` (seen − predicted, mean over prompts)
    with `_low` and `_high`, `probe_p` and `probe_effect` [member, hypothesis, statistic] (`statistics.Contrast`, all
    hypotheses and statistics of a member corrected together), and the attribute `probes`, JSON: probe → title,
    question, statistics.

    Args:
        members: as they were judged.
        judged: by `analyse`, with distances and fitted parameters.
        seed: of the prompts.
        bootstrap: resamples for 95% intervals (0: none).
        names: of probes; empty: all that make sense for the tasks of all members.
        progress: called with a line per member.
    """
    asked: dict[tuple, dict[str, Any]] = {}
    tasks = {key_of(member.bank.task): member.bank.task for member in members}
    shared = [n for n in names or BATTERY if all(BATTERY[n].applies(task) for task in tasks.values())]
    rows = []
    for index, member in enumerate(members):
        progress(f"asking {member.label}")
        task = member.bank.task
        key = key_of(task)
        if key not in asked:
            asked[key] = {name: ask(BATTERY[name], task, stream(seed, "battery"), PROMPTS) for name in shared}
        if not asked[key]:
            return judged
        seen = _together(read_all(member.learner, task, asked[key], PROMPTS))
        predicted = np.full((len(HYPOTHESES), *seen.shape), np.nan)
        for place, name in enumerate(best_references(judged.isel(member=index))):
            if name:
                reference = fitted_reference(task, judged.isel(member=index), name, member.bank.prepared[name])
                predicted[place] = _together(read_all(reference, task, asked[key], PROMPTS))
        found = contrast(seen, predicted, bootstrap)._asdict()
        rows.append({"seen": seen.mean(0), "predicted": predicted.mean(1)} | found)
    dims = ("member", "hypothesis", "statistic")
    data: dict[str, Any] = {
        name: (dims if rows[0][name].ndim == 2 else ("member", "statistic"), np.stack([row[name] for row in rows]))
        for name in rows[0]
    }
    data = {f"probe_{'difference_' if name in ('low', 'high') else ''}{name}": value for name, value in data.items()}
    probes = {name: BATTERY[name] for name in next(iter(asked.values()))}
    told = {n: {"title": p.title, "question": p.question, "statistics": p.statistics} for n, p in probes.items()}
    labels = [f"{name}: {statistic}" for name, probe in probes.items() for statistic in probe.statistics]
    return judged.assign(data).assign_coords(statistic=labels).assign_attrs(probes=json.dumps(told))


def best_references(judged: "xarray.Dataset") -> list[str]:
    """Of every hypothesis the reference nearest to one member, "" where none applies."""
    return [str(name) for name in judged["hypothesis_reference"].values]


def fitted_reference(task: Task, judged: "xarray.Dataset", name: str, prepared: Mapping[str, Any]) -> ReferenceLearner:
    """A reference at the parameters that were fitted to one member.

    Args:
        task: that the member was trained on.
        judged: the member's row of the judged dataset.
        name: of the reference.
        prepared: what it has learned on the task beforehand.
    """
    reference, values = REFERENCES[name][1], judged["fitted"].sel(reference=name).values
    names = reference.parameters(task)
    parameters = {key: jnp.float32(value) for key, value in zip(names, values, strict=False)}
    return ReferenceLearner(task, {**prepared, **parameters}, reference)


def _together(read: Mapping[str, np.ndarray]) -> np.ndarray:
    """Statistics of all probes side by side, [prompt, statistic]."""
    return np.concatenate([np.asarray(values, float) for values in read.values()], axis=1)


def key_of(task: Task) -> tuple:
    """Equal for tasks that are the same, whatever holds their numbers."""
    leaves, structure = jax.tree.flatten(task)
    return (structure, *(np.asarray(leaf).tobytes() for leaf in leaves))
