"""When in-context learning appears, against depth, width and the number of training tasks (S9).

    python experiments/scale_and_emergence.py [quick|paper] [--subjects.depth_2_width_32.training.steps 5000 …]

Claim     On Markov chains in-context learning needs two layers, one to bring every state its predecessor and one to
          look predecessors up: two layers pass the transition, one of the same width never does. It comes later in a
          narrower model, or not at all.
Source    Olsson et al. 2022, Edelman et al. 2024 (two layers, induction heads); Wei et al. 2022 (emergence with scale);
          Raventós et al. 2023 (number of tasks). Order only: no paper's step is expected here.
Time      quick: about three minutes on two cores. paper: the whole grid, on an accelerator, not yet run.

Looked at are chains with fresh transition matrices, at the second half of their positions: the excess of a model's loss
over the exact learner's (counts of transitions). Without the context nothing better than the uniform answer can be
given. A member's transition is the first snapshot at which its excess is below half of the uniform answer's: knowing
how often each state occurs is not enough for that (the unigram learner's share is in the claims). A member that never
gets there is censored at the last step, not averaged. What a pool does to the transition is reported, not gated: with
few training chains the transition on fresh ones may not come at all. All curves are stored in emergence.json.

In quick, chains of 4 states, one layer ends at .66 to .68 of the uniform answer's excess, where counting states does
(.70); two layers of the same width end at .07 to .08, of width 16 at .12, and width 8 has not passed after 700 steps
(.52 to .70). With 8 training chains nothing passes on fresh ones. On chains of 3 states, which the preset had before,
counting states leaves .56 and one layer ended at .50 to .52: the threshold of one half, which was chosen first and
stayed, lay just where one layer ends, and one seed of three touched it.
"""

import functools
import json
from typing import Any

import jax
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.files import write_atomically
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.decoys import label_mean, uniform
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import MarkovChain

SOURCE = "Olsson et al. 2022; Edelman et al. 2024"
SHARE = 0.5  # of the excess of the answer that uses no context
COLOURS = ("#332288", "#33A0D0", "#117733", "#B08A00", "#CC3311")


@functools.partial(jax.jit, static_argnums=2)
def fresh_chains(task: MarkovChain, key: jax.Array, prompts: int) -> tuple[Prompts, dict[str, jax.Array]]:
    """Chains with fresh matrices, and the mean late loss of the exact, the unigram and the uniform learner on them."""
    with jax.default_matmul_precision("highest"):
        given = task.fresh().sample(key, prompts)
        exact = task.fresh().population_predictive(given)
        assert exact is not None
        learners = {
            "exact": exact,
            "unigram": label_mean(task, given, task.concentration * task.states),
            "uniform": uniform(task, given),
        }
        return given, {name: late(answer.loss(given.y)) for name, answer in learners.items()}


