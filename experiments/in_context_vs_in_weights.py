"""Many classes in bursts teach a model to read labels from the prompt, few without bursts to remember them (B6).

    python experiments/in_context_vs_in_weights.py [quick|transience|paper] [--subjects.NAME.training.steps 20000 …]

Claim     Labels are the same in all prompts, so that weights could store them all. A transformer trained on many
          classes that come in bursts, the query's class among them, copies the label from the prompt instead: it is
          right about classes it never saw and does not know classes that the prompt does not hold. With few classes and
          no bursts it is the reverse.
Source    Reddy 2023, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
          task"; Chan et al. 2022; Singh et al. 2023, "The transient nature of emergent in-context learning".
Time      quick: 3 to 4 minutes on two cores, transience: 5. paper: the published sizes, on an accelerator.

Accuracy on the query, by slice: novel classes with labels of this prompt (context alone helps); known classes whose
items the prompt does not hold (weights alone help; the label may stand there for another class); known classes with
swapped labels (the two contradict). Gates ask for more than half of the way to 1: from chance for what is in weights,
for what is in context from the best answer that does not look at the item, the prompt's commonest label (right .412 of
the time at 4 classes and 8 labels: the gate is at .706). The time of a transition is the first snapshot at which the
accuracy is over half of the way from chance to 1; where it never is, the time is censored and given as "> steps".

The preset transience asks whether in-context learning comes first and fades, as Singh et al. saw it. With 256 classes
in bursts and 12,000 steps that is *not* reproduced: accuracy on novel classes rises to .34–.37 and then falls to
.14–.16 as the weights take over, in each of three seeds, but its best is below that of the commonest label. What fades
is a guess among the labels of the prompt; labels were never told apart by item.
"""

import math
from typing import Any

import jax
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.answers import sample
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import LabelMapping

SOURCE = "Reddy 2023; Chan et al. 2022"
PAIRS = 2  # items of a class, on the novel and swapped slices of a task without bursts
LINES = {
    "novel": ("novel classes: label in the prompt only", COLOURS["H4"], "-"),
    "no_match": ("known classes, the query's not in the prompt", COLOURS["H5"], "--"),
    "swapped": ("swapped labels: answers with the prompt's", COLOURS["H1"], "-."),
    "training": ("as in training", "0.45", ":"),
}


@jax.jit
def share_right(learner: Any, prompts: Prompts) -> jax.Array:
    """Share of the queries of which the prompt's own label is the model's most probable answer."""
    return (learner(prompts).log_probs[:, -1].argmax(-1) == prompts.y[:, -1]).mean()


def follow(subject: TrainedSubject, seed: int, prompts: int) -> dict[str, np.ndarray]:
    """Accuracy on every slice of every member at every snapshot, [member, snapshot]."""
    task = subject.members[0].member.task
    assert isinstance(task, LabelMapping)
    slices = {}
    for name in LINES:
        # Prompts that hold the query's class, of a task without bursts, too.
        burst = {"burstiness": PAIRS} if name in ("novel", "swapped") and not task.burstiness else {}
        slices[name] = sample(task.replace(slice=name, **burst), stream(seed, "slices"), prompts)
    rows: dict[str, list[list[float]]] = {name: [[] for _ in subject.members] for name in LINES}
    for step in subject.steps:
        params = subject.snapshots.load(step)
        for index in range(len(subject.members)):
            learner = subject.learner(index, params)
            for name, given in slices.items():
                rows[name][index].append(float(share_right(learner, given)))
    return {name: np.array(values) for name, values in rows.items()}


def transition(accuracy: np.ndarray, steps: list[int], chance: float) -> float:
    """The first step at which the accuracy is over half of the way from chance to 1; infinite where it never is."""
    over = np.flatnonzero(accuracy > (1 + chance) / 2)
    return float(steps[over[0]]) if len(over) else np.inf


def commonest_label(classes: int, labels: int) -> float:
    """Accuracy of the commonest label of C classes, each with one of L labels at random: E[largest count]/C.

    E = Σ_{m<C} P(largest > m), where P(largest ≤ m) = C!/L^C · [z^C] (Σ_{k≤m} z^k/k!)^L.
    """
    expected = 0.0
    for most in range(classes):
        ways = np.ones(1)
        for _ in range(labels):
            ways = np.convolve(ways, [1 / math.factorial(count) for count in range(most + 1)])[: classes + 1]
        within = ways[classes] if len(ways) > classes else 0.0
        expected += 1 - within * math.factorial(classes) / labels**classes
    return expected / classes


