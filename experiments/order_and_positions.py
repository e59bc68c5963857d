"""What position schemes do to the order of the examples, and to prompts longer than those of training (D3, D9).

    python experiments/order_and_positions.py [quick|paper] [--subjects.length_alibi.training.steps 5000 …]

Claim     The order of exchangeable examples changes no exact answer. One causal layer without positions cannot tell
          orders apart either, as long as an example is one token; two layers can, because the second reads what the
          first made of a prefix. On chains longer than those of training a penalty on distance (ALiBi) loses less
          against the exact learner than sinusoids and rotations, and it makes near transitions count for more than
          learned positions do.
Source    Press et al. 2022 (length, ALiBi); Vaswani et al. 2017, Su et al. 2021, Shaw et al. 2018 (the other schemes);
          Haviv et al. 2022 (causal layers without positions know about them). No paper's number is expected here.
Time      quick: four to five minutes on two cores. paper: longer chains, wider models, every scheme in all orders, on
          an accelerator, not yet run.

Order: all 24 orders of four examples of a linear regression, paired tokens; the variance of the last answer over them
in nats, (Δŷ)²/2v with v the exact learner's predictive variance. Length: KL(exact ‖ model) on chains with fresh
transition matrices, at positions around the training length and up to four times as far; schemes with a table of
vectors (learned, relative) end with training and cannot be asked beyond. Influence: how far the last prediction follows
when one outcome is changed, and with it the two transitions it is part of, and the mean distance of that outcome from
the query, weighted by it; the outcome before the query is the query's own input and left out. Gated recurrent networks
stand beside the transformers. All figures' values are stored in measured.json.

In quick two layers without positions are not invariant, .005 to .011 nats; GRUs (.043 to .050) and two layers with
learned positions (.018 to .066) depend on the order most. The mean answer over all orders is nearer to the exact one by
just that, 1 to 11% of the distance of these small networks. On chains rotations are near the exact learner within the
training length (.007 to .014) and lose it right after; ALiBi is farther within (.018 to .025) and grows slowly, as the
GRU does. Learned positions have not converged there in 800 steps (.029 to .041), so that the comparison of influences
is one of networks under training, not of what the schemes end as.
"""

import functools
import itertools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.compiling import QUICKLY
from icl_lab.core.files import write_atomically
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.answers import answers_to, stack
from icl_lab.models.gated import GatedConfig
from icl_lab.models.positions import LENGTH_BOUND
from icl_lab.probes.behaviour.order import order_variance
from icl_lab.probes.behaviour.responses import label_influence
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import LinearRegression, MarkovChain, Task
from icl_lab.tasks.base import reordered

SOURCE = "Press et al. 2022"
LENGTHS = (1, 2, 4)  # times the length of training
WINDOW = 0.5  # the last half of a training length before each of them is looked at
EXACTLY = 1e-5  # of answers of order one, in single precision
FLOOR = 1e-10  # nats: rounding, drawn as zero
QUIET = 1e-4  # nothing moves the prediction
COLOURS = {
    "none": "#777777",
    "learned": "#332288",
    "sinusoidal": "#33A0D0",
    "rotary": "#AA4499",
    "alibi": "#117733",
    "relative": "#B08A00",
    "gru": "#CC3311",
    "lstm": "#661100",
}
NAMES = {"none": "no positions", "alibi": "ALiBi", "gru": "GRU", "lstm": "LSTM"}


@pytree_dataclass
class Exact:
    """The posterior predictive of a task as a learner."""

    task: Task

    def __call__(self, prompts: Prompts) -> Predictions:
        found = self.task.posterior_predictive(prompts)
        assert found is not None
        return found.answer()


def scheme_of(subject: TrainedSubject) -> str:
    """The position scheme of a transformer, or the kind of a recurrent network."""
    config = subject.model.config
    return config.kind if isinstance(config, GatedConfig) else config.positions


def all_orders(prompts: Prompts) -> Prompts:
    """The prompts with their examples in every order, stacked; the query stays last."""
    last = prompts.positions - 1
    orders = [jnp.array([*order, last]) for order in itertools.permutations(range(last))]
    return stack([reordered(prompts, jnp.broadcast_to(order, prompts.y.shape)) for order in orders])


@functools.partial(jax.jit, static_argnums=2)
def order_questions(task: LinearRegression, key: jax.Array, prompts: int) -> tuple[Prompts, jax.Array]:
    """Every order of some prompts, and the unit v of their last answers."""
    with jax.default_matmul_precision("highest"):
        given = task.sample(key, prompts)
        return all_orders(given), task.unit(given)[:, -1]


