"""Few pretraining tasks are remembered, many are generalised from (A8).

    python experiments/task_diversity.py [quick|paper] [--subjects.transformer.training.steps 20000 …]

Claim     A transformer trained on a pool of M linear-regression tasks answers prompts from *fresh* tasks like the
          posterior mean over its pool (dMMSE) when M is small, and like ridge regression, the posterior mean over all
          tasks, when M is large.
Source    Raventós et al. 2023, "Pretraining task diversity and the emergence of non-Bayesian in-context learning for
          regression": the threshold is at 2^14 to 2^15 tasks for d = 8, 16 examples, σ² = 0.25, 8 layers of width 128.
Time      quick: about 5 minutes on two cores (d = 3, two layers: the sign of the difference only). paper: the published
          shape on an accelerator.

Measured: Δ(dMMSE) and Δ(ridge), mean squared differences of answers per feature on fresh tasks, over all positions
but the first. All members share one nested pool. As M grows dMMSE becomes ridge; where the two differ by less than the
model differs from the nearer one, nothing is claimed: the sign is gated at the smallest pool and at the largest that
still tells them apart.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners import TransformerLearner
from icl_lab.learners.bayes import pool_bayes, population_bayes
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import Task

SOURCE = "Raventós et al. 2023"


@jax.jit
def squared_differences(learner: TransformerLearner, task: Task, prompts: Prompts) -> dict[str, jax.Array]:
    """Mean squared differences per feature, for every prompt: learner and dMMSE, learner and ridge, dMMSE and ridge."""
    own = learner(prompts).mean_target()[:, 1:, 0]
    dmmse: Any = pool_bayes(task, prompts)
    ridge: Any = population_bayes(task, prompts)
    answers = {"dMMSE": (own, dmmse.mean[:, 1:]), "ridge": (own, ridge.mean[:, 1:])}
    pairs = answers | {"apart": (dmmse.mean[:, 1:], ridge.mean[:, 1:])}
    return {name: jnp.square(a - b).mean(1) / prompts.x.shape[-1] for name, (a, b) in pairs.items()}


def told_apart(values: dict[str, np.ndarray]) -> bool:
    """Whether dMMSE and ridge differ by more than the model does from the nearer of them."""
    return bool(values["apart"].mean() > min(values["dMMSE"].mean(), values["ridge"].mean()))


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Distances on fresh tasks of every member, and the sign of their difference at both ends of the sweep."""
    claims, panels = [], {}
    for name, subject in subjects.items():
        rows: list[tuple[int, dict[str, np.ndarray]]] = []
        for index, planned in enumerate(subject.members):
            task = planned.member.task
            prompts = task.fresh().sample(stream(config.judge.seed, "fresh tasks"), config.judge.prompts)
            params = jax.tree.map(lambda leaf, i=index: jnp.asarray(leaf[i]), subject.params)
            found = squared_differences(TransformerLearner(params, subject.model, subject.format), task, prompts)
            rows.append((planned.pool, {key: np.asarray(value) for key, value in found.items()}))
        pools = sorted({pool for pool, _ in rows})
        members = {pool: [values for size, values in rows if size == pool] for pool in pools}
        usable = [pool for pool in pools[1:] if all(map(told_apart, members[pool]))]
        gated = {pools[0]: ("dMMSE", "ridge")} | dict.fromkeys(usable[-1:], ("ridge", "dMMSE"))
        for pool in pools:
            near, far = gated.get(pool, ("ridge", "dMMSE"))
            pairs = [(values[near].mean(), values[far].mean()) for values in members[pool]]
            apart = members[pool][0]["apart"].mean()
            claims.append(
                members_claim(
                    f"{name}.pool_{pool}",
                    f"on fresh tasks a model of {pool} tasks is nearer {near} than {far} (they differ by {apart:.2g})",
                    SOURCE,
                    f"Δ {near} < Δ {far}"
                    if pool in gated
                    else "no claim: the two are not told apart, or a pool between",
                    [f"{a:.3g}/{b:.3g}" for a, b in pairs],
                    [bool(a < b) for a, b in pairs],
                    gate="order" if pool in gated else "report",
                )
            )
        if not usable:
            text = "some pool beyond the smallest tells dMMSE and ridge apart (train longer, or choose smaller pools)"
            claims.append(said(f"{name}.told_apart", text, SOURCE, "at least 1", None, 0, False, "order"))
        panels[name] = rows
    draw(panels, directory)
    return claims


def draw(panels: dict[str, list], directory: RunDirectory) -> None:
    """Both distances against the number of pretraining tasks: members with intervals over prompts, and their means."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(5.5 * len(panels), 3.8), squeeze=False, layout="constrained"
        )
        for axis, (name, rows) in zip(axes[0], panels.items(), strict=True):
            pools = sorted({pool for pool, _ in rows})
            for key, colour, marker in (("dMMSE", COLOURS["H4"], "o"), ("ridge", COLOURS["H1"], "s")):
                for shift, (pool, values) in enumerate(rows):
                    low, high = bootstrap_interval(values[key])
                    centre = values[key].mean()
                    place = pool * 1.04 ** (shift % 3 - 1)
                    bars = [[max(centre - low, 0)], [max(high - centre, 0)]]
                    axis.errorbar(place, centre, bars, fmt=marker, color=colour, ms=4, lw=0.8, alpha=0.7)
                means = [np.mean([values[key].mean() for size, values in rows if size == pool]) for pool in pools]
                axis.plot(pools, means, color=colour, lw=1.5, label=f"to {key}")
            axis.set(xscale="log", ylim=(0, None), xlabel="number of pretraining tasks M", title=name)
            axis.set_xticks(pools, [str(pool) for pool in pools], minor=False)
            axis.minorticks_off()
            axis.set_ylabel("squared difference of answers\non fresh tasks, per feature")
            axis.legend(title="distance of the model", frameon=False)
        save_figure(figure, directory.path / "figures", "task_diversity")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
