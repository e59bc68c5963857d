"""Looking inside the members of a subject: the mechanism verdict, and attention at every snapshot."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.analysis.scores import PROBE_PROMPTS, Judged
from icl_lab.core.compiling import exact
from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import evenly
from icl_lab.core.streams import stream
from icl_lab.formats import Format
from icl_lab.hypotheses import HYPOTHESES
from icl_lab.judging.mechanism import mechanism_verdict
from icl_lab.learners import TransformerLearner
from icl_lab.models import capture, site_table

if TYPE_CHECKING:
    import xarray

SHOWN = 3  # prompts whose attention is kept by itself
LARGEST = 600_000  # values of attention that are kept at most: of longer prompts or more heads fewer snapshots


def with_mechanism(
    members: Sequence[Judged],
    judged: "xarray.Dataset",
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """The judged dataset with `mechanism` [member], a `MechanismVerdict` as JSON.

    Every measurement is one program for all members (parameters and tasks are data), with the same prompts. At the last
    step only: two layers cost about a second a look, a member and its random control, so that every snapshot
    (`with_mechanism_over_time`) costs as much again as judging the subject. The attribute `signatures`, JSON, says what
    was looked for.
    """
    key = stream(seed, "mechanism")
    found = []
    for member in members:
        progress(f"looking inside {member.label}")
        found.append(json.dumps(mechanism_verdict(member.learner, member.bank.task, key).to_dict()))
    told = [
        {"hypothesis": hypothesis.key, "mechanism": s.mechanism, "signature": s.name, "statement": s.statement}
        for hypothesis in HYPOTHESES
        for s in hypothesis.mechanisms
    ]
    data = judged.assign(mechanism=("member", np.array(found, object)))
    return data.assign_attrs(signatures=json.dumps(told))


def with_mechanism_over_time(
    members: Sequence[Judged],
    judged: "xarray.Dataset",
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """The judged dataset with `trajectory_mechanism` [member, step]: supported, refuted and not tested as JSON.

    With the prompts and random controls of `with_mechanism`, by the programs compiled for it, at every snapshot of
    members that have a trajectory; "" of the others. Without any trajectory the dataset is returned as it is.
    """
    steps = sorted(members[0].trajectory)
    if not steps:
        return judged
    key = stream(seed, "mechanism")
    found = np.full((len(members), len(steps)), "", object)
    for row, member in enumerate(members):
        if member.trajectory:
            progress(f"looking inside {member.label} at {len(member.trajectory)} steps")
        for step, learner in member.trajectory.items():
            verdict = mechanism_verdict(learner, member.bank.task, key)
            said = {name: getattr(verdict, name) for name in ("supported", "refuted", "not_tested")}
            found[row, steps.index(step)] = json.dumps(said)
    return judged.assign(trajectory_mechanism=(("member", "step"), found))


def with_attention(
    members: Sequence[Judged], looks: Mapping[int, Sequence[TransformerLearner]], judged: "xarray.Dataset"
) -> "xarray.Dataset":
    """The judged dataset with `attention_over_time` [member, look, snapshot, layer, head, token, token_key].

    Look 0 is the mean over prompts in distribution, look i the i-th of them alone; rounded to half precision. The
    other variable, `look_labels` [member, look, token], says what stands at each token. Members that are not in
    `looks`, such as the untrained one, hold NaN and "".

    Args:
        members: as they were judged, those of `looks` first.
        looks: step → the networks after it.
        judged: by `analyse`.
    """
    shown = len(next(iter(looks.values())))
    config, positions = next(iter(looks.values()))[0].model.config, members[0].bank.prompts.positions
    tokens = next(iter(looks.values()))[0].format.tokens(positions)
    size = shown * (1 + SHOWN) * config.applications * config.heads * tokens**2
    steps = evenly(sorted(looks), max(2, LARGEST // size))
    shape = (len(members), 1 + SHOWN, len(steps), config.applications, config.heads, tokens, tokens)
    values = np.full(shape, np.nan, np.float32)
    texts = np.full((len(members), 1 + SHOWN, tokens), "", object)
    for row, member in enumerate(members[:shown]):
        rows = member.bank.slices["in_distribution"]
        count = min(PROBE_PROMPTS, rows.stop - rows.start)
        prompts = jax.tree.map(lambda leaf, a=rows.start, n=count: jnp.asarray(leaf[a : a + n]), member.bank.prompts)
        texts[row] = token_texts(looks[steps[0]][row].format, looks[steps[0]][row].outcomes, prompts)
        for column, step in enumerate(steps):
            values[row, :, column] = np.asarray(attention_looks(looks[step][row], prompts)).astype(np.float16)
    dims = ("member", "look", "snapshot", "layer", "head", "token", "token_key")
    found = {"attention_over_time": (dims, values), "look_labels": (("member", "look", "token"), texts)}
    return judged.assign(found).assign_coords(snapshot=steps)


@exact(effort="quick")
def attention_looks(learner: TransformerLearner, prompts: Prompts) -> Float[Array, "look layer head token token_key"]:
    """Attention patterns of every head: the mean over prompts, then those of the first `SHOWN` prompts."""
    wanted = [name for name in site_table(learner.model.config) if name.endswith(".pattern")]
    _, values = capture(learner.model, learner.params, learner.format.encode(prompts, learner.outcomes), wanted)
    patterns = jnp.stack([values[name] for name in wanted], axis=1)  # [prompt, layer, head, token, token_key]
    return jnp.concatenate([patterns.mean(0)[None], patterns[:SHOWN]])


def token_texts(format: Format, outcomes: Outcomes, prompts: Prompts) -> np.ndarray:
    """Names of the tokens, and of the first prompts what they hold, "y3 = -0.4" or "s5 = 2", [look, token]."""
    names = format.labels(prompts.positions)
    texts = np.full((1 + SHOWN, len(names)), "", object)
    texts[0] = names
    x, y = np.asarray(prompts.x), np.asarray(prompts.y)
    for look in range(1, 1 + min(SHOWN, len(x))):
        held = {f"y{i}": _outcome(outcomes, value) for i, value in enumerate(y[look - 1])}
        held |= {f"x{i}": _input(value) for i, value in enumerate(x[look - 1])}
        held |= {f"s{i}": str(int(value.argmax())) for i, value in enumerate(x[look - 1])}
        said = {part: f"{part} = {value}" for part, value in held.items()}
        texts[look] = [", ".join(said.get(part, part) for part in name.split(",")) for name in names]
    return texts


def _outcome(outcomes: Outcomes, value: np.generic) -> str:
    return f"{float(value):.2g}" if outcomes.linear else str(int(value))


def _input(values: np.ndarray) -> str:
    """Bits as bits, everything else as numbers."""
    if np.isin(values, (-1, 0, 1)).all():
        return "".join("1" if value > 0 else "0" for value in values)
    return "(" + ", ".join(f"{value:.2g}" for value in values) + ")"
