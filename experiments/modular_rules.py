"""Rules z = a·x₁ + b·x₂ mod p, seen and unseen in training, on pairs seen and unseen (C2).

    python experiments/modular_rules.py [quick|paper] [--subjects.rules.training.steps 50000 …]

Claim     A transformer trained on some of the p² rules answers prompts of *those* rules better than a learner without
          arithmetic; with enough rules and enough training it also answers rules it never saw.
Source    He et al. 2024, "Learning to grok: emergence of in-context learning and skill composition in modular
          arithmetic tasks".
Time      quick: 3 to 4 minutes on two cores, p = 7, in distribution only. paper: p = 29, on an accelerator.

A rule with a coefficient of 0 needs no sums: its outcomes can be copied. So the learner to beat compares examples but
cannot add (`rule_of_thumb`): a network must be five standard errors better on rules and pairs of training.
"""

import jax
import numpy as np

from icl_lab.analysis.scores import answers
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, mean_over, panels
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import compare
from icl_lab.learners.answers import answers_of, exact_answers, sample
from icl_lab.learners.rules import outcomes_of, rule_of_thumb, rules_of

PROMPTS = 2048
REGIMES = ("in_distribution", "fresh_tasks")


def cells(task):
    """The task on seen and unseen rules × seen and unseen pairs; without held-out pairs all are seen."""
    found = {"seen rules, seen pairs": task, "unseen rules, seen pairs": task.unseen()}
    if task.held_out:
        found["seen rules, unseen pairs"] = task.replace(inputs="held_out")
        found["unseen rules, unseen pairs"] = task.unseen().replace(inputs="held_out")
    return found


def prepare(trained):
    """Prompts of every cell, and the reference bank of the task."""
    judge, key = trained.config.judge, trained.key("modular rules")
    prompts = [sample(kind, jax.random.fold_in(key, i), PROMPTS) for i, kind in enumerate(cells(trained.task).values())]
    return prompts, build_bank(trained.task, judge.seed, judge.prompts, judge.calibration)


def measure(trained):
    """Whether each answer is right, by cell, and the nearest references in and out of distribution."""
    asked, bank = trained.prepared
    hits = [answers_of(trained.learner, prompts).log_probs.argmax(-1) == prompts.y for prompts in asked]
    compared = compare(bank, answers(trained.learner, bank))
    distance = compared.distance[[compared.regimes.index(regime) for regime in REGIMES]]
    return {
        "hits": (("cell", "prompt", "position"), np.array(hits)),
        "distance": (("regime",), distance.min(1)),
        "nearest": (("regime",), [compared.references[index] for index in distance.argmin(1)]),
        "regime": (("regime",), list(REGIMES)),
    }


def references(trained):
    """Queries that no example shows, the exact posterior's accuracy, and that of learners who know less."""
    task, rules, asked = trained.task, rules_of(trained.task), trained.prepared[0]
    rows = zip(cells(task).values(), asked, strict=True)
    found = {
        "new": [~(prompts.x[:, :-1] == prompts.x[:, -1:]).all(-1).any(-1) for prompts in asked],
        "thumb": [rule_of_thumb(task, rules, prompts) == prompts.y[:, -1] for prompts in asked],
        # without examples: the pair's most frequent outcome over the rules
        "ignorant": [outcomes_of(task, rules, prompts.x[:, -1]).mean(1).max(-1) for prompts in asked],
    }
    best = np.array([exact_answers(kind, prompts).mean_target().max(-1) for kind, prompts in rows])
    found = {name: (("cell", "prompt"), np.array(values)) for name, values in found.items()}
    return found | {"best": (("cell", "prompt", "position"), best), "cell": (("cell",), list(cells(task)))}


def claims(found):
    """Accuracy in every cell, and the nearest references in and out of distribution."""
    for name, data in found.items():
        for number, cell in enumerate(data.cell.values):
            one = data.sel(cell=cell, drop=True)
            one = one.isel(prompt=one.new.values, position=-1)
            thumb, count = float(one.thumb.mean()), one.sizes["prompt"]
            text = f"chance {1 / data.task_modulus:.3f}, without the examples {float(one.ignorant.mean()):.3f}, "
            text += f"without arithmetic {thumb:.3f}, exact posterior {float(one.best.mean()):.3f}"
            yield claim(
                f"{name}.{cell.replace(', ', '.').replace(' ', '_')}",
                f"accuracy on last queries that are not among the examples, {cell} ({text})",
                "above", one.hits.mean("prompt"), thumb + 5 * np.sqrt(thumb * (1 - thumb) / count),
                gate="report" if number else "order",
            )  # fmt: skip
        for regime in REGIMES:
            one, text = data.sel(regime=regime), f"distance to the nearest reference {regime.replace('_', ' ')}"
            labels = [REFERENCES[reference][1].title for reference in one.nearest.values]
            details: dict = {"unit": "nats", "source": "this lab", "labels": labels}
            yield claim(f"{name}.nearest.{regime}", text, "report", one.distance, **details)


def figure(found):
    """Accuracy by number of examples in every cell: a line per seed, the exact posterior dashed."""
    drawn, axes = panels.grid(max(data.sizes["cell"] for data in found.values()), len(found), sharey=True)
    for row, data in zip(axes, found.values(), strict=True):
        for axis, cell in zip(row, data.cell.values, strict=False):
            one = data.sel(cell=cell)
            own, examples = mean_over(one.hits), np.arange(one.sizes["position"])
            interval = own.low, own.high
            panels.curves(axis, examples, own.value, SUBJECT, "network, each seed", interval, mean=False)
            axis.plot(examples, one.best.mean("prompt"), color=COLOURS["H1"], ls="--", label="exact posterior")
            panels.level(axis, 1 / data.task_modulus, "chance", "0.6", ls="-")
            axis.set(xlabel="examples before the query", ylim=(0, 1.02), title=f"{data.title}\n{cell}")
        row[0].set_ylabel("accuracy")
    axes[0, 0].legend(frameon=False)
    return drawn


experiment = Experiment("He et al. 2024", measure, claims, figure, prepare, references)
if __name__ == "__main__":
    experiment.main(__file__)