@functools.partial(jax.jit, compiler_options=QUICKLY)
def order_dependence(
    learner: Any, task: LinearRegression, asked: tuple[Prompts, jax.Array], exact: jax.Array
) -> dict[str, jax.Array]:
    """Variance of the last answer over orders in nats, the largest change of an answer, and the distance from exact.

    Of one order, and of the mean over all: the difference is the variance.
    """
    with jax.default_matmul_precision("highest"):
        found = answers_to(learner, asked[0])
        return {
            "variance": order_variance(learner, task, asked).mean(),
            "change": jnp.abs(found - found.mean(0)).max(),
            "distance": (jnp.square(found - exact)[..., 0] / (2 * asked[1])).mean(),
            "ensembled": (jnp.square(found.mean(0) - exact.mean(0))[..., 0] / (2 * asked[1])).mean(),
        }


@functools.partial(jax.jit, static_argnums=2)
def chains(task: MarkovChain, key: jax.Array, prompts: int) -> Prompts:
    """Chains of a task, compiled."""
    return task.sample(key, prompts)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def excess(learner: Any, exact: Exact, prompts: Prompts) -> jax.Array:
    """KL(exact ‖ learner) in nats at every position, mean over prompts."""
    with jax.default_matmul_precision("highest"):
        return exact(prompts).divergence(learner(prompts), jnp.ones(())).mean(0)


@functools.partial(jax.jit, compiler_options=QUICKLY)
def influence_distance(learner: Any, task: MarkovChain, prompts: Prompts) -> jax.Array:
    """Mean over prompts of Σ|a_i| (N − i) / Σ|a_i| over the outcomes i < N − 1, N the position of the query."""
    with jax.default_matmul_precision("highest"):
        return mean_distance(label_influence(learner, task, prompts))


def mean_distance(influence: jax.Array) -> jax.Array:
    """The same of influences [prompt, outcome]: a stream's last outcome is the query itself and left out."""
    size = jnp.abs(influence[:, :-1])
    back = influence.shape[1] - jnp.arange(size.shape[1])
    total, heard = size.sum(-1), size.sum(-1) > QUIET
    return ((size @ back) / jnp.where(heard, total, 1.0) * heard).sum() / heard.sum()


def by_subject(subjects: Subjects, kind: type[Task]) -> list[TrainedSubject]:
    """The subjects trained on a kind of task."""
    return [subject for subject in subjects.values() if isinstance(subject.members[0].member.task, kind)]


def measure_order(subjects: list[TrainedSubject], prompts: int, seed: int) -> dict[str, dict[str, Any]]:
    """Label → scheme, layers, and a value per member of everything in `order_dependence`."""
    task: Any = subjects[0].members[0].member.task
    asked = order_questions(task, stream(seed, "orders"), prompts)
    exact = Exact(task)
    truth = jax.jit(answers_to)(exact, asked[0])
    found = {"exact": {"scheme": "exact", "layers": 0} | _listed([order_dependence(exact, task, asked, truth)])}
    for subject in subjects:
        rows: list[dict[str, jax.Array]] = []
        for index in range(len(subject.members)):
            rows.append(order_dependence(subject.learner(index), task, asked, truth))
        layers = subject.model.config.layers
        found[f"{scheme_of(subject)}, {layers}"] = {"scheme": scheme_of(subject), "layers": layers} | _listed(rows)
    return found


def _listed(rows: list[dict[str, jax.Array]]) -> dict[str, list[float]]:
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def measure_length(subjects: list[TrainedSubject], prompts: int, seed: int) -> dict[str, dict[str, Any]]:
    """Scheme → curves of the excess by position and mean distances of influence, [member]."""
    task: Any = subjects[0].members[0].member.task
    size = task.positions
    longest = task.replace(examples=LENGTHS[-1] * size - 1)
    far = chains(longest, stream(seed, "lengths"), prompts)
    near = far.replace(x=far.x[:, :size], y=far.y[:, :size], scored=far.scored[:, :size])
    exact = Exact(longest)
    found: dict[str, Any] = {"exact": {"distances": [float(influence_distance(Exact(task), task, near))]}}
    for subject in subjects:
        members = [subject.learner(index) for index in range(len(subject.members))]
        bound = scheme_of(subject) in LENGTH_BOUND
        found[scheme_of(subject)] = {
            "curves": [np.asarray(excess(each, exact, near if bound else far), float).tolist() for each in members],
            "distances": [float(influence_distance(each, task, near)) for each in members],
        }
    return found


