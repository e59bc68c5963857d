"""Conjunctions are answered nearly as the exact posterior does, parities of two bits and more at chance (C1).

    python experiments/boolean_rules.py [quick|paper] [--subjects.conjunctions.training.steps 20000 …]

Claim     A transformer trained on prompts about conjunctions of literals comes near the Bayes-optimal learner over all
          of them; the same model trained on all parities does not learn those of two bits and more, of which no single
          bit tells anything.
Source    Bhattamishra et al. 2023, "Understanding in-context learning in transformers and LLMs by learning to learn
          discrete functions".
Time      quick: about 3 minutes on two cores. paper: the largest sizes that are enumerated exactly, on an accelerator.

Exact is the posterior over the whole version space, 3^n conjunctions or 2^n parities, which counts p(x | rule) where
inputs are balanced by rule. A reference is told apart from it if, fitted to the exact answers themselves, it stays more
than three floors (.006 nats) away in distribution. Gate: every member is nearer to the exact posterior than to each of
these; how many times farther they are is reported, 4 being the lab's threshold for a rejected rival.

All 2^n parities are in the prior, also the n of a single bit, which a linear learner can tell, and the empty one: of 6
bits 7 in 64. Who knows just those of one bit is right .547 of the time over all. Chance is therefore asked of parities
of two bits and more, all equally often, in as many prompts as bring three standard errors down to .02. A network that
has learned nothing is at chance everywhere: on the others it must be better, by as much.

The exact posterior over conjunctions is .026 to .028 nats away, kernel ridge, the next, .114 to .115. On parities of
two bits and more networks are right .512, .5205 and .512 of the time, on those of one bit and of none .58 to .61: next
to nothing is learned, but the claim of chance *fails* in one seed of three.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import Bank, build_bank
from icl_lab.judging.judge import THRESHOLDS, Comparison, compare, owner_of
from icl_lab.learners.answers import answers_of
from icl_lab.probes.inside.prompt_pairs import prompts_of
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import BooleanRules

SOURCE = "Bhattamishra et al. 2023"
EXACT, REGIME = "population_bayes", "in_distribution"
SCORED = 5625  # prompts at least about parities of two bits and more
NEAR_CHANCE = 0.52  # accuracy on their last query: .5 + 3 · .5/√SCORED
DRAWN = {"nearest_neighbour": "nearest example", "nadaraya_watson": "Hamming kernel", "gd_5": "logistic GD, 5 steps"}


def last_shares(learner: Any, prompts: Prompts) -> jax.Array:
    """Probabilities of the classes at the last query of prompts stacked as [rule, prompt], [rule, prompt, class]."""
    return jax.lax.map(lambda each: learner(each).mean_target()[:, -1], prompts)


def told_apart(bank: Bank) -> list[str]:
    """Non-Bayesian references that cannot mimic the exact answers."""
    assert bank.exact is not None
    mimicry = compare(bank, bank.exact)
    regime = mimicry.regimes.index(REGIME)
    limit = THRESHOLDS.near * THRESHOLDS.floor
    pairs = zip(mimicry.references, mimicry.distance[regime], strict=True)
    return [name for name, distance in pairs if distance > limit and owner_of(name) != "H1"]


def right(share: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether the most probable class is the outcome; a tie counts a half."""
    top = np.isclose(share, share.max(-1, keepdims=True), atol=1e-6)
    return np.take_along_axis(top, y[..., None], -1)[..., 0] / top.sum(-1)


def accuracy(predictions: Predictions, y: np.ndarray) -> np.ndarray:
    """Share of right answers by position."""
    return right(np.asarray(predictions.mean_target()), y).mean(0)


def bits_of(task: BooleanRules) -> np.ndarray:
    """How many bits every parity counts, [rule]: those that alone make it true."""
    alone = 2 * jnp.eye(task.bits) - 1
    return np.asarray(jax.vmap(lambda rule: task.holds(rule, alone).sum())(jnp.arange(task.support)))


def about(task: BooleanRules, rules: np.ndarray, key: jax.Array) -> Prompts:
    """At least SCORED prompts, as many about every one of these rules, [rule, prompt]."""
    each = -(-SCORED // len(rules))
    prompts = jax.jit(prompts_of, static_argnums=3)(task, jnp.asarray(rules), key, each)
    return jax.tree.map(lambda leaf: leaf.reshape(len(rules), each, *leaf.shape[1:]), prompts)


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
        learners = [subject.learner(index) for index in range(len(subject.members))]
        own = [jax.tree.map(np.asarray, answers_of(learner, prompts)) for learner in learners]
        curves = [accuracy(bank.rows(found, rows), y) for found in own]
        assert bank.exact is not None
        exact = accuracy(bank.rows(bank.exact, rows), y)
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
            claims += parity_claims(name, subject.subject.title, task, learners, stream(config.judge.seed, "parities"))
        panels[name] = panel
    draw(panels, directory)
    return claims


def parity_claims(name: str, title: str, task: BooleanRules, learners: list[Any], key: jax.Array) -> list[Claim]:
    """Accuracy on the last query: chance on parities of two bits and more; that on the others is reported."""
    claims, bits = [], bits_of(task)
    for part, words, rules in (
        ("chance", "of two bits and more", np.flatnonzero(bits > 1)),
        ("single", "of one bit and of none", np.flatnonzero(bits < 2)),
    ):
        if not len(rules):
            continue
        prompts = about(task, rules, key)
        y = np.asarray(prompts.y[..., -1])
        exact = right(np.asarray(last_shares(task.posterior_predictive, prompts)), y).mean()
        last = [float(right(np.asarray(last_shares(learner, prompts)), y).mean()) for learner in learners]
        claims.append(
            members_claim(
                f"{name}.{part}",
                f"accuracy on the last query of {y.size} prompts about parities {words}, {title}; the exact learner's "
                f"is {exact:.3f}",
                SOURCE,
                f"below {NEAR_CHANCE}" if part == "chance" else f"above {NEAR_CHANCE}: something was learned",
                last,
                [value < NEAR_CHANCE if part == "chance" else value > NEAR_CHANCE for value in last],
            )
        )
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
