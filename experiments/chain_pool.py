"""A few chains are remembered, many are generalised from; four algorithms and what lies beside them (B2, B3).

    python experiments/chain_pool.py [quick|paper] [--subjects.chains.training.steps 20000 …]

Claim     A transformer trained on a pool of D Markov chains answers prompts of *fresh* chains like the posterior over
          its pool where D is small (memorising), like transition counts where D is large (generalising).
Source    Park et al. 2024, "Competition dynamics shape algorithmic phases of in-context learning": retrieval from the
          pool or inference for any chain, each from frequencies of states (unigram) or transitions (bigram). Wurgaft et
          al. 2025, "In-context learning strategies emerge rationally": the relative distance d_rel.
Time      quick: 2 to 3 minutes on two cores. paper: ten states and sequences of 512, on an accelerator.

d_rel = (r + 1)/2 with r = [d(h, G) − d(h, M)]/d(G, M), d the symmetrised KL, h the model, G counts and M the posterior
over the pool: 0 generalises, 1 memorises. Gates: above ½ at the smallest pool, less at the next one in every seed, and
below ½ at the largest if G and M are told apart there: by more than .006 nats each way, which the judge calls the same
function, and by more than the model is from the nearer of them. A model far from both can have any d_rel, so the
distance to the nearer of them is drawn beside it; and as a projection on four algorithms always names one, decoys
compete for the nearest too.
"""

from typing import Any

import jax
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.judging.judge import THRESHOLDS
from icl_lab.learners.answers import sample
from icl_lab.learners.counts import back_off_counts, context_counts
from icl_lab.learners.decoys import label_mean, uniform
from icl_lab.learners.neighbours import longest_match, most_recent_match
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import MarkovChain, pool_posterior, task_dataclass

SOURCE = "Park et al. 2024; Wurgaft et al. 2025"
ALGORITHMS = ("bigram retrieval", "unigram retrieval", "bigram inference", "unigram inference")
ANY_UNIT = np.ones(())  # of divergences between categorical answers, which have none
LAPSE = 0.01  # share of uniform guesses of decoys that copy
GENERALISES, MEMORISES = "bigram inference", "bigram retrieval"


@task_dataclass
class ForgetfulChain(MarkovChain):
    """The pool's chains with every row replaced by the stationary distribution: what state frequencies tell of them."""

    def pool_latent(self, index: jax.Array) -> jax.Array:
        latent = super().pool_latent(index)
        return jax.numpy.broadcast_to(self.stationary(latent), latent.shape)


def references(task: MarkovChain, prompts: Prompts) -> dict[str, Any]:
    """The four algorithms, then decoys."""
    forgetful = ForgetfulChain(**{name: getattr(task, name) for name in task.__dataclass_fields__})
    copies: dict[str, Any] = {
        "most recent match": most_recent_match(task, prompts),
        "longest match": longest_match(task, prompts),
    }
    return {
        "bigram retrieval": pool_posterior(task, prompts).predictive,
        "unigram retrieval": pool_posterior(forgetful, prompts).predictive,
        "bigram inference": context_counts(task, prompts, task.concentration),
        "unigram inference": label_mean(task, prompts, task.concentration * task.states),
        "back-off counts": back_off_counts(task, prompts, 2, 3.0),
        **{name: copy.lapsed(LAPSE) for name, copy in copies.items()},
        "uniform": uniform(task, prompts),
    }