def at_length(curve: list[float], training: int, times: int) -> float:
    """Mean excess over the last half of a training length before `times` of it; NaN where the curve ends before."""
    end = training * times
    return float(np.mean(curve[end - round(WINDOW * training) : end])) if len(curve) >= end else float("nan")


def order_claims(found: dict[str, dict[str, Any]]) -> list[Claim]:
    """The exact learner and one layer without positions do not move; what the others do is shown."""
    claims = []
    for label, row in found.items():
        invariant = label in ("exact", "none, 1")
        shown = row["change"] if invariant else row["variance"]
        what = "largest change of an answer" if invariant else "variance of the answer, nats,"
        network = "the exact learner" if label == "exact" else f"{row['layers']} layer(s), {row['scheme']}"
        claims.append(
            members_claim(
                f"order.{label.replace(', ', '_')}",
                f"{what} over all orders of four examples: {network}",
                "algebra" if invariant else "Haviv et al. 2022" if row["scheme"] == "none" else "",
                f"at most {EXACTLY:g}" if invariant else None,
                [float(f"{value:.3g}") for value in shown],
                [value <= EXACTLY for value in shown] if invariant else [True] * len(shown),
                gate="exact" if invariant else "report",
            )
        )
    networks = {label: row for label, row in found.items() if label != "exact"}
    shown = [f"{label}: {_median(row['distance'])} → {_median(row['ensembled'])}" for label, row in networks.items()]
    text = "distance from the exact learner, nats, of one order → of the mean answer over all 24 (medians over seeds)"
    claims.append(said("order.ensembled", text, "this lab", None, None, "; ".join(shown), None, "report"))
    return claims


def _median(values: list[float]) -> str:
    return f"{np.median(values):.3g}"


def length_claims(found: dict[str, dict[str, Any]], training: int) -> list[Claim]:
    """Excess at every length; ALiBi against the other schemes that can be asked, and its influences' distance."""
    claims = []
    ends = {
        scheme: {times: [at_length(curve, training, times) for curve in row["curves"]] for times in LENGTHS}
        for scheme, row in found.items()
        if "curves" in row
    }
    for scheme, by_length in ends.items():
        asked = [times for times in LENGTHS if not np.isnan(by_length[times]).any()]
        more = "" if len(asked) == len(LENGTHS) else f"; {scheme} positions cannot be asked beyond it"
        claims.append(
            members_claim(
                f"length.{scheme}",
                f"excess over the exact learner at {', '.join(f'{t}×' for t in asked)} the training length, nats{more}",
                "",
                None,
                ["/".join(f"{by_length[t][i]:.3g}" for t in asked) for i in range(len(by_length[1]))],
                [True] * len(by_length[1]),
                gate="report",
            )
        )
    most = LENGTHS[-1]
    for other in ("sinusoidal", "rotary"):
        if {"alibi", other} <= set(ends):
            pairs = list(zip(ends["alibi"][most], ends[other][most], strict=True))
            claims.append(
                members_claim(
                    f"length.alibi_{other}",
                    f"excess at {most}× the training length: ALiBi's below that of {other} positions, seed by seed",
                    SOURCE,
                    "below",
                    [f"{a:.3g} against {b:.3g}" for a, b in pairs],
                    [a < b for a, b in pairs],
                )
            )
    for scheme, row in found.items():
        claims.append(
            members_claim(
                f"influence.{scheme}",
                f"mean distance of influence on the last prediction, transitions: {scheme}",
                "",
                None,
                row["distances"],
                [True] * len(row["distances"]),
                gate="report",
            )
        )
    if {"alibi", "learned"} <= set(found):
        pairs = list(zip(found["alibi"]["distances"], found["learned"]["distances"], strict=True))
        claims.append(
            members_claim(
                "influence.alibi_learned",
                "mean distance of influence: ALiBi's below that of learned positions, seed by seed",
                "this lab",
                "below",
                [f"{a:.3g} against {b:.3g}" for a, b in pairs],
                [a < b for a, b in pairs],
            )
        )
    return claims


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Order dependence of the regression networks, length and influence of those on chains."""
    claims, stored = [], {}
    regressions, streams = by_subject(subjects, LinearRegression), by_subject(subjects, MarkovChain)
    if regressions:
        stored["order"] = measure_order(regressions, config.judge.prompts, config.judge.seed)
        claims += order_claims(stored["order"])
    if streams:
        training = streams[0].members[0].member.task.positions
        stored["length"] = measure_length(streams, config.judge.prompts, config.judge.seed)
        stored["training_length"] = training
        claims += length_claims(stored["length"], training)
    write_atomically(directory.path / "measured.json", (json.dumps(stored, indent=1) + "\n").encode())
    draw(stored, directory)
    return claims


def draw(stored: dict[str, Any], directory: RunDirectory) -> None:
    """Order variance by scheme and depth; excess by position; mean distance of influence. A mark or line per seed."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4), width_ratios=(1.1, 1.5, 0.9), layout="constrained")
        draw_order(axes[0], stored.get("order", {}))
        draw_length(axes[1], stored.get("length", {}), stored.get("training_length", 1))
        draw_influence(axes[2], stored.get("length", {}))
        save_figure(figure, directory.path / "figures", "order_and_positions")
        plt.close(figure)


