"""The first attention layer of two becomes the graph of which state each state was drawn from (B4).

    python experiments/causal_graph.py [quick|paper] [--subjects.tree.training.steps 8000 …]

Claim     In an attention-only transformer of two layers with one head each that predicts one state of a tree, the first
          layer's head attends from states to their parents: more than half of its attention goes there, more than to
          the keys of any other known pattern and more than before training; every state attends to its parent most; and
          the pattern is more similar to the graph than to any other.
Source    Nichani et al. 2024, "How transformers learn causal structure with gradient descent".
Time      quick: two minutes of processor time. paper: on an accelerator, not yet run.

The graph is the same in all prompts; the transition matrix is new in each. The answer is the child of the last state,
so the second layer must find tokens whose parent equals the last state, and the first must say what that parent was.
Attention is averaged over prompts and over states that have a parent and see several tokens.
"""

import jax.numpy as jnp
import numpy as np

from icl_lab.core.compiling import exact
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, panels
from icl_lab.learners.answers import sample
from icl_lab.models import capture
from icl_lab.models.attention import visible
from icl_lab.probes.inside.attention_latents import attention_likeness, known_patterns

HALF = 0.5
NEAR = 0.1  # of what the examples are worth to the exact learner, the loss of the network above the exact one
PARENT = "parent"


def prepare(trained):
    """Prompts of the task of training."""
    return sample(trained.task, trained.key("causal graph"), trained.prompts)


@exact
def look(learner, task, prompts):
    """The first layer's pattern [token, key], mean over prompts; its attention to the keys of every known pattern, mean
    over the tokens for which that has keys; its likeness to every known pattern; the loss of the last answer, in nats.
    """
    inputs = learner.format.encode(prompts, task.outcomes)
    seen = visible(learner.model.config, inputs.shape[1])
    _, found = capture(learner.model, learner.params, inputs, ["0.pattern"])
    pattern = found["0.pattern"].mean(1)

    def paid(known):
        counted = (known.sum(-1) > 0) & (seen.sum(-1) > 1)
        return jnp.where(counted, (pattern * (known > 0)).sum(-1), 0.0).sum() / counted.sum()

    known = known_patterns(task, learner.format, prompts, seen)
    keys = {name: paid(value) if name != "uniform" else jnp.nan for name, value in known.items()}
    likeness = {name: like.cosine[0].mean() for name, like in attention_likeness(learner, task, prompts).items()}
    return pattern.mean(0), keys, likeness, learner(prompts).loss(prompts.y)[:, -1].mean()


@exact
def exact_loss(task, prompts, missed):
    """Mean loss of the last answer of the exact learner that does not count some states, [state] from s_1 on."""
    counts = jnp.broadcast_to(1.0 - missed, (*prompts.y.shape, prompts.positions))
    return task.weighted_predictive(prompts, counts).loss(prompts.y)[:, -1].mean()


def edges(task):
    """States that have a parent among the tokens, and their parents."""
    parents = np.array(task.graph[: task.positions])
    return np.flatnonzero(parents >= 0), parents[parents >= 0]


def measure(trained):
    """What the first layer attends to, which edges it finds, and the exact loss without those it misses."""
    children, parents = edges(trained.task)
    pattern, paid, cosine, loss = look(trained.learner, trained.task, trained.prepared)
    hits = np.asarray(pattern)[children].argmax(-1) == parents
    missed = np.zeros(trained.task.positions)
    missed[children[~hits] - 1] = 1
    return {
        "pattern": (("token", "key"), pattern),
        "paid": (("known",), list(paid.values())),
        "cosine": (("known",), list(cosine.values())),
        "known": (("known",), list(paid)),
        "loss": ((), loss),
        "hits": (("edge",), hits),
        "without": ((), exact_loss(trained.task, trained.prepared, missed)),
    }


