"""Many classes in bursts teach a network to read labels from the prompt, few without bursts to remember them (B6).

    python experiments/in_context_vs_in_weights.py [quick|transience|paper] [--subjects.NAME.training.steps 20000 …]

Claim     Labels are the same in all prompts, so that weights could store them all. A transformer trained on many
          classes that come in bursts, the query's class among them, copies the label from the prompt instead: it is
          right about classes it never saw and does not know classes that the prompt does not hold. With few classes and
          no bursts it is the reverse.
Source    Reddy 2023, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
          task"; Chan et al. 2022; Singh et al. 2023, "The transient nature of emergent in-context learning".
Time      quick: 3 to 4 minutes on two cores, transience: 5. paper: the published sizes, on an accelerator.

Slices of queries: novel classes with labels of this prompt (only context helps); known classes that the prompt does not
hold (only weights help); known classes with swapped labels (the two contradict). A skill counts where its accuracy is
over half of the way to 1: from chance for weights; for context from the accuracy of the prompt's commonest label, which
needs no look at the item. Fails in transience: what fades there is a guess among the prompt's labels.
"""

import math

import numpy as np

from icl_lab.core.compiling import exact
from icl_lab.experiments import COLOURS, Experiment, claim, first_step, panels, shown_steps
from icl_lab.learners.answers import sample

PAIRS = 2  # items of a class, on the novel and swapped slices of a task without bursts
LINES = {
    "novel": ("novel classes: label in the prompt only", COLOURS["H4"], "-"),
    "no_match": ("known classes, the query's not in the prompt", COLOURS["H5"], "--"),
    "swapped": ("swapped labels: answers with the prompt's", COLOURS["H1"], "-."),
    "training": ("as in training", "0.45", ":"),
}
# Subjects at the two ends of the design: what they learn, and what they do not.
ENDS = {"many_bursty": ("novel", "no_match"), "few_scattered": ("no_match", "novel")}


def slices(trained):
    """Prompts of every slice; those that test the context hold the query's class, also in a task without bursts."""
    found, task = {}, trained.task
    for name in LINES:
        burst = {"burstiness": PAIRS} if name in ("novel", "swapped") and not task.burstiness else {}
        found[name] = sample(task.replace(slice=name, **burst), trained.key("slices"), trained.prompts)
    return found


@exact
def accuracy(learner, prompts):
    """Share of the queries for which the prompt's own label is the most probable answer."""
    return (learner(prompts).log_probs[:, -1].argmax(-1) == prompts.y[:, -1]).mean()


def measure(trained):
    """Accuracy on every slice."""
    return {name: ((), accuracy(trained.learner, prompts)) for name, prompts in trained.prepared.items()}


def commonest_label(classes, labels):
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


def thresholds(data):
    """Accuracy that shows a skill, by slice, and the accuracy of the prompt's commonest label."""
    guess = commonest_label(data.task_examples // (data.task_burstiness or PAIRS), data.task_labels)
    return {"novel": (1 + guess) / 2, "no_match": (1 + 1 / data.task_labels) / 2}, guess


def claims(found):
    """What each subject has learned at the end, when, and the order between the two ends of the design."""
    for name, data in found.items():
        least, guess = thresholds(data)
        last, steps = data.isel(step=-1), data.step.values
        strong, weak = ENDS.get(name, ("novel", "no_match"))
        text = f"{data.title}: final accuracy on the slice {strong} above that on {weak}"
        if name in ENDS:
            bound = np.maximum(last[weak], least[strong])
            yield claim(f"{name}.end", f"{text} and {least[strong]:.3f}", "above", last[strong], bound)
        else:
            yield claim(f"{name}.end", text, "report", last[strong], last[weak])
        for key, words in (("novel", "in context"), ("no_match", "in weights")):
            half = (1 + 1 / data.task_labels) / 2
            times = [first_step(row > half, steps) for row in data[key].values]
            text, shown = f"{data.title}: step from which learning {words} shows", shown_steps(times, steps[-1])
            yield claim(f"{name}.transition.{key}", text, "report", times, unit="steps", labels=shown)
        best, bound = data.novel.max("step"), least["novel"]
        text = f"best accuracy on novel classes above {bound:.3f}, the final one below (commonest label: {guess:.3f})"
        fades, labels = (best > bound) & (last.novel < bound), [f"finally {value:.3f}" for value in last.novel.values]
        yield claim(
            f"{name}.fades", text, "condition", best, condition="rises above, then falls below", decided=fades,
            labels=labels, gate="report", source="Singh et al. 2023",
        )  # fmt: skip
    if ENDS.keys() <= found.keys():
        for key, more, less in (("novel", *ENDS), ("no_match", *reversed(ENDS))):
            high, low = (found[name][key].isel(step=-1) for name in (more, less))
            text = f"final accuracy on the slice {key}: the least seed of {more} above the best seed of {less}"
            yield claim(f"order.{key}", text, "above", high.min(), low.max())


def figure(found):
    """Accuracy on every slice against the training step, a panel per subject and a line per seed."""
    columns = min(2, len(found))
    rows = -(-len(found) // columns)
    drawn, axes = panels.grid(columns, rows, width=5.2, height=3.4, sharey=True)
    for axis, data in zip(axes.flat, found.values(), strict=False):
        for key, (text, colour, dashes) in LINES.items():
            panels.curves(axis, np.maximum(data.step, 1), data[key], colour, text, mean=False, ls=dashes, lw=1.1)
        panels.level(axis, 1 / data.task_labels, "chance", "0.6", at=0.01)
        axis.set(xscale="log", ylim=(-0.03, 1.03), xlabel="training step")
        axis.set_title(f"{data.title} ({data.sizes['member']} seeds)")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy on the query")
    for axis in axes.flat[len(found) :]:
        axis.set_visible(False)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=columns, frameon=False)
    return drawn


experiment = Experiment("Reddy 2023; Chan et al. 2022", measure, claims, figure, slices, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
