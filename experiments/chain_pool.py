"""A few chains are remembered, many are generalised from; four algorithms and what lies beside them (B2, B3).

    python experiments/chain_pool.py [quick|paper] [--subjects.chains.training.steps 20000 …]

Claim     A transformer trained on a pool of D Markov chains answers prompts of *fresh* chains like the posterior over
          its pool where D is small (it memorises), and like transition counts where D is large (it generalises).
Source    Park et al. 2024, "Competition dynamics shape algorithmic phases of in-context learning"; Wurgaft et al. 2025,
          "In-context learning strategies emerge rationally": the relative distance d_rel.
Time      quick: 2 to 3 minutes on two cores. paper: ten states and sequences of 512, on an accelerator.

d_rel = (r + 1)/2 with r = [d(h, G) − d(h, M)]/d(G, M), d the symmetrised KL, h the model, G counts and M the posterior
over the pool: 0 generalises, 1 memorises. The largest pool is gated only if G and M are distinguishable there. A model
far from both can have any d_rel, so the distance to the nearer of them is drawn too, and decoys compete for nearest.
"""

import jax.numpy as jnp
import numpy as np
import xarray

from icl_lab.core.compiling import exact
from icl_lab.experiments import Experiment, by_pool, claim, distinguishable, panels
from icl_lab.learners.answers import sample
from icl_lab.learners.counts import back_off_counts, context_counts
from icl_lab.learners.decoys import label_mean, uniform
from icl_lab.learners.neighbours import longest_match, most_recent_match
from icl_lab.report.experiments import plain_ticks
from icl_lab.tasks import MarkovChain, pool_posterior, task_dataclass

GENERALISES, MEMORISES = "bigram inference", "bigram retrieval"
ALGORITHMS = (MEMORISES, "unigram retrieval", GENERALISES, "unigram inference")
LAPSE = 0.01  # share of uniform guesses of decoys that copy


@task_dataclass
class ForgetfulChain(MarkovChain):
    """The pool's chains with every row replaced by the stationary distribution: what state frequencies tell of them."""

    def pool_latent(self, index):
        latent = super().pool_latent(index)
        return jnp.broadcast_to(self.stationary(latent), latent.shape)


@exact
def references(task, prompts):
    """Answers of the four algorithms, then of decoys."""
    forgetful = ForgetfulChain(**{name: getattr(task, name) for name in task.__dataclass_fields__})
    return {
        MEMORISES: pool_posterior(task, prompts).predictive,
        "unigram retrieval": pool_posterior(forgetful, prompts).predictive,
        GENERALISES: context_counts(task, prompts, task.concentration),
        "unigram inference": label_mean(task, prompts, task.concentration * task.states),
        "back-off counts": back_off_counts(task, prompts, 2, 3.0),
        "most recent match": most_recent_match(task, prompts).lapsed(LAPSE),  # pyrefly: ignore[missing-attribute]
        "longest match": longest_match(task, prompts).lapsed(LAPSE),  # pyrefly: ignore[missing-attribute]
        "uniform": uniform(task, prompts),
    }


def prepare(trained):
    """Prompts of fresh chains, and the answers of all references to them."""
    prompts = sample(trained.task.fresh(), trained.key("fresh chains"), trained.prompts)
    return prompts, references(trained.task, prompts)


@exact
def distances(learner, prompts, known):
    """Mean KL(model ‖ reference) by reference, and the symmetrised KL to G, to M, and between G and M, in nats."""
    own, general, memory = learner(prompts), known[GENERALISES], known[MEMORISES]

    def both(a, b):
        return (a.divergence(b, 1.0) + b.divergence(a, 1.0)).mean()

    sides = {"to_G": both(own, general), "to_M": both(own, memory), "between": both(general, memory)}
    return {name: own.divergence(answer, 1.0).mean() for name, answer in known.items()}, sides


def measure(trained):
    """Distances of a network on fresh chains."""
    kl, sides = distances(trained.learner, *trained.prepared)
    names = [*ALGORITHMS, *(name for name in kl if name not in ALGORITHMS)]
    sides = {name: float(value) for name, value in sides.items()}
    return xarray.Dataset({"kl": ("reference", [float(kl[name]) for name in names]), **sides}, {"reference": names})


def relative(data):
    """d_rel: 1 at the posterior over the pool, 0 at the counts."""
    return ((data["to_G"] - data["to_M"]) / data["between"] + 1) / 2


def off(data):
    """Distance to the nearer of G and M, in nats."""
    return np.minimum(data["to_G"], data["to_M"]) / 2


def claims(found):
    """d_rel at the end falls with the pool, its side of one half, and the nearest reference."""
    for name, data in found.items():
        pools = {pool: own.isel(step=-1) for pool, own in by_pool(data).items()}
        first, second, last = min(pools), sorted(pools)[:2][-1], max(pools)
        if second != first:
            text = f"d_rel on fresh chains is less after training on {second} chains than on {first}, same seed"
            yield claim(f"{name}.d_rel_falls", text, "falls", relative(pools[second]), relative(pools[first]))
        for pool, own in pools.items():
            told = distinguishable(own.between / 2, off(own)).all()
            rule = {first: "above", last: "below" if told else "report"}.get(pool, "report")
            text = f"d_rel on fresh chains after training on {pool} chains (1 memorises, 0 generalises; the two differ "
            yield claim(f"{name}.d_rel_{pool}", f"{text}by {own.between[0] / 2:.2g} nats)", rule, relative(own), 0.5)
            nearest = own.reference.values[own.kl.argmin("reference").values]
            text = f"nearest of all references after training on {pool} chains is one of the four, not a decoy"
            yield claim(
                f"{name}.nearest_{pool}", text, "condition", own.kl.min("reference"), unit="nats", labels=nearest,
                condition="one of the four", decided=np.isin(nearest, ALGORITHMS), gate="report",
            )  # fmt: skip


def figure(found):
    """d_rel and the distance off its axis against the step, and final distances to every reference, by pool."""
    drawn, axes = panels.grid(3, len(found), width=4.5, height=4.2)
    for (left, middle, right), data in zip(axes, found.values(), strict=True):
        pools, steps, names = by_pool(data), np.maximum(data.step, 1), data.reference.values
        colours = panels.shades([*pools])
        for pool, own in pools.items():
            panels.curves(left, steps, relative(own), colours[pool], f"pool of {pool}", mean=False, lw=1.2)
            panels.curves(middle, steps, off(own), colours[pool], mean=False, lw=1.2)
        panels.level(left, 1, "memorises", "0.4", at=0.01, ls=":")
        panels.level(left, 0, "generalises", "0.4", at=0.01, ls=":")
        left.set(xscale="log", xlabel="training step", ylabel="d_rel on fresh chains", ylim=(-0.35, 1.45))
        left.set_title(f"{data.title}: a line per seed")
        left.legend(frameon=False, loc="upper right")
        middle.set(xscale="log", yscale="log", xlabel="training step", title="is it near either at all?")
        middle.set_ylabel("distance to the nearer of the two (nats)")
        shown = [name if name in ALGORITHMS else f"{name} (decoy)" for name in names]
        panels.listed(right, shown, {pool: own.kl.isel(step=-1) for pool, own in pools.items()}, colours)
        right.set(xscale="log", xlabel="KL of the trained model to it (nats)", title="nearest at the end")
        plain_ticks(right.xaxis)
        plain_ticks(middle.yaxis)
    return drawn


experiment = Experiment("Park et al. 2024; Wurgaft et al. 2025", measure, claims, figure, prepare, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
