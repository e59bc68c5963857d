"""Maps of the inside of a subject's networks: which place carries the answer, and what every head and MLP is to it.

All of them are about the answer at the last position of prompts in distribution. They describe and decide nothing: no
verdict depends on them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.analysis.scores import PROBE_PROMPTS, Judged
from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.learners import TransformerLearner
from icl_lab.probes.inside.ablation import ablation_effect
from icl_lab.probes.inside.attention_latents import attention_likeness
from icl_lab.probes.inside.attribution import logit_attribution
from icl_lab.probes.inside.interventions import asked, in_pieces
from icl_lab.probes.inside.patching import interchange_effect
from icl_lab.probes.inside.prompt_pairs import counterpart
from icl_lab.tasks import Task

if TYPE_CHECKING:
    import xarray

DIMS = {
    "interchange": ("layer", "token"),
    "interchange_input": ("token",),
    "head_ablation": ("layer", "head"),
    "mlp_ablation": ("layer",),
    "attribution": ("layer", "head"),
    "mlp_attribution": ("layer",),
    "attention_likeness": ("pattern", "layer", "head"),
}
AT_ONCE = 32  # prompts whose attention is compared with known patterns at the same time
Interval = Float[np.ndarray, "3 *place"]  # a value, and the ends of its 95% interval over prompts


def with_maps(
    members: Sequence[Judged],
    judged: "xarray.Dataset",
    seed: int = 0,
    bootstrap: int = 200,
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """The judged dataset with the maps of every member, each with `_low` and `_high`, 95% intervals over prompts.

    In pairs of prompts of equal inputs and of labels of two tasks (`counterpart`; of a stream, whose inputs follow from
    its outcomes, only pairs that ask the same), ŷ the mean targets answered to one,
    ŷ' to the other, and ŷ* with one token's stream taken from the other:

        interchange = Σ (ŷ* − ŷ)·(ŷ' − ŷ) / Σ |ŷ' − ŷ|²,

    sums over pairs: the mean of `interchange_effect`, every pair with the weight |ŷ' − ŷ|², since the effect in a pair
    of almost equal answers is noise over nothing. [member, layer, token] for the stream after a layer, and
    `interchange_input` [member, token] for the tokens themselves.

    `head_ablation` [member, layer, head], `mlp_ablation` [member, layer]: change of the loss, in nats, when it is
    replaced by its mean over prompts. `attribution`, `mlp_attribution`: share of the variance of the answer over
    prompts (natural parameters; of classes up to a constant) that it writes directly; with those of embedding and
    biases, which are not stored, they sum to 1. `attention_likeness` [member, pattern, layer, head]: mean over prompts
    of the correlation with a known pattern, 0 for uniform attention; NaN where no prompt has the pattern.

    Every measurement is one program for all members. Of learners that are no transformers the dataset is returned as
    it is; without MLPs it has no variable of theirs.

    Args:
        members: as they were judged, with networks of one shape.
        judged: by `analyse`.
        seed: of the other prompts of the pairs.
        bootstrap: resamples (0: intervals are NaN).
        progress: called with a line per member.
    """
    if not all(isinstance(member.learner, TransformerLearner) for member in members):
        return judged
    key = stream(seed, "maps")
    rows, patterns = [], ()
    for member in members:
        progress(f"mapping {member.label}")
        row, patterns = maps_of(member, key, bootstrap)
        rows.append(row)
    data: dict[str, Any] = {}
    for name in rows[0]:
        for index, end in enumerate(("", "_low", "_high")):
            data[f"{name}{end}"] = (("member", *DIMS[name]), np.stack([row[name][index] for row in rows]))
    return judged.assign(data).assign_coords(pattern=list(patterns))


def maps_of(member: Judged, key: Array, bootstrap: int = 200) -> tuple[dict[str, Interval], tuple[str, ...]]:
    """The maps of one member, names and axes of `DIMS`, each with the ends of its interval; names of the patterns."""
    learner, bank = member.learner, member.bank
    assert isinstance(learner, TransformerLearner)
    start, stop = bank.slices["in_distribution"].start, bank.slices["in_distribution"].stop
    rows = slice(start, min(stop, start + PROBE_PROMPTS))
    prompts = jax.tree.map(lambda leaf: jnp.asarray(leaf[rows]), bank.prompts)
    nats = 2 * np.asarray(bank.unit[rows, -1]) if bank.task.outcomes.linear else 1.0
    config = learner.model.config

    moved, apart = (np.asarray(part, float) for part in exchanged(learner, bank.task, prompts, key))
    changes, written, alike = jax.tree.map(lambda leaf: np.asarray(leaf, float), looked_at(learner, bank.task, prompts))
    through_input, *by_layer = share(moved, apart, bootstrap).swapaxes(0, 1)
    direct = share((written * written.sum(0)).sum(-1), np.square(written.sum(0)).sum(-1), bootstrap)
    direct = direct[:, 2:-1].reshape(3, config.applications, config.heads + 2)  # heads, bias and MLP of every layer
    found = {
        "interchange": np.stack(by_layer, axis=1),
        "interchange_input": through_input,
        "head_ablation": average(changes["z"] / nats, bootstrap),
        "attribution": direct[..., : config.heads],
        "attention_likeness": np.stack([likeness(values, bootstrap) for values in alike.values()], axis=1),
    }
    if config.mlp:
        found |= {"mlp_ablation": average(changes["mlp_out"] / nats, bootstrap), "mlp_attribution": direct[..., -1]}
    return found, tuple(alike)


@exact(effort="quick")
def exchanged(
    learner: TransformerLearner, task: Task, prompts: Prompts, key: Array
) -> tuple[Float[Array, "depth token pair"], Float[Array, " pair"]]:
    """(ŷ* − ŷ)·(ŷ' − ŷ) at the input (depth 0) and after every layer, and |ŷ' − ŷ|², see `with_maps`."""
    format, outcomes = learner.format, learner.outcomes
    read, _ = asked(format, prompts.positions, -1)

    def answered(inputs: Array) -> Array:
        natural = learner.model.apply(learner.params, inputs, read=read)[:, 0]
        return outcomes.from_natural(natural).mean_target()

    other = counterpart(task, prompts, key)
    own_inputs, other_inputs = format.encode(prompts, outcomes), format.encode(other, outcomes)
    tokens = own_inputs.shape[1]
    # Every token alone from the other prompt, then none, then all of them: the model is compiled once.
    taken = jnp.concatenate([jnp.eye(tokens), jnp.zeros((1, tokens)), jnp.ones((1, tokens))]) > 0
    found = jax.lax.map(lambda here: answered(jnp.where(here[:, None], other_inputs, own_inputs)), taken)
    own, change = found[-2], found[-1] - found[-2]
    asks_alike = (own_inputs[:, read] == other_inputs[:, read]).all((1, 2))
    apart = jnp.where(asks_alike, jnp.square(change).sum(-1), 0.0)
    through_input = jnp.where(asks_alike, ((found[:tokens] - own) * change).sum(-1), 0.0)
    moved = interchange_effect(learner, other, prompts) * apart
    return jnp.concatenate([through_input[None], moved]), apart


@exact(effort="once")
def looked_at(
    learner: TransformerLearner, task: Task, prompts: Prompts
) -> tuple[dict[str, Array], Float[Array, "part prompt output"], dict[str, Float[Array, "prompt layer head"]]]:
    """What heads and MLPs do: changes of the loss by site, what every part writes, and likeness by pattern."""
    sites = ("z", "mlp_out") if learner.model.config.mlp else ("z",)
    changes: dict[str, Array] = {site: ablation_effect(learner, prompts, site=site) for site in sites}
    written: Array = logit_attribution(learner, prompts)
    written = written - written.mean(1, keepdims=True)
    if not learner.outcomes.linear:  # what is added to all classes changes nothing
        written = written - written.mean(-1, keepdims=True)

    def alike(some: Prompts) -> dict[str, Array]:
        alone = jax.tree.map(lambda leaf: leaf[:, None], some)
        found = jax.vmap(lambda prompt: attention_likeness(learner, task, prompt))(alone)
        return {name: each.correlation for name, each in found.items() if name != "uniform"}

    return changes, written, in_pieces(alike, prompts, AT_ONCE)


def average(values: Float[np.ndarray, "*place prompt"], bootstrap: int) -> Interval:
    """The mean over prompts and its 95% interval."""
    middle = values.mean(-1)
    ends = bootstrap_interval(values, draws=bootstrap) if bootstrap else np.full((2, *middle.shape), np.nan)
    return np.stack([middle, *ends])


def share(part: Float[np.ndarray, "*place prompt"], whole: Float[np.ndarray, " prompt"], bootstrap: int) -> Interval:
    """Σ part / Σ whole over prompts and its 95% interval, to first order that of part − share·whole; NaN over 0."""
    total = whole.mean() if whole.mean() > 0 else np.nan
    middle = part.mean(-1) / total
    return middle + average((part - middle[..., None] * whole) / total, bootstrap)


def likeness(values: Float[np.ndarray, "prompt layer head"], bootstrap: int) -> Interval:
    """The mean over the prompts that have the pattern; 0 in those where the head looks everywhere alike."""
    known = np.isfinite(values).any((1, 2))
    if not known.any():
        return np.full((3, *values.shape[1:]), np.nan)
    return average(np.nan_to_num(np.moveaxis(values[known], 0, -1)), bootstrap)