def graph(trained):
    """The edges, and the loss of the exact learner."""
    children, parents = edges(trained.task)
    best = exact_loss(trained.task, trained.prepared, np.zeros(trained.task.positions))
    return {"child": (("edge",), children), "parent": (("edge",), parents), "exact": ((), best)}


def sides(values):
    """The parent's value, the largest of another known pattern, and that pattern's name."""
    rest = values.drop_sel(known=PARENT)
    return values.sel(known=PARENT), rest.max("known"), rest.idxmax("known").values


def claims(found):
    """What the first layer attends to after training, and how near the answers are."""
    for name, data in found.items():
        last, before = data.isel(step=-1), sides(data.paid.isel(step=0))[0]
        (paid, most, names), (cosine, other, likest) = sides(last.paid), sides(last.cosine)
        text = f"attention of the first layer to the parent, above {HALF}, untrained and that to another known pattern"
        rows = zip(before.values, most.values, names, strict=True)
        labels = [f"untrained {start:.3f}; {best:.3f} to {pattern}" for start, best, pattern in rows]
        least = np.maximum(HALF, np.maximum(before, most))
        yield claim(f"{name}.parent", text, "above", paid, least, labels=labels)
        text = "cosine of the first layer's pattern and the graph, above that with every other known pattern"
        yield claim(f"{name}.likeness", text, "above", cosine, other, labels=likest)
        edge = np.array([f"{p} → {c}" for p, c in zip(data.parent.values, data.child.values, strict=True)])
        labels = [f"missed: {', '.join(edge[~row]) or 'none'}" for row in last.hits.values]
        text, count = f"states, of {len(edge)}, that attend to their parent most", last.hits.sum("edge")
        yield claim(f"{name}.every_parent", text, "at_least", count, len(edge), labels=labels)
        best, ignorant = float(data.exact), np.log(data.task_states)
        text = f"loss of the last answer (exact {best:.4f}; without examples {ignorant:.3f})"
        labels = [f"exact without the missed edges: {value:.4f}" for value in last.without.values]
        details: dict = {"unit": "nats", "gate": "report", "labels": labels}
        yield claim(f"{name}.loss", text, "below", last.loss, best + NEAR * (ignorant - best), **details)


def figure(found):
    """The first layer's attention of every seed with the graph marked, and attention and loss against the step."""
    columns = max(data.sizes["member"] for data in found.values())
    drawn, axes = panels.grid(columns + 2, len(found), width=3.1, height=3.2)
    for row, data in zip(axes, found.values(), strict=True):
        steps, last = np.maximum(data.step, 1), data.isel(step=-1)
        for axis, label, pattern in zip(row, data.label.values, last.pattern.values, strict=False):
            image = axis.imshow(pattern, cmap="Greys", vmin=0, vmax=1)
            axis.scatter(data.parent, data.child, s=60, marker="s", fc="none", ec=COLOURS["H5"], lw=1.2)
            axis.grid(False)
            axis.set(title=f"{label}: first layer", xlabel="state attended to")
        row[0].set_ylabel("state (boxes: the graph)")
        drawn.colorbar(image, ax=row[columns - 1], label="attention", shrink=0.7)
        (paid, loss), (own, other, _) = row[columns:], sides(data.paid)
        panels.curves(paid, steps, own, SUBJECT, "to the parent", mean=False)
        panels.curves(paid, steps, other, COLOURS["decoy"], "to another known pattern", mean=False, ls="--")
        panels.curves(loss, steps, data.loss, SUBJECT, "network, each seed", mean=False)
        panels.level(loss, float(data.exact), "exact learner", COLOURS["H1"])
        paid.set(ylabel="attention of the first layer", ylim=(0, 1), xscale="log", xlabel="training step")
        loss.set(ylabel="loss of the last answer (nats)", xscale="log", xlabel="training step")
        for axis in (paid, loss):
            axis.legend(frameon=False)
    return drawn


experiment = Experiment("Nichani et al. 2024", measure, claims, figure, prepare, graph, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
