"""Conjunctions are answered nearly as the exact posterior does, parities of two bits and more at chance (C1).

    python experiments/boolean_rules.py [quick|paper] [--subjects.conjunctions.training.steps 20000 …]

Claim     A transformer trained on prompts about conjunctions of literals comes near the Bayes-optimal learner over all
          of them; the same model trained on all parities does not learn those of two bits and more, about which no
          single bit says anything.
Source    Bhattamishra et al. 2023, "Understanding in-context learning in transformers and LLMs by learning to learn
          discrete functions".
Time      quick: about 3 minutes on two cores. paper: the largest sizes that are enumerated exactly, on an accelerator.

A linear learner can answer parities of one bit and of none, so chance is required on the others only. On those of one
bit a network must be better, because a network that has learned nothing is at chance everywhere.
"""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.analysis.scores import answers
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, distinguishable, mean_over, panels, right
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.fitting import prompts_of
from icl_lab.judging.judge import THRESHOLDS, compare, owner_of
from icl_lab.learners.answers import answers_of
from icl_lab.probes.inside import prompt_pairs
from icl_lab.stress.generation import exact_learner

EXACT, REGIME = "population_bayes", "in_distribution"
SCORED = 5625  # prompts at least about parities of each part
NEAR_CHANCE = 0.52  # accuracy on their last query: .5 + 3 · .5/√SCORED
PARTS = {"chance": "of two bits and more", "single": "of one bit and of none"}
DRAWN = {
    EXACT: ("exact posterior", "--"),
    "nearest_neighbour": ("nearest example", ":"),
    "nadaraya_watson": ("Hamming kernel", "-."),
    "gd_5": ("logistic GD, 5 steps", (0, (5, 1))),
}


def bits_of(task):
    """How many bits every parity counts, [rule]: those that alone make it true."""
    alone = 2 * jnp.eye(task.bits) - 1
    return np.asarray(jax.vmap(lambda rule: task.holds(rule, alone).sum())(jnp.arange(task.support)))


