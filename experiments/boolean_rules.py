"""Conjunctions are answered nearly as the exact posterior does, parities at chance (C1).

    python experiments/boolean_rules.py [quick|paper] [--subjects.conjunctions.training.steps 20000 …]

Claim     A transformer trained on prompts about conjunctions of literals comes near the Bayes-optimal learner over all
          of them; of the same model trained on parities, which no single bit tells anything about, nothing is learned.
Source    Bhattamishra et al. 2023, "Understanding in-context learning in transformers and LLMs by learning to learn
          discrete functions".
Time      quick: about 3 minutes on two cores. paper: the largest sizes that are enumerated exactly, on an accelerator.

Exact is the posterior over the whole version space, 3^n conjunctions or 2^n parities, which counts p(x | rule) where
inputs are balanced by rule. A reference is told apart from it if, fitted to the exact answers themselves, it stays more
than three floors (.006 nats) away in distribution. Gate: every member is nearer to the exact posterior than to each of
these; how many times farther they are is reported, 4 being the lab's threshold for a rejected rival.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.hypotheses import REFERENCES
from icl_lab.hypotheses.bank import Bank, build_bank
from icl_lab.hypotheses.judge import THRESHOLDS, Comparison, compare, owner_of
from icl_lab.prompts import Predictions, Prompts
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.runs.claims import Claim
from icl_lab.runs.config import RunConfig
from icl_lab.runs.directory import RunDirectory
from icl_lab.runs.experiment import Subjects, members_claim, run_experiment

SOURCE = "Bhattamishra et al. 2023"
EXACT, REGIME = "population_bayes", "in_distribution"
NEAR_CHANCE = 0.55  # accuracy on the last query
DRAWN = {"nearest_neighbour": "nearest example", "nadaraya_watson": "Hamming kernel", "gd_5": "logistic GD, 5 steps"}


@jax.jit
def answers(learner: Any, prompts: Prompts) -> Predictions:
    """The model's answers."""
    return learner(prompts)


def told_apart(bank: Bank) -> list[str]:
    """Non-Bayesian references that cannot mimic the exact answers."""
    assert bank.exact is not None
    mimicry = compare(bank, bank.exact)
    regime = mimicry.regimes.index(REGIME)
    limit = THRESHOLDS.near * THRESHOLDS.floor
    pairs = zip(mimicry.references, mimicry.distance[regime], strict=True)
    return [name for name, distance in pairs if distance > limit and owner_of(name) != "H1"]


