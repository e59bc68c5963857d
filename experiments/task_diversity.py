"""Few pretraining tasks are remembered, many are generalised from (A8).

    python experiments/task_diversity.py [quick|paper] [--subjects.transformer.training.steps 20000 …]

Claim     A transformer trained on a pool of M linear-regression tasks answers prompts from *fresh* tasks like the
          posterior mean over its pool (dMMSE) when M is small, and like ridge regression, the posterior mean over all
          tasks, when M is large.
Source    Raventós et al. 2023, "Pretraining task diversity and the emergence of non-Bayesian in-context learning for
          regression": the threshold is at 2^14 to 2^15 tasks for d = 8, 16 examples, σ² = 0.25, 8 layers of width 128.
Time      quick: about 5 minutes on two cores (d = 3, two layers: the sign of the difference only). paper: the published
          shape on an accelerator.

As M grows, dMMSE becomes ridge. The sign is gated at the smallest pool and at the largest pool at which the two still
differ by more than the network differs from the nearer one.
"""

import jax.numpy as jnp

from icl_lab.experiments import COLOURS, Experiment, claim, distinguishable, mean_over, panels, per_prompt
from icl_lab.learners.bayes import pool_bayes, population_bayes


def fresh_prompts(trained):
    """Prompts of tasks that are in no pool, the same for every network."""
    return trained.task.fresh().sample(trained.key("fresh tasks"), trained.prompts)


@per_prompt
def measure(learner, task, prompts):
    """Mean squared difference per feature over all positions but the first, for every prompt."""
    answers = {
        "own": learner(prompts).mean_target()[:, 1:, 0],
        "dMMSE": pool_bayes(task, prompts).mean_target()[:, 1:, 0],
        "ridge": population_bayes(task, prompts).mean_target()[:, 1:, 0],
    }
    pairs = {"dMMSE": ("own", "dMMSE"), "ridge": ("own", "ridge"), "between": ("dMMSE", "ridge")}
    features = prompts.x.shape[-1]
    return {name: jnp.square(answers[a] - answers[b]).mean(1) / features for name, (a, b) in pairs.items()}


def claims(found):
    """Nearer dMMSE after the smallest pool, nearer ridge after the largest pool that tells them apart."""
    for name, data in found.items():
        mean = data[["dMMSE", "ridge", "between"]].mean("prompt")
        told = distinguishable(mean.between, mean[["dMMSE", "ridge"]].to_array().min("variable"), resolution=0)
        pools = sorted(set(data.pool.values))
        usable = [pool for pool in pools[1:] if told[data.pool.values == pool].all()]
        nearest = {pools[0]: ("dMMSE", "ridge")} | dict.fromkeys(usable[-1:], ("ridge", "dMMSE"))
        for pool in pools:
            own = mean.sel(member=data.pool.values == pool)
            near, far = nearest.get(pool, ("ridge", "dMMSE"))
            apart = float(own.between[0])
            text = f"on fresh tasks a model of {pool} tasks is nearer {near} than {far} (they differ by {apart:.2g})"
            gate = "order" if pool in nearest else "report"
            yield claim(f"{name}.pool_{pool}", text, "nearer", own[near], own[far], gate=gate)
        text = "pools beyond the smallest at which dMMSE and ridge can be told apart (if none: train longer)"
        yield claim(f"{name}.told_apart", text, "at_least", len(usable), 1)


def figure(found):
    """Both distances against the number of pretraining tasks: members with intervals over prompts, and their means."""
    drawn, axes = panels.grid(len(found), width=5.5, height=3.8)
    for axis, data in zip(axes[0], found.values(), strict=True):
        axis.set_xscale("log")
        pools = sorted(set(data.pool.values))
        for name, colour, marker in (("dMMSE", COLOURS["H4"], "o"), ("ridge", COLOURS["H1"], "s")):
            for pool in pools:
                mean = mean_over(data[name].sel(member=data.pool.values == pool))
                ends = (mean.low[:, None], mean.high[:, None])
                panels.dots(axis, [pool], mean.value[:, None], colour, interval=ends, fmt=marker)
            means = data[name].mean("prompt").groupby("pool").mean()
            axis.plot(pools, means, color=colour, lw=1.5, label=f"to {name}")
        axis.set(ylim=(0, None), xlabel="number of pretraining tasks M", title=data.title)
        axis.set_ylabel("squared difference of answers\non fresh tasks, per feature")
        axis.set_xticks(pools, [f"{pool}" for pool in pools], minor=False)
        axis.minorticks_off()
        axis.legend(title="distance of the network", frameon=False)
    return drawn


experiment = Experiment("Raventós et al. 2023", measure, claims, figure, prepare=fresh_prompts)
if __name__ == "__main__":
    experiment.main(__file__)
