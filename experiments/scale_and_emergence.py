"""When in-context learning appears, against depth, width and the number of training tasks (S9).

    python experiments/scale_and_emergence.py [quick|paper] [--subjects.depth_2_width_32.training.steps 5000 …]

Claim     On Markov chains in-context learning needs two layers, one to bring every state its predecessor and one to
          look predecessors up: two layers pass the transition, one of the same width never does. It comes later in a
          narrower model, or not at all.
Source    Olsson et al. 2022, Edelman et al. 2024 (two layers, induction heads); Wei et al. 2022 (emergence with scale);
          Raventós et al. 2023 (number of tasks). Order only: no paper's step is expected here.
Time      quick: about three minutes on two cores. paper: the whole grid, on an accelerator, not yet run.

The excess is the loss over the exact learner's (counts of transitions) on fresh chains, at the second half of their
positions. The transition is the first snapshot at which it is below half of the uniform answer's excess, which counting
states alone does not reach. A network that never gets there is censored.
"""

import numpy as np

from icl_lab.core.compiling import exact
from icl_lab.experiments import Experiment, claim, first_step, panels, shown_steps
from icl_lab.learners.decoys import label_mean, uniform
from icl_lab.report.experiments import plain_ticks

SHARE = 0.5  # of the excess of the answer that uses no context
COLOURS = ("#332288", "#33A0D0", "#117733", "#B08A00", "#CC3311")


def late(loss):
    """Mean over prompts and the second half of the positions."""
    return loss[:, loss.shape[1] // 2 :].mean()


@exact(static=("prompts",))
def fresh_chains(task, key, prompts):
    """Chains with fresh matrices, and the late loss of the exact, the unigram and the uniform learner on them."""
    given = task.fresh().sample(key, prompts)
    learners = {
        "exact": task.fresh().population_predictive(given),
        "unigram": label_mean(task, given, task.concentration * task.states),
        "uniform": uniform(task, given),
    }
    return given, {name: late(answer.loss(given.y)) for name, answer in learners.items()}


@exact
def late_loss(learner, prompts):
    """Late loss of a network."""
    return late(learner(prompts).loss(prompts.y))


def prepare(trained):
    """Fresh chains with the losses of the references."""
    return fresh_chains(trained.task, trained.key("emergence"), prompts=trained.prompts)


def measure(trained):
    """Excess over the exact learner, nats, of the network and of the answers that do not use the order of states."""
    prompts, losses = trained.prepared
    own = float(late_loss(trained.learner, prompts))
    found = {"excess": own, "unigram": float(losses["unigram"]), "uniform": float(losses["uniform"])}
    return {name: ((), value - float(losses["exact"])) for name, value in found.items()}


def transitions(found):
    """(layers, width, pool) → steps of the transition and final excess as a share of the uniform answer's, per seed."""
    cells = {}
    for data in found.values():
        for pool in dict.fromkeys(data.pool.values):
            own = data.sel(member=data.pool.values == pool)
            share = (own.excess / own.uniform).values
            times = [first_step(row < SHARE, data.step) for row in share]
            cells[int(data.model_layers), int(data.model_width), int(pool)] = (times, share[:, -1], int(data.step[-1]))
    return dict(sorted(cells.items()))


def size(pool):
    """Number of training chains; 0 stands for a population."""
    return pool or np.inf


def named(pool):
    """Training chains in words."""
    return f"pool of {pool} chains" if pool else "fresh chains"


def claims(found):
    """Transitions of every cell of the grid, then one layer against two, and the narrowest against the widest."""
    cells, one = transitions(found), next(iter(found.values())).isel(member=0, step=-1)
    text = "late excess of the unigram learner as a share of the uniform answer's: counting states is no transition"
    yield claim("criterion", text, "above", one.unigram / one.uniform, SHARE, source="algebra")
    for (layers, width, pool), (times, share, _) in cells.items():
        text = f"step of the transition, {layers} layer(s), width {width}, {named(pool)}; final share of the excess"
        labels = [f"finally {value:.2f}" for value in share]
        yield claim(f"transition.{layers}_{width}_{pool}", text, "report", times, unit="steps", labels=labels)
    most = max((pool for *_, pool in cells), key=size)
    widths = {depth: sorted(w for n, w, pool in cells if (n, pool) == (depth, most)) for depth in (1, 2)}
    for width in sorted({*widths[1]} & {*widths[2]})[-1:]:
        for layers, rule, words in ((1, "above", "never comes"), (2, "at_most", "comes in every seed")):
            times, _, last = cells[layers, width, most]
            text = f"{layers} layer(s), width {width}, {named(most)}: the transition {words} by step {last}"
            labels = shown_steps(times, last)
            yield claim(f"depth.{layers}", text, rule, times, last, unit="steps", labels=labels)
    if len(widths[2]) > 1:
        narrow, wide = (np.median(cells[2, width, most][0]) for width in (widths[2][0], widths[2][-1]))
        text = f"two layers, median over seeds: the transition is later at width {widths[2][0]} than at {widths[2][-1]}"
        yield claim("width", text, "above", narrow, wide, unit="steps", source="Wei et al. 2022")


def figure(found):
    """Left: excess during training with the largest pool. Right: transition steps, triangles where censored."""
    drawn, axes = panels.grid(2, width=5.8, height=4.4)
    (left, right), cells = axes[0], transitions(found)
    pools = sorted({pool for *_, pool in cells}, key=size)
    for index, data in enumerate(found.values()):
        colour, steps = COLOURS[index % len(COLOURS)], np.maximum(data.step, 1)
        own = data.excess.sel(member=data.pool.values == pools[-1])
        panels.curves(left, steps, own, colour, data.title, mean=False, lw=1.1)
        for place, pool in enumerate(pools):
            times, _, last = cells.get((data.model_layers, data.model_width, pool), ([], [], 0))
            at = index + (place - (len(pools) - 1) / 2) * 0.2
            for time in times:
                known = np.isfinite(time)
                face = {"marker": "o" if known else "^", "facecolors": colour if known else "none"}
                right.scatter(at, time if known else last, edgecolors=colour, s=30, **face)
    one = next(iter(found.values())).isel(member=0, step=-1)
    panels.level(left, float(one.uniform), "uniform answer", "0.3", at=0.01, ls=":")
    panels.level(left, float(one.unigram), "unigram learner", "0.3", at=0.01)
    panels.level(left, SHARE * float(one.uniform), "transition", "0.3", at=0.01, ls="-")
    left.set(xscale="log", ylim=(0, 2 * float(one.uniform)), xlabel="training step", title=named(pools[-1]))
    left.set_ylabel("late excess over the exact learner (nats)")
    left.legend(frameon=False)
    right.set_xticks(range(len(found)), [data.title for data in found.values()], rotation=30, ha="right")
    right.set(yscale="log", ylabel="step of the transition")
    plain_ticks(right.yaxis)
    sizes = ", ".join(str(pool or "fresh") for pool in pools)
    right.set_title(f"training chains, from left to right: {sizes};  △ not yet", fontsize=10)
    return drawn


experiment = Experiment("Olsson et al. 2022; Edelman et al. 2024", measure, claims, figure, prepare, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