def item_ignored(task: LabelMapping) -> float:
    """Accuracy on novel classes of the best answer that does not look at the item."""
    return commonest_label(task.examples // (task.burstiness or PAIRS), task.labels)


def spoken(times: list[float], last: int) -> str:
    """Times of all members, those censored as "> last"."""
    return ", ".join(f"{time:g}" if np.isfinite(time) else f"> {last}" for time in times)


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Accuracy per slice during training, and the order of the two kinds of learning at the end."""
    found = {name: follow(subject, config.judge.seed, config.judge.prompts) for name, subject in subjects.items()}
    claims = []
    for name, subject in subjects.items():
        task: Any = subject.members[0].member.task
        chance = 1 / task.labels
        end = {key: values[:, -1] for key, values in found[name].items()}
        context, weights = end["novel"], end["no_match"]
        guess = item_ignored(task)
        least = (1 + guess) / 2, (1 + chance) / 2
        gated = {
            "many_bursty": (context > weights) & (context > least[0]),
            "few_scattered": (weights > context) & (weights > least[1]),
        }.get(name)
        order = {
            "many_bursty": f"novel above no match, and above {least[0]:.3f}",
            "few_scattered": f"no match above novel, and above {least[1]:.3f}",
        }.get(name, "")
        claims.append(
            members_claim(
                f"{name}.end",
                f"final accuracy on novel classes / known ones that the prompt does not hold (chance {chance:.3g})",
                SOURCE,
                order if gated is not None else "no claim: between the two",
                [f"{a:.3f}/{b:.3f}" for a, b in zip(context, weights, strict=True)],
                [True] * len(context) if gated is None else [bool(value) for value in gated],
                gate="report" if gated is None else "order",
            )
        )
        times = {
            kind: [transition(row, subject.steps, chance) for row in found[name][key]]
            for kind, key in (("in context", "novel"), ("in weights", "no_match"))
        }
        text = "; ".join(f"{kind}: {spoken(values, subject.steps[-1])}" for kind, values in times.items())
        claims.append(
            said(f"{name}.transition", "step of the transition, every seed", SOURCE, None, None, text, None, "report")
        )
        best = found[name]["novel"].max(-1)
        claims.append(
            members_claim(
                f"{name}.fades",
                f"best and final accuracy on novel classes (the commonest label of the prompt is right {guess:.3f})",
                "Singh et al. 2023",
                f"best above {least[0]:.3f}, final below",
                [f"{a:.3f} → {b:.3f}" for a, b in zip(best, context, strict=True)],
                [bool(a > least[0] > b) for a, b in zip(best, context, strict=True)],
                gate="report",
            )
        )
    if {"many_bursty", "few_scattered"} <= set(found):
        for key, more, less in (
            ("novel", "many_bursty", "few_scattered"),
            ("no_match", "few_scattered", "many_bursty"),
        ):
            high, low = found[more][key][:, -1], found[less][key][:, -1]
            claims.append(
                said(
                    f"order.{key}",
                    f"final accuracy on slice {key}: every seed of {more} above every seed of {less}",
                    SOURCE,
                    "above",
                    None,
                    f"least {high.min():.3f} against most {low.max():.3f}",
                    bool(high.min() > low.max()),
                    "order",
                )
            )
    draw(subjects, found, directory)
    return claims


def draw(subjects: Subjects, found: dict[str, dict[str, np.ndarray]], directory: RunDirectory) -> None:
    """Accuracy on every slice against the training step, a panel per subject and a line per seed."""
    import matplotlib.pyplot as plt

    with style():
        columns = 2 if len(subjects) > 1 else 1
        rows = -(-len(subjects) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(5.2 * columns, 3.3 * rows + 0.6), squeeze=False, sharey=True, layout="constrained"
        )
        for axis, (name, subject) in zip(axes.flat, subjects.items(), strict=False):
            task: Any = subject.members[0].member.task
            steps = np.maximum(subject.steps, 1)
            for key, (_, colour, dashes) in LINES.items():
                axis.plot(steps, found[name][key].T, color=colour, ls=dashes, lw=1.1, alpha=0.8)
            axis.axhline(1 / task.labels, color="0.7", lw=0.8)
            axis.text(1.01, 1 / task.labels, "chance", transform=axis.get_yaxis_transform(), color="0.4", va="center")
            axis.set(xscale="log", ylim=(-0.03, 1.03), xlabel="training step")
            axis.set_title(f"{subject.subject.title} ({len(subject.members)} seeds)")
        for axis in axes[:, 0]:
            axis.set_ylabel("accuracy on the query")
        for axis in list(axes.flat)[len(subjects) :]:
            axis.set_visible(False)
        handles = [plt.Line2D([], [], color=colour, ls=dashes, label=text) for text, colour, dashes in LINES.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
        save_figure(figure, directory.path / "figures", "in_context_vs_in_weights")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