def accuracy(predictions: Predictions, y: np.ndarray) -> np.ndarray:
    """Share of right answers by position; a tie counts a half."""
    share = np.asarray(predictions.mean_target())
    top = np.isclose(share, share.max(-1, keepdims=True), atol=1e-6)
    return (np.take_along_axis(top, y[..., None], -1)[..., 0] / top.sum(-1)).mean(0)


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Distances to every reference of the members, and their accuracy by position."""
    claims: list[Claim] = []
    panels: dict[str, dict[str, Any]] = {}
    for name, subject in subjects.items():
        task: Any = subject.members[0].member.task
        bank = build_bank(task, config.judge.seed, config.judge.prompts, config.judge.calibration)
        rows, regime = bank.slices[REGIME], bank.regimes.index(REGIME)
        y = np.asarray(bank.prompts.y[rows])
        prompts = jax.tree.map(jnp.asarray, bank.prompts)
        own = [
            jax.tree.map(np.asarray, answers(subject.learner(index), prompts)) for index in range(len(subject.members))
        ]
        curves = [accuracy(bank.rows(found, rows), y) for found in own]
        assert bank.exact is not None
        exact = accuracy(bank.rows(bank.exact, rows), y)
        last = [float(curve[-1]) for curve in curves]
        panel: dict[str, Any] = {"subject": subject, "curves": curves, "exact": exact, "lines": {}}
        fits = bank.fit_to_task()
        for reference, title in DRAWN.items():
            panel["lines"][reference] = (title, accuracy(bank.rows(fits[reference].predictions, rows), y))
        if task.rules == "conjunction":
            apart = told_apart(bank)
            compared = [compare(bank, found) for found in own]
            claims += nearest_claims(name, compared, regime, apart)
            panel["distances"] = (compared, regime, apart)
        else:
            claims.append(
                members_claim(
                    f"{name}.chance",
                    f"accuracy on the last query of {subject.subject.title}; the exact learner's is {exact[-1]:.3f}",
                    SOURCE,
                    f"below {NEAR_CHANCE}",
                    last,
                    [value < NEAR_CHANCE for value in last],
                )
            )
        panels[name] = panel
    draw(panels, directory)
    return claims


def nearest_claims(name: str, compared: list[Comparison], regime: int, apart: list[str]) -> list[Claim]:
    """Every member is nearest to the exact posterior; how many times farther the nearest other reference is."""
    shown, nearer, ratios = [], [], []
    for each in compared:
        distance = dict(zip(each.references, each.distance[regime], strict=True))
        other = min(apart, key=distance.__getitem__)
        shown.append(f"{distance[EXACT]:.3g} against {distance[other]:.3g} ({REFERENCES[other][1].title})")
        nearer.append(bool(distance[EXACT] < distance[other]))
        ratios.append(float(distance[other] / max(distance[EXACT], THRESHOLDS.floor)))
    count = f"{len(apart)} references that differ from it"
    return [
        members_claim(
            f"{name}.nearest",
            f"distance to the exact posterior is below that to each of {count}, nats",
            SOURCE,
            "nearer",
            shown,
            nearer,
        ),
        members_claim(
            f"{name}.ratio",
            f"how many times farther than the exact posterior the nearest of {count} is",
            "this lab's 4× rule",
            f"at least {THRESHOLDS.reject:g}",
            ratios,
            [value >= THRESHOLDS.reject for value in ratios],
            gate="report",
        ),
    ]


def draw(panels: dict[str, dict[str, Any]], directory: RunDirectory) -> None:
    """Accuracy by number of examples; for conjunctions also the distance to every reference."""
    import matplotlib.pyplot as plt

    with style():
        wide = [panel for panel in panels.values() if "distances" in panel]
        columns = len(panels) + len(wide)
        figure, axes = plt.subplots(1, columns, figsize=(4.4 * columns, 4.6), squeeze=False, layout="constrained")
        for axis, panel in zip(axes[0], panels.values(), strict=False):
            examples = np.arange(len(panel["exact"]))
            for index, curve in enumerate(panel["curves"]):
                axis.plot(
                    examples, curve, color="black", lw=1, alpha=0.7, label="model, each seed" if not index else None
                )
            axis.plot(examples, panel["exact"], color=COLOURS["H1"], lw=1.6, ls="--", label="exact posterior")
            for (reference, (title, curve)), dashes in zip(
                panel["lines"].items(), (":", "-.", (0, (5, 1))), strict=True
            ):
                axis.plot(examples, curve, color=COLOURS[owner_of(reference)], lw=1.2, ls=dashes, label=title)
            axis.axhline(0.5, color="0.6", lw=0.8)
            axis.annotate("chance", (examples[-1], 0.5), xytext=(0, -10), textcoords="offset points", ha="right")
            axis.set(xlabel="examples before the query", ylabel="accuracy", ylim=(0.42, 1.02))
            axis.set_title(panel["subject"].subject.title)
        axes[0, min(1, len(panels) - 1)].legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.62))
        for axis, panel in zip(axes[0, len(panels) :], wide, strict=True):
            compared, regime, apart = panel["distances"]
            table = np.array([each.distance[regime] for each in compared])
            names = compared[0].references
            kept = [index for index in np.argsort(table.mean(0)) if names[index] in (EXACT, *apart)][:12]
            for place, index in enumerate(kept):
                colour = COLOURS[owner_of(names[index])]
                axis.plot(table[:, index], np.full(len(table), place), "o", color=colour, ms=5, alpha=0.8)
            axis.set_yticks(range(len(kept)), [REFERENCES[names[index]][1].title for index in kept])
            axis.invert_yaxis()
            axis.set(xscale="log", xlabel="distance of the model (nats per position)")
            plain_ticks(axis.xaxis)
            axis.set_title(f"{panel['subject'].subject.title}: a dot per seed")
        save_figure(figure, directory.path / "figures", "boolean_rules")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
