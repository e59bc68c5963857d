"""Which algorithm answers depends on how many tasks were seen, and on when one looks (phase maps).

    python experiments/when_it_changes.py [quick|paper] [--subjects.regression.training.steps 20000 …]

Claim     Trained on few tasks a transformer ends nearest to a learner that has stored them (the posterior over its
          pool, or the most probable member); trained on many, nearest to one that has not; and on the way it is nearest
          to cheaper algorithms. The map of pool size × training step shows where which holds and what is unexplained.
Source    Raventós et al. 2023 (pool size); Singh et al. 2023, Park et al. 2024 (training step).
Time      quick: three and a half minutes on two cores. paper: more pools and seeds, on an accelerator, not yet run.

At every snapshot every network is judged like a finished one: parameters of all references refitted, three prompt sets.
"Nearest" is the reference with the smallest D_k/D_0. The last change of its kind lies between two snapshots: it is
censored on the right at the last one, on the left at the first. References that are the population's posterior where
their parameters fit it count as one kind.
"""

import jax
import numpy as np
import xarray

from icl_lab.core.statistics import bracketed_median, last_change, relative
from icl_lab.experiments import COLOURS, Experiment, claim, panels
from icl_lab.judging.bank import build_bank
from icl_lab.judging.judge import THRESHOLDS, compare, judge, owner_of
from icl_lab.learners.answers import answers_of

# References that are the population's posterior where their parameters fit it (`calibration.equivalences`).
ONE_FUNCTION = ("population_bayes", "tempered_population_bayes", "ridge", "context_counts", "delta_rule")
STORED = ("pool_bayes", "pool_map", "tempered_pool_bayes", "matched_moments")  # references that know the pool
TEMPERED = "tempered_population_bayes"  # a decoy of the judge, here shown with what it varies
KINDS = {
    "stored": ("#1B7837", "knows the pool's tasks (H1, H4; also tempered, or its moments)"),
    "H1": (COLOURS["H1"], "H1 Bayes without the pool (also tempered)"),
    "H2": (COLOURS["H2"], "H2 kernel"),
    "H3": (COLOURS["H3"], "H3 learned steps"),
    "H4": (COLOURS["H4"], "H4 copying"),
    "H5": (COLOURS["H5"], "H5 gradient steps"),
    "rival": (COLOURS["rival"], "rival (Newton)"),
    "decoy": (COLOURS["decoy"], "decoy"),
}
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue


def kind_of(reference):
    """The kind of a reference: "stored" if it knows the pool, else its hypothesis."""
    return "stored" if reference in STORED else "H1" if reference == TEMPERED else owner_of(reference)


def function_of(reference):
    """The kind, with references that are one function taken together."""
    return "population's posterior" if reference in ONE_FUNCTION else kind_of(reference)


def prepare(trained):
    """The reference bank of the task."""
    asked = trained.config.judge
    return build_bank(trained.task, asked.seed, asked.prompts, asked.calibration)


def look(comparison):
    """Nearest reference, status, unexplained share, and the smallest D_k/D_0 of every kind, mean over prompt sets."""
    verdict = judge(comparison)
    shares = relative(comparison.distance, comparison.zero, THRESHOLDS.floor).mean(0)
    least = dict.fromkeys(KINDS, np.nan)
    for name, value in zip(comparison.references, shares, strict=True):
        least[kind_of(name)] = np.fmin(value, least[kind_of(name)])
    found = {"nearest": verdict.nearest, "status": verdict.status, "remainder": verdict.remainder}
    return xarray.Dataset(found | {"distance": ("family", list(least.values()))}, {"family": list(least)})


def measure(trained):
    """The verdict on a network at one step; the untrained one is left out of claims and figures."""
    bank = trained.prepared
    return look(compare(bank, jax.tree.map(np.asarray, answers_of(trained.learner, bank.prompts))))


def size(pool):
    """Number of training tasks; 0 stands for a population."""
    return pool or np.inf


def named(pool):
    """Training tasks in words."""
    return f"{pool or 'fresh'} tasks"


def by_pool(data):
    """Pool → the looks at its networks at all snapshots after the first."""
    pools = sorted(set(data.pool.values), key=size)
    return {int(pool): data.isel(step=slice(1, None)).sel(member=data.pool.values == pool) for pool in pools}


