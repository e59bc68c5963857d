"""Rules z = a·x₁ + b·x₂ mod p, seen and unseen in training, on pairs seen and unseen (C2).

    python experiments/modular_rules.py [quick|paper] [--subjects.rules.training.steps 50000 …]

Claim     A transformer trained on some of the p² rules answers prompts of *those* rules better than who knows no
          arithmetic; with enough of them and enough training it also answers rules it never saw.
Source    He et al. 2024, "Learning to grok: emergence of in-context learning and skill composition in modular
          arithmetic tasks": p = 29; memorisation, then rules seen, then rules unseen, which take at least two blocks.
Time      quick: 3 to 4 minutes on two cores, p = 7, in distribution only. paper: p = 29 on an accelerator.

A rule with a coefficient of 0 needs no sums: its outcomes can be copied from examples that share a number with the
query. In the quick preset's pool that is 12 of 40 rules. The learner to beat knows how often every pair has every
outcome in the pool, and may compare examples, but cannot add or multiply (`rule_of_thumb`).

Gate: in distribution, on pool rules and training pairs, the accuracy on last queries whose pair is not among the
examples is by five standard errors above that learner's, in every seed. The other three cells of seen and unseen rules
× pairs are reported, with the exact posterior's accuracy in each and the references that are nearest.

On the prompts of the quick preset the best answer that ignores all examples is right .191 of the time, the learner
without arithmetic .545: the gate is at .610. Three networks reached .301, .914 and .392, and .107, .758 and .133 on
rules never seen: one of three has learned arithmetic. The gate had been at .243, above the answer that ignores the
examples, which all three passed. The claim *fails*.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.hypotheses import REFERENCES
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import compare
from icl_lab.learners.answers import answers_of
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import ModularRules, Pool

SOURCE = "He et al. 2024"
PROMPTS = 2048


@jax.jit
def right(learner: Any, prompts: Prompts) -> jax.Array:
    """Whether the most probable class is the outcome, [prompt, position]."""
    return learner(prompts).log_probs.argmax(-1) == prompts.y


def cells(task: ModularRules) -> dict[str, ModularRules]:
    """Seen and unseen rules × seen and unseen pairs; without held-out pairs all are seen."""
    found = {"seen rules, seen pairs": task, "unseen rules, seen pairs": task.unseen()}
    if task.held_out:
        found |= {
            "seen rules, unseen pairs": task.replace(inputs="held_out"),
            "unseen rules, unseen pairs": task.unseen().replace(inputs="held_out"),
        }
    return found


@jax.jit
def best_accuracy(task: ModularRules, prompts: Prompts) -> jax.Array:
    """Probability the exact posterior gives to its own best answer, (prompts, positions)."""
    exact = task.posterior_predictive(prompts)
    assert exact is not None  # rules are always enumerated
    return exact.mean_target().max(-1)


def known_rules(task: ModularRules) -> jax.Array:
    """The rules that prompts are drawn from, [rule, 2]: the pool's, all p² without a pool."""
    if isinstance(task.prior, Pool):
        return jax.vmap(task.pool_latent)(jnp.arange(task.prior.size))
    return task.latent_at(jnp.arange(task.support))


def outcomes_of(task: ModularRules, rules: jax.Array, queries: jax.Array) -> jax.Array:
    """One-hots of what every rule says of every query, [query, rule, class]."""
    return jax.nn.one_hot((task.numbers(queries) @ rules.T) % task.modulus, task.modulus, dtype=jnp.int32)


def without_examples(task: ModularRules, rules: jax.Array, queries: jax.Array) -> float:
    """Accuracy of the best answer that ignores the examples: the pair's most frequent outcome over the rules."""
    return float(outcomes_of(task, rules, queries).mean(1).max(-1).mean())