def draw_order(axis: Any, found: dict[str, dict[str, Any]]) -> None:
    """Variance over orders, filled for one layer, open for two."""
    schemes = list(dict.fromkeys(row["scheme"] for row in found.values()))
    for row in found.values():
        at = schemes.index(row["scheme"]) + {0: 0, 1: -0.14}.get(row["layers"], 0.14)
        colour = COLOURS.get(row["scheme"], "black")
        values = np.maximum(row["variance"], FLOOR)
        filled = colour if row["layers"] <= 1 else "none"
        axis.scatter(np.full(len(values), at), values, edgecolors=colour, facecolors=filled, s=26, lw=1.2)
    axis.set_xticks(range(len(schemes)), [NAMES.get(scheme, scheme) for scheme in schemes], rotation=40, ha="right")
    axis.set(yscale="log", ylabel="variance over orders (nats)", title="24 orders of four examples")
    zero = [row["scheme"] for row in found.values() if max(row["variance"]) <= FLOOR]
    if zero:
        axis.annotate("0 up to rounding", (len(set(zero)) - 0.6, FLOOR), va="center", color="0.35")
    axis.scatter([], [], color="0.3", s=26, label="one layer")
    axis.scatter([], [], edgecolors="0.3", facecolors="none", s=26, label="two layers or more")
    axis.legend(frameon=False, loc="center right")


def draw_length(axis: Any, found: dict[str, dict[str, Any]], training: int) -> None:
    """Excess by position in windows of a quarter of the training length; a cross where a scheme ends."""
    width = max(1, training // 4)
    for scheme, row in found.items():
        colour = COLOURS.get(scheme, "black")
        for index, curve in enumerate(row.get("curves", ())):
            usable = len(curve) // width * width
            values = np.reshape(curve[:usable], (-1, width)).mean(1)
            at = (np.arange(len(values)) + 0.5) * width / training
            ends = len(curve) == training
            label = NAMES.get(scheme, scheme) + (" (ends at 1×)" if ends else "")
            axis.plot(at, values, color=colour, lw=1.2, alpha=0.8, label=label if index == 0 else None)
            if ends:
                axis.plot(at[-1], values[-1], marker="x", color=colour)
    axis.axvline(1, color="0.6", lw=0.8, ls=":")
    axis.set(xlabel="position / training length", ylabel="KL(exact ‖ model) (nats)", yscale="log")
    axis.set_title("longer chains than in training")
    plain_ticks(axis.yaxis)
    axis.legend(frameon=False, ncols=2, fontsize=8)


def draw_influence(axis: Any, found: dict[str, dict[str, Any]]) -> None:
    """Mean distance of influence of every seed, and the exact learner's as a line."""
    schemes = [scheme for scheme in found if scheme != "exact"]
    for at, scheme in enumerate(schemes):
        values = found[scheme]["distances"]
        axis.scatter(np.full(len(values), at), values, color=COLOURS.get(scheme, "black"), s=26)
    if "exact" in found:
        axis.axhline(found["exact"]["distances"][0], color="black", ls="--", lw=1.0, label="exact learner")
        axis.legend(frameon=False)
    axis.set_xticks(range(len(schemes)), [NAMES.get(scheme, scheme) for scheme in schemes], rotation=40, ha="right")
    axis.set(ylabel="transitions back", title="mean distance of influence", ylim=(0, None))


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