def claims(found):
    """What networks end as at the smallest and the largest pool, and when every pool settled."""
    for name, data in found.items():
        own = by_pool(data)
        for pool in dict.fromkeys((min(own, key=size), max(own, key=size))):
            small = bool(pool) and pool == min(own, key=size)
            last = own[pool].isel(step=-1)
            kinds = [kind_of(reference) for reference in last.nearest.values]
            text = (
                f"{data.title}: the nearest at the end after {named(pool)} {'knows' if small else 'ignores'} the pool"
            )
            rows = zip(last.nearest.values, last.status.values, strict=True)
            yield claim(
                f"{name}.end_{pool}", text,
                "condition", last.remainder, unit="unexplained",
                labels=[f"{reference}, {status}" for reference, status in rows],
                condition="the pool's tasks" if small else "none of them",
                decided=[(kind == "stored") == small for kind in kinds],
                # With a large pool the posterior and the population's are so near each other that whatever is far from
                # both may be nearest to either.
                gate="order" if small else "report",
            )  # fmt: skip
        for pool, looks in own.items():
            rows = [[function_of(one) for one in row] for row in looks.nearest.values]
            times = [last_change(row, list(looks.step.values)) for row in rows]
            text = f"{data.title}: step by which the kind of the nearest function is final, after {named(pool)}"
            yield claim(
                f"{name}.settled_{pool}", f"{text} (median {bracketed_median(times)})", "condition",
                [time.by for time in times], unit="steps", gate="report", condition="before the last snapshot",
                labels=[f"{time}, {row[-1]}" for time, row in zip(times, rows, strict=True)],
                decided=[np.isfinite(time.by) for time in times],
            )  # fmt: skip


def phase_map(axis, data):
    """Pool size × training step, a strip per seed; colour: kind of the nearest reference, pale: much unexplained."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb

    own, steps = by_pool(data), data.step.values[1:]
    for row, looks in enumerate(own.values()):
        height = 0.9 / looks.sizes["member"]
        for (strip, column), nearest in np.ndenumerate(looks.nearest.values):
            remainder = min(float(looks.remainder[strip, column]), 1)
            share = 1 - 0.7 * remainder
            colour = share * np.array(to_rgb(KINDS[kind_of(nearest)][0])) + (1 - share)
            low = row - 0.45 + height * strip
            axis.add_patch(plt.Rectangle((column, low), 1, height * 0.94, facecolor=colour, lw=0))
            text = "✓" if looks.status[strip, column] == "supported" else f"{remainder:.0%}"
            ink = "white" if colour @ LUMINANCE < 0.55 else "#222222"
            axis.text(column + 0.5, low + height / 2, text, size=6.5, color=ink, ha="center", va="center")
    axis.set(xlim=(0, len(steps)), ylim=(-0.6, len(own) - 0.4), title=data.title)
    axis.set_yticks(range(len(own)), [str(pool or "fresh") for pool in own])
    axis.set_xticks(np.arange(len(steps)) + 0.5, [f"{step:,}" for step in steps], size=8)
    axis.set(ylabel="tasks in the pool\n(a strip per seed)", xlabel="training step")
    axis.grid(False)


def maps(found):
    """The phase maps, one panel per subject."""
    from matplotlib.patches import Patch

    drawn, axes = panels.grid(1, len(found), width=8.2, height=2.9)
    for axis, data in zip(axes[:, 0], found.values(), strict=True):
        phase_map(axis, data)
    seen = {kind_of(one) for data in found.values() for one in data.nearest.values[:, 1:].ravel()}
    drawn.suptitle("Which algorithm is nearest to what the network answers")
    drawn.legend(
        handles=[Patch(facecolor=colour, label=words) for kind, (colour, words) in KINDS.items() if kind in seen],
        title="Colour: the nearest reference. Percent: the unexplained share (pale: much). ✓: supported",
        loc="outside lower center", ncols=2, frameon=False,
    )  # fmt: skip
    return drawn


def distances(found):
    """How far every kind is at every snapshot, a panel per pool, a line per seed."""
    most = max(len(by_pool(data)) for data in found.values())
    drawn, axes = panels.grid(most, len(found), width=3.3, height=2.9, sharey=True)
    for line, data in zip(axes, found.values(), strict=True):
        for axis, (pool, looks) in zip(line, by_pool(data).items(), strict=False):
            for kind, (colour, words) in KINDS.items():
                values = looks.distance.sel(family=kind)
                if np.isfinite(values).any():
                    panels.curves(axis, looks.step, values, colour, words, mean=False, lw=1.1)
            panels.level(axis, THRESHOLDS.remainder, lw=0.7, ls=":")
            axis.set(xscale="log", yscale="log", ylim=(0.003, 3), title=f"{data.title}, {named(pool)}")
            axis.set_xlabel("training step")
        line[0].set_ylabel("distance, relative to an answer\nthat ignores the prompt")
    labels = {
        text: handle for axis in axes.flat for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=4, frameon=False)
    return drawn


def figure(found):
    """The phase maps, and the distances they come from."""
    return {"when_it_changes": maps(found), "distances": distances(found)}


SOURCE = "Raventós et al. 2023; Singh et al. 2023; Park et al. 2024"
experiment = Experiment(SOURCE, measure, claims, figure, prepare, steps="all")
if __name__ == "__main__":
    experiment.main(__file__)