@jax.jit
def measures(learner: Any, task: MarkovChain, prompts: Prompts) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Mean KL(model ‖ reference) to every reference; d(h, G), d(h, M) and d(G, M)."""
    own, known = learner(prompts), references(task, prompts)

    def both(a: Categorical, b: Categorical) -> jax.Array:
        return (a.divergence(b, ANY_UNIT) + b.divergence(a, ANY_UNIT)).mean()

    general, memory = known[GENERALISES], known[MEMORISES]
    sides = {"to G": both(own, general), "to M": both(own, memory), "apart": both(general, memory)}
    return {name: own.divergence(answer, ANY_UNIT).mean() for name, answer in known.items()}, sides


def relative(sides: dict[str, Any]) -> np.ndarray:
    """d_rel."""
    return ((np.asarray(sides["to G"]) - sides["to M"]) / sides["apart"] + 1) / 2


def told_apart(row: dict[str, Any]) -> bool:
    """Whether counts and the pool's posterior differ by more than resolution, and more than the model from either."""
    return row["apart"] / 2 > max(THRESHOLDS.near * THRESHOLDS.floor, row["off"][-1])


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """d_rel on fresh chains of every member at every snapshot, and the nearest reference at the end."""
    claims: list[Claim] = []
    panels: dict[str, Any] = {}
    for name, subject in subjects.items():
        pools = sorted({planned.pool for planned in subject.members})
        rows: list[dict[str, Any]] = []
        for index, planned in enumerate(subject.members):
            task: Any = planned.member.task
            prompts = sample(task.fresh(), stream(config.judge.seed, "fresh chains"), config.judge.prompts)
            found = [
                jax.device_get(measures(subject.learner(index, subject.snapshots.load(step)), task, prompts))
                for step in subject.steps
            ]
            sides = {key: np.array([each[1][key] for each in found]) for key in found[0][1]}
            off = np.minimum(sides["to G"], sides["to M"]) / 2
            row = {"pool": planned.pool, "d_rel": relative(sides), "off": off, "end": found[-1][0]}
            rows.append(row | {"apart": float(sides["apart"][-1])})
        if len(pools) > 1:
            first, second = ([row["d_rel"][-1] for row in rows if row["pool"] == pool] for pool in pools[:2])
            claims.append(
                members_claim(
                    f"{name}.d_rel_falls",
                    f"d_rel on fresh chains is less after training on {pools[1]} chains than on {pools[0]}, same seed",
                    SOURCE,
                    "less",
                    [f"{before:.2f} to {after:.2f}" for before, after in zip(first, second, strict=True)],
                    [bool(after < before) for before, after in zip(first, second, strict=True)],
                )
            )
        for pool in pools:
            own = [row for row in rows if row["pool"] == pool]
            last = [float(row["d_rel"][-1]) for row in own]
            side = {pools[0]: "above", pools[-1]: "below"}.get(pool)
            if pool == pools[-1] and not all(map(told_apart, own)):
                side = None
            claims.append(
                members_claim(
                    f"{name}.d_rel_{pool}",
                    f"d_rel on fresh chains after training on {pool} chains (1 memorises, 0 generalises; the two "
                    f"differ by {own[0]['apart'] / 2:.2g} nats)",
                    SOURCE,
                    f"{side} 0.5" if side else "no claim: the two are not told apart, or a pool between",
                    last,
                    [value > 0.5 if side == "above" else value < 0.5 for value in last] if side else [True] * len(last),
                    gate="order" if side else "report",
                )
            )
            nearest = [min(row["end"], key=row["end"].__getitem__) for row in own]
            claims.append(
                members_claim(
                    f"{name}.nearest_{pool}",
                    f"nearest of all references after training on {pool} chains is one of the four, not a decoy; nats",
                    SOURCE,
                    "one of the four",
                    [f"{best} ({row['end'][best]:.3g})" for best, row in zip(nearest, own, strict=True)],
                    [best in ALGORITHMS for best in nearest],
                    gate="report",
                )
            )
        panels[name] = (subject, pools, rows)
    draw(panels, directory)
    return claims


def draw(panels: dict[str, Any], directory: RunDirectory) -> None:
    """d_rel and the distance off the axis against the step, and final distances to every reference by pool."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            len(panels), 3, figsize=(13.5, 4.2 * len(panels)), squeeze=False, layout="constrained"
        )
        for (left, middle, right), (subject, pools, rows) in zip(axes, panels.values(), strict=True):
            colours = dict(zip(pools, plt.get_cmap("viridis")(np.linspace(0.05, 0.85, len(pools))), strict=True))
            steps, seen = np.maximum(subject.steps, 1), set()
            for row in rows:
                label = f"pool of {row['pool']}" if row["pool"] not in seen else None
                seen.add(row["pool"])
                left.plot(steps, row["d_rel"], color=colours[row["pool"]], lw=1.2, label=label)
                middle.plot(steps, row["off"], color=colours[row["pool"]], lw=1.2)
            for level, text in ((1, "memorises"), (0, "generalises")):
                left.axhline(level, color="0.6", lw=0.8, ls=":")
                left.annotate(text, (1, level), xytext=(2, 3), textcoords="offset points", color="0.35")
            left.set(xscale="log", xlabel="training step", ylabel="d_rel on fresh chains", ylim=(-0.35, 1.45))
            left.set_title(f"{subject.subject.title}: a line per seed")
            left.legend(frameon=False, loc="upper right")
            middle.set(xscale="log", yscale="log", xlabel="training step", title="is it near either at all?")
            middle.set_ylabel("distance to the nearer of the two (nats)")
            names = [*ALGORITHMS, *(name for name in rows[0]["end"] if name not in ALGORITHMS)]
            for row in rows:
                values = [row["end"][name] for name in names]
                places = np.arange(len(names)) + 0.22 * (pools.index(row["pool"]) - (len(pools) - 1) / 2)
                right.plot(values, places, "o", color=colours[row["pool"]], ms=5, alpha=0.85)
            right.set_yticks(range(len(names)), [n if n in ALGORITHMS else f"{n} (decoy)" for n in names])
            for tick, name in zip(right.get_yticklabels(), names, strict=True):
                tick.set_color("black" if name in ALGORITHMS else COLOURS["decoy"])
            right.invert_yaxis()
            right.set(xscale="log", xlabel="KL of the trained model to it (nats)", title="nearest at the end")
            plain_ticks(right.xaxis)
            plain_ticks(middle.yaxis)
        save_figure(figure, directory.path / "figures", "chain_pool")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