def late(loss: jax.Array) -> jax.Array:
    """Mean over prompts and the second half of the positions."""
    return loss[:, loss.shape[1] // 2 :].mean()


@jax.jit
def late_loss(learner: Any, prompts: Prompts) -> jax.Array:
    """The model's."""
    with jax.default_matmul_precision("highest"):
        return late(learner(prompts).loss(prompts.y))


def transition(excess: list[float], steps: list[int], without_context: float) -> float:
    """The first step with less than half of the excess of the answer that uses no context; ∞: censored."""
    below = np.flatnonzero(np.asarray(excess) < SHARE * without_context)
    return float(steps[int(below[0])]) if len(below) else np.inf


def size_of(pool: int) -> float:
    """Chains that training drew from; 0 stands for a population, in which none comes again."""
    return pool or np.inf


def named(pool: int) -> str:
    """ "pool of 8 chains", or "fresh chains" of a population."""
    return f"pool of {pool} chains" if pool else "fresh chains"


def spoken(times: list[float], last: int) -> str:
    """Steps in order, ">last" for those that are censored."""
    return ", ".join(f"{time:.0f}" if np.isfinite(time) else f">{last}" for time in sorted(times))


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Curves of the excess, transition times by depth, width and pool, and what is claimed of them."""
    found: list[dict[str, Any]] = []
    known: dict[str, float] = {}
    for subject in subjects.values():
        task: Any = subject.members[0].member.task
        prompts, losses = fresh_chains(task, stream(config.judge.seed, "emergence"), config.judge.prompts)
        known = {name: float(value) - float(losses["exact"]) for name, value in losses.items()}
        rows: list[list[float]] = [[] for _ in subject.members]
        for step in subject.steps:
            params = subject.snapshots.load(step)
            for index, row in enumerate(rows):
                row.append(float(late_loss(subject.learner(index, params), prompts)) - float(losses["exact"]))
        for planned, row in zip(subject.members, rows, strict=True):
            found.append(
                {
                    "layers": subject.model.config.layers,
                    "width": subject.model.config.width,
                    "pool": planned.pool,
                    "seed": planned.seed,
                    "steps": subject.steps,
                    "excess": row,
                    "transition": transition(row, subject.steps, known["uniform"]),
                }
            )
    stored = {"excess_of": known, "members": [row | {"transition": _finite(row["transition"])} for row in found]}
    write_atomically(directory.path / "emergence.json", (json.dumps(stored, indent=1) + "\n").encode())
    draw(found, known, directory)
    return claims_of(found, known)


def _finite(time: float) -> float | None:
    return time if np.isfinite(time) else None


def claims_of(found: list[dict[str, Any]], known: dict[str, float]) -> list[Claim]:
    """Transition times of every cell of the grid, then one layer against two, and the narrowest against the widest."""
    times: dict[tuple[int, int, int], list[float]] = {}
    left: dict[tuple[int, int, int], list[float]] = {}
    last: dict[tuple[int, int, int], int] = {}
    for row in found:
        cell = (row["layers"], row["width"], row["pool"])
        times.setdefault(cell, []).append(row["transition"])
        left.setdefault(cell, []).append(row["excess"][-1] / known["uniform"])
        last[cell] = row["steps"][-1]
    share = known["unigram"] / known["uniform"]
    claims = [
        said(
            "criterion",
            "late excess of the unigram learner, as a share of the uniform answer's: counting states is no transition",
            "algebra",
            f"above {SHARE}",
            None,
            share,
            share > SHARE,
            "order",
        )
    ]
    for (layers, width, pool), values in sorted(times.items()):
        claims.append(
            said(
                f"transition.{layers}_{width}_{pool}",
                f"step of the transition, {layers} layer(s), width {width}, {named(pool)}",
                SOURCE,
                None,
                None,
                f"{spoken(values, last[layers, width, pool])} (at the end "
                f"{', '.join(f'{value:.2f}' for value in sorted(left[layers, width, pool]))} of the uniform excess)",
                None,
                "report",
            )
        )
    most = max((pool for _, _, pool in times), key=size_of)
    widths = {layers: sorted({w for n, w, pool in times if n == layers and pool == most}) for layers, _, _ in times}
    shared = sorted(set(widths.get(1, ())) & set(widths.get(2, ())))
    for layers, expected in ((1, "never"), (2, "in every seed")) if shared else ():
        values = times[layers, shared[-1], most]
        passed = [bool(np.isfinite(value)) == (layers == 2) for value in values]
        claims.append(
            members_claim(
                f"depth.{layers}",
                f"the transition comes {expected}: {layers} layer(s), width {shared[-1]}, {named(most)}",
                SOURCE,
                expected,
                [spoken([value], last[layers, shared[-1], most]) for value in values],
                passed,
            )
        )
    if len(widths.get(2, ())) > 1:
        narrow, wide = widths[2][0], widths[2][-1]
        pair = [times[2, width, most] for width in (narrow, wide)]
        medians = [float(np.median(values)) for values in pair]
        claims.append(
            said(
                "width",
                f"two layers, medians over seeds: the transition is later at width {narrow} than at {wide}, or absent",
                "Wei et al. 2022",
                "later",
                None,
                "; ".join(
                    f"width {width}: {spoken(values, last[2, width, most])}"
                    for width, values in zip((narrow, wide), pair, strict=True)
                ),
                medians[0] > medians[1],
                "order",
            )
        )
    return claims


def draw(found: list[dict[str, Any]], known: dict[str, float], directory: RunDirectory) -> None:
    """Left: excess during training with the largest pool; right: transition steps, triangles where censored."""
    import matplotlib.pyplot as plt

    shapes = sorted({(row["layers"], row["width"]) for row in found})
    pools = sorted({row["pool"] for row in found}, key=size_of)
    colour = {shape: COLOURS[index % len(COLOURS)] for index, shape in enumerate(shapes)}
    names = {shape: f"{shape[0]} layer{'s' if shape[0] > 1 else ''}, width {shape[1]}" for shape in shapes}
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
        for row in found:
            shape = (row["layers"], row["width"])
            if row["pool"] == pools[-1]:
                axes[0].plot(np.maximum(row["steps"], 1), row["excess"], color=colour[shape], lw=1.1, alpha=0.8)
            at = shapes.index(shape) + (pools.index(row["pool"]) - (len(pools) - 1) / 2) * 0.2
            censored = not np.isfinite(row["transition"])
            axes[1].scatter(
                at,
                row["steps"][-1] if censored else row["transition"],
                marker="^" if censored else "o",
                facecolors="none" if censored else colour[shape],
                edgecolors=colour[shape],
                s=30,
            )
        lines = {"uniform": (known["uniform"], ":", 3), "unigram": (known["unigram"], "--", 3)}
        lines["transition"] = (SHARE * known["uniform"], "-", -10)
        for name, (value, dashes, offset) in lines.items():
            axes[0].axhline(value, color="0.3", lw=0.9, ls=dashes)
            axes[0].annotate(name, (1, value), xytext=(2, offset), textcoords="offset points", color="0.3")
        axes[0].set(
            xscale="log",
            ylim=(0, 2 * known["uniform"]),
            xlabel="training step",
            ylabel="late excess over the exact learner (nats)",
        )
        axes[0].set_title(named(pools[-1]))
        axes[0].legend(
            handles=[plt.Line2D([], [], color=colour[shape], label=names[shape]) for shape in shapes], frameon=False
        )
        axes[1].set_xticks(range(len(shapes)), [names[shape] for shape in shapes], rotation=30, ha="right")
        axes[1].set(yscale="log", ylabel="step of the transition")
        plain_ticks(axes[1].yaxis)
        sizes = ", ".join(str(pool or "fresh") for pool in pools)
        axes[1].set_title(f"training chains, from left to right: {sizes};  △ not yet", fontsize=10)
        save_figure(figure, directory.path / "figures", "scale_and_emergence")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