@jax.jit
def rule_of_thumb(task: ModularRules, rules: jax.Array, prompts: Prompts) -> jax.Array:
    """The last answer of a learner that compares numbers and outcomes but cannot add or multiply, [prompt].

    It knows four kinds k of rules: about both numbers, about the first or the second, about none. If the numbers that
    count are equal, so are two outcomes; if just one of them differs, so do the outcomes. Over the kinds that no two
    examples contradict, it answers the class z that maximises

        Σ_k #{rules of kind k that say z of the query's pair} · [k and the examples allow z],

    of equals the one that most rules say.
    """
    numbers, z = task.numbers(prompts.x), prompts.y[:, :-1]
    shared = numbers[:, :, None] == numbers[:, None]  # [prompt, position, position, number]
    alike = z[:, :, None] == z[:, None]
    shown = jax.nn.one_hot(z, task.modulus, dtype=bool)  # [prompt, example, class]
    says = outcomes_of(task, rules, prompts.x[:, -1])

    def votes(counts: jax.Array) -> jax.Array:
        """Rules of one kind, given by which of the two numbers count, for every class that is left, [prompt, class]."""
        same = (shared | ~counts).sum(-1)
        equal, differs = same == 2, same == 1
        contradicted = (equal[:, :-1, :-1] & ~alike) | (differs[:, :-1, :-1] & alike)
        must = (equal[:, :-1, -1, None] & shown).any(1)
        must_not = (differs[:, :-1, -1, None] & shown).any(1)
        allowed = ~must_not & (must | ~must.any(-1, keepdims=True)) & ~contradicted.any((1, 2))[:, None]
        return (says * ((rules != 0) == counts).all(-1)[:, None]).sum(1) * allowed

    found = jax.lax.map(votes, jnp.array([[True, True], [True, False], [False, True], [False, False]])).sum(0)
    return ((1 + len(rules)) * found + says.sum(1)).argmax(-1)


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Accuracy in every cell, and the nearest references in and out of distribution."""
    claims: list[Claim] = []
    panels: dict[str, Any] = {}
    for name, subject in subjects.items():
        task = subject.members[0].member.task
        assert isinstance(task, ModularRules)
        chance, rules = 1 / task.modulus, known_rules(task)
        curves: dict[str, Any] = {}
        for number, (cell, kind) in enumerate(cells(task).items()):
            draw = jax.jit(lambda key, kind=kind: kind.sample(key, PROMPTS))
            prompts = draw(jax.random.fold_in(stream(config.judge.seed, "modular rules"), number))
            own = [np.asarray(right(subject.learner(index), prompts)) for index in range(len(subject.members))]
            bound = np.asarray(best_accuracy(kind, prompts)).mean(0)
            curves[cell] = (np.array([hits.mean(0) for hits in own]), bound)
            # A pair that the prompt holds already can be copied: what is learned shows in the others.
            new = ~np.asarray((prompts.x[:, :-1] == prompts.x[:, -1:]).all(-1).any(-1))
            last = [float(hits[new, -1].mean()) for hits in own]
            thumb = float((np.asarray(rule_of_thumb(task, rules, prompts)) == np.asarray(prompts.y)[:, -1])[new].mean())
            least = thumb + 5 * float(np.sqrt(thumb * (1 - thumb) / new.sum()))
            ignorant = without_examples(task, rules, prompts.x[new, -1])
            best = float(np.asarray(best_accuracy(kind, prompts))[new, -1].mean())
            claims.append(
                members_claim(
                    f"{name}.{cell.replace(', ', '.').replace(' ', '_')}",
                    f"accuracy on last queries that are not among the examples, {cell} (chance {chance:.3f}, "
                    + (f"best without the examples {ignorant:.3f}, " if number == 0 else "")
                    + f"without arithmetic {thumb:.3f}, exact posterior {best:.3f})",
                    SOURCE,
                    f"above {least:.3f}" if number == 0 else None,
                    last,
                    [value > least for value in last],
                    gate="order" if number == 0 else "report",
                )
            )
        bank = build_bank(task, config.judge.seed, config.judge.prompts, config.judge.calibration)
        given = jax.tree.map(jnp.asarray, bank.prompts)
        for regime in bank.regimes[:2]:
            nearest = []
            for index in range(len(subject.members)):
                found = jax.tree.map(np.asarray, answers_of(subject.learner(index), given))
                each = compare(bank, found)
                row = each.distance[each.regimes.index(regime)]
                first = each.references[int(row.argmin())]
                nearest.append(f"{REFERENCES[first][1].title} ({row.min():.3g})")
            claims.append(
                said(
                    f"{name}.nearest.{regime}",
                    f"nearest reference {regime.replace('_', ' ')} and its distance in nats, every seed",
                    "this lab",
                    None,
                    None,
                    "; ".join(nearest),
                    None,
                    "report",
                )
            )
        panels[name] = (subject, curves, chance)
    draw_figure(panels, directory)
    return claims


def draw_figure(panels: dict[str, Any], directory: RunDirectory) -> None:
    """Accuracy by number of examples in every cell: a line per seed, the exact posterior dashed."""
    import matplotlib.pyplot as plt

    with style():
        columns = max(len(curves) for _, curves, _ in panels.values())
        figure, axes = plt.subplots(
            len(panels),
            columns,
            figsize=(4.2 * columns, 3.6 * len(panels)),
            squeeze=False,
            sharey=True,
            layout="constrained",
        )
        for row, (subject, curves, chance) in zip(axes, panels.values(), strict=True):
            for axis, (cell, (own, bound)) in zip(row, curves.items(), strict=False):
                examples = np.arange(len(bound))
                for index, line in enumerate(own):
                    label = "model, each seed" if index == 0 else None
                    axis.plot(examples, line, color="black", lw=1, alpha=0.7, label=label)
                axis.plot(examples, bound, color=COLOURS["H1"], lw=1.5, ls="--", label="exact posterior")
                axis.axhline(chance, color="0.6", lw=0.8)
                axis.annotate("chance", (examples[-1], chance), xytext=(0, 3), textcoords="offset points", ha="right")
                axis.set(xlabel="examples before the query", ylim=(0, 1.02), title=f"{subject.subject.title}: {cell}")
            row[0].set_ylabel("accuracy")
        axes[0, 0].legend(frameon=False, loc="center right")
        save_figure(figure, directory.path / "figures", "modular_rules")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