def about(task, rules, key):
    """At least SCORED prompts, equally many about each of these rules."""
    draw = jax.jit(prompt_pairs.prompts_of, static_argnums=3)
    return draw(task, jnp.asarray(rules), key, -(-SCORED // len(rules)))


def prepare(trained):
    """The reference bank, and prompts about parities of every part."""
    task, judge = trained.task, trained.config.judge
    bits = bits_of(task) if task.rules == "parity" else np.zeros(0)
    parts = {"chance": np.flatnonzero(bits > 1), "single": np.flatnonzero(bits < 2)}
    asked = {part: about(task, rules, trained.key("parities")) for part, rules in parts.items() if len(rules)}
    return build_bank(task, judge.seed, judge.prompts, judge.calibration), asked


def accuracies(learner, asked):
    """Accuracy on the last query of all prompts about parities, [part]."""
    found = [right(answers_of(learner, prompts).mean_target(), prompts.y)[:, -1].mean() for prompts in asked.values()]
    return ("part",), found


def hits(bank, predictions):
    """Which answers in distribution are right, [prompt, position]."""
    rows = bank.slices[REGIME]
    return right(prompts_of(predictions, rows).mean_target(), bank.prompts.y[rows])


def distances(bank, predictions):
    """Distances in distribution of some answers from every reference fitted to them, [reference]."""
    compared = compare(bank, predictions)
    return ("reference",), compared.distance[compared.regimes.index(REGIME)]


def measure(trained):
    """Right answers; accuracy on parities by part, or distances to all references."""
    bank, asked = trained.prepared
    own = answers(trained.learner, bank)
    rest = {"accuracy": accuracies(trained.learner, asked)} if asked else {"distance": distances(bank, own)}
    return {"hits": (("prompt", "position"), hits(bank, own))} | rest


def references(trained):
    """The same of the exact posterior, and right answers of references fitted to the task."""
    bank, asked = trained.prepared
    lines = {name: fit.predictions for name, fit in bank.fit_to_task().items()} | {EXACT: bank.exact}
    curves = [hits(bank, lines[name]) for name in DRAWN]
    found = {"lines": (("line", "prompt", "position"), curves), "line": (("line",), list(DRAWN))}
    if asked:
        exact = accuracies(exact_learner(trained.task), asked)
        sizes = [len(prompts.y) for prompts in asked.values()]
        return found | {"exact_accuracy": exact, "prompts": (("part",), sizes), "part": (("part",), list(asked))}
    return found | {"mimicry": distances(bank, bank.exact), "reference": (("reference",), list(bank.references))}


def others(data):
    """Non-Bayesian references that cannot mimic the exact answers."""
    told = distinguishable(data.mimicry)
    return [name for name, kept in zip(data.reference.values, told, strict=True) if kept and owner_of(name) != "H1"]


def claims(found):
    """At chance on parities but for those of one bit; nearest to the exact posterior on conjunctions."""
    for name, data in found.items():
        for part in data.part.values if "part" in data else ():
            one = data.sel(part=part)
            text = (
                f"accuracy on the last query of {int(one.prompts)} prompts about parities {PARTS[part]}, {data.title}"
            )
            text += f"; the exact learner's is {float(one.exact_accuracy):.3f}"
            yield claim(f"{name}.{part}", text, "below" if part == "chance" else "above", one.accuracy, NEAR_CHANCE)
        if "distance" in data:
            own, rest = data.distance.sel(reference=EXACT), data.distance.sel(reference=others(data))
            least, count = rest.min("reference"), f"{rest.sizes['reference']} references that differ from it"
            labels = [REFERENCES[str(other)][1].title for other in rest.idxmin("reference").values]
            text = f"distance to the exact posterior is below that to each of {count}"
            yield claim(f"{name}.nearest", text, "nearer", own, least, labels=labels, unit="nats")
            text = f"how many times farther than the exact posterior the nearest of {count} is"
            ratio = least / np.maximum(own, THRESHOLDS.floor)
            details: dict = {"labels": labels, "gate": "report", "source": "this lab's 4× rule"}
            yield claim(f"{name}.ratio", text, "at_least", ratio, THRESHOLDS.reject, **details)


def figure(found):
    """Accuracy by number of examples; for conjunctions also the distances to the nearest references."""
    ranked = [data for data in found.values() if "distance" in data]
    drawn, axes = panels.grid(len(found) + len(ranked), width=4.4, height=4.6)
    for axis, data in zip(axes[0], found.values(), strict=False):
        own, examples = mean_over(data.hits), np.arange(data.sizes["position"])
        panels.curves(axis, examples, own.value, SUBJECT, "network, each seed", (own.low, own.high), mean=False)
        for reference, (title, dashes) in DRAWN.items():
            curve = data.lines.sel(line=reference).mean("prompt")
            axis.plot(examples, curve, color=COLOURS[owner_of(reference)], lw=1.4, ls=dashes, label=title)
        panels.level(axis, 0.5, "chance", "0.6", ls="-", lw=0.8)
        axis.set(xlabel="examples before the query", ylabel="accuracy", ylim=(0.42, 1.02), title=data.title)
    for axis, data in zip(axes[0, len(found) :], ranked, strict=True):
        kept = data.distance.sel(reference=[EXACT, *others(data)])
        kept = kept.isel(reference=np.argsort(kept.mean("member").values)[:12])
        titles = [REFERENCES[name][1].title for name in kept.reference.values]
        panels.bars(axis, titles, {"network, each seed": kept.values}, {"network, each seed": SUBJECT}, turned=True)
        axis.set(ylabel="distance of the network (nats per position)", title=data.title)
    axes[0, len(found) - 1].legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.62))
    return drawn


experiment = Experiment("Bhattamishra et al. 2023", measure, claims, figure, prepare, references)
if __name__ == "__main__":
    experiment.main(__file__)
