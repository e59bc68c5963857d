"""Which algorithm answers depends on how many tasks were seen, and on when one looks (phase maps).

    python experiments/when_it_changes.py [quick|paper] [--subjects.regression.training.steps 20000 …]

Claim     Trained on few tasks a transformer ends nearest to a learner that has stored them (the posterior over its
          pool, or the most probable member); trained on many, nearest to one that has not; and on the way it is nearest
          to cheaper algorithms. The map of pool size × training step shows where which holds and what is unexplained.
Source    Raventós et al. 2023 (pool size); Singh et al. 2023, Park et al. 2024 (training step).
Time      quick: three and a half minutes on two cores. paper: more pools and seeds, on an accelerator, not yet run.

At every log-spaced snapshot every member is judged like a finished model (`icl_lab.judging.judge`): parameters of
all references refitted, three prompt sets. "Nearest" is the reference of least distance relative to that of the answer
that knows nothing; the remainder, what it leaves unexplained on the worst prompt set, is drawn as paleness. The last
change of the nearest reference's kind is known to lie between two snapshots; what is seen at the last one alone is
censored on the right, what was there at the first one on the left. The posterior of the population, ridge, counts and
the learned delta rule, which are one function where they fit best, are one kind there. All looks are stored in
trajectories.json.
"""

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from icl_lab.analysis.battery import key_of
from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.files import write_atomically
from icl_lab.core.statistics import bracketed_median, last_change, relative
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.judging.bank import Bank, build_bank
from icl_lab.judging.judge import THRESHOLDS, Comparison, compare, judge, owner_of
from icl_lab.learners.answers import answers_of
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory

SOURCE = "Raventós et al. 2023; Singh et al. 2023; Park et al. 2024"
# References that are the population's posterior where their parameters fit it (`calibration.equivalences`).
ONE_FUNCTION = ("population_bayes", "tempered_population_bayes", "ridge", "context_counts", "delta_rule")
STORED = ("pool_bayes", "pool_map", "tempered_pool_bayes", "matched_moments")  # references that know the pool
TEMPERED = "tempered_population_bayes"  # a decoy of the judge, here shown with what it varies
COLOUR = {
    "stored": "#1B7837",
    "H1": COLOURS["H1"],
    "H2": COLOURS["H2"],
    "H3": COLOURS["H3"],
    "H4": COLOURS["H4"],
    "H5": COLOURS["H5"],
    "rival": COLOURS["rival"],
    "decoy": COLOURS["decoy"],
}
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue
NAMES = {
    "stored": "knows the pool's tasks (H1, H4; also tempered, or its moments)",
    "H1": "H1 Bayes without the pool (also tempered)",
    "H2": "H2 kernel",
    "H3": "H3 learned steps",
    "H4": "H4 copying",
    "H5": "H5 gradient steps",
    "rival": "rival (Newton)",
    "decoy": "decoy",
}


class Look(NamedTuple):
    """A member at a snapshot.

    Attributes:
        nearest: the nearest reference.
        status: of the verdict.
        remainder: what the nearest leaves unexplained.
        distances: kind → least distance among its references, relative to the zero predictor's, mean over regimes.
    """

    nearest: str
    status: str
    remainder: float
    distances: dict[str, float]

    @property
    def kind(self) -> str:
        return kind_of(self.nearest)

    @property
    def function(self) -> str:
        """The kind, of references that are one function the same."""
        return "population's posterior" if self.nearest in ONE_FUNCTION else self.kind


def kind_of(reference: str) -> str:
    """What the phase map shows of a reference: whether it knows the pool, else whom it speaks for."""
    return "stored" if reference in STORED else "H1" if reference == TEMPERED else owner_of(reference)


def look(comparison: Comparison) -> Look:
    """Verdict and distances of one comparison."""
    verdict = judge(comparison)
    shares = relative(comparison.distance, comparison.zero, THRESHOLDS.floor).mean(0)
    least: dict[str, float] = {}
    for name, value in zip(comparison.references, shares, strict=True):
        least[kind_of(name)] = min(float(value), least.get(kind_of(name), np.inf))
    return Look(verdict.nearest, verdict.status, verdict.remainder, least)


def follow(subject: TrainedSubject, config: RunConfig) -> list[list[Look]]:
    """Every member at every snapshot after the first, [member][snapshot]."""
    banks: dict[tuple, Bank] = {}
    rows: list[list[Look]] = [[] for _ in subject.members]
    for step in subject.steps[1:]:
        params = subject.snapshots.load(step)
        for index, planned in enumerate(subject.members):
            if (key := key_of(planned.member.task)) not in banks:
                asked = config.judge
                banks[key] = build_bank(planned.member.task, asked.seed, asked.prompts, asked.calibration)
            bank = banks[key]
            found = jax.tree.map(np.asarray, answers_of(subject.learner(index, params), bank.prompts))
            rows[index].append(look(compare(bank, found)))
    return rows


def size_of(pool: int) -> float:
    """Tasks that training drew from; 0 stands for a population, in which none comes again."""
    return pool or np.inf


def spoken(pool: int) -> str:
    """ "4 tasks", or "fresh tasks" of a population."""
    return f"{pool or 'fresh'} tasks"


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Phase maps, the kinds at both ends of the pool sizes, and when the last change came."""
    claims, maps, stored = [], {}, {}
    for name, subject in subjects.items():
        rows = follow(subject, config)
        pools = sorted({planned.pool for planned in subject.members}, key=size_of)
        own = {pool: [rows[i] for i, planned in enumerate(subject.members) if planned.pool == pool] for pool in pools}
        claims += claims_of(name, subject, own)
        maps[name] = (subject, own)
        stored[name] = {
            "steps": subject.steps[1:],
            "members": [
                {"pool": planned.pool, "looks": [one._asdict() for one in row]}
                for planned, row in zip(subject.members, rows, strict=True)
            ],
        }
    write_atomically(directory.path / "trajectories.json", (json.dumps(stored, indent=1) + "\n").encode())
    draw(maps, directory)
    return claims


def claims_of(name: str, subject: TrainedSubject, own: dict[int, list[list[Look]]]) -> list[Claim]:
    """What a subject ends as at its smallest and largest pool, and when every pool settled."""
    claims, title, steps = [], subject.subject.title, subject.steps[1:]
    for pool in dict.fromkeys((min(own, key=size_of), max(own, key=size_of))):
        small = np.isfinite(size_of(pool)) and pool == min(own, key=size_of)
        last = [row[-1] for row in own[pool]]
        claims.append(
            members_claim(
                f"{name}.end_{pool}",
                f"{title}: nearest at the end after {spoken(pool)} {'knows' if small else 'does not know'} the pool",
                SOURCE,
                "the pool's tasks" if small else "none of them",
                [f"{each.nearest} ({each.remainder:.1%} left, {each.status})" for each in last],
                [(each.kind == "stored") == small for each in last],
                # Of a large pool the posterior and the population's lie so near each other that whatever is far from
                # both may be nearest to either.
                gate="order" if small else "report",
            )
        )
    for pool, rows in own.items():
        found = [last_change([one.function for one in row], steps) for row in rows]
        claims.append(
            members_claim(
                f"{name}.settled_{pool}",
                f"{title}: step from which the kind of the nearest function stays what it is, after {spoken(pool)} "
                f"(median {bracketed_median(found)})",
                SOURCE,
                None,
                [f"{at} ({row[-1].function})" for at, row in zip(found, rows, strict=True)],
                [np.isfinite(at.by) for at in found],
                gate="report",
            )
        )
    return claims


def draw(maps: dict[str, tuple], directory: RunDirectory) -> None:
    """Pool size × training step, a strip per seed; colour: kind of the nearest reference, pale: much unexplained."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    with style():
        size = (8.2, 0.9 + 2.6 * len(maps))
        figure, axes = plt.subplots(len(maps), 1, figsize=size, squeeze=False, layout="constrained")
        seen: set[str] = set()
        for axis, (subject, own) in zip(axes[:, 0], maps.values(), strict=True):
            steps = subject.steps[1:]
            for row, members in enumerate(own.values()):
                for strip, looks in enumerate(members):
                    low, height = row - 0.45 + 0.9 * strip / len(members), 0.9 / len(members)
                    for column, one in enumerate(looks):
                        seen.add(one.kind)
                        share = 1 - 0.7 * np.clip(one.remainder, 0, 1)
                        colour = share * np.array(to_rgb(COLOUR[one.kind])) + (1 - share)
                        axis.add_patch(plt.Rectangle((column, low), 1, height * 0.94, facecolor=colour, lw=0))
                        ink = "white" if colour @ LUMINANCE < 0.55 else "#222222"
                        text = "✓" if one.status == "supported" else f"{min(one.remainder, 1):.0%}"
                        axis.text(column + 0.5, low + height / 2, text, size=6.5, color=ink, ha="center", va="center")
            axis.set_xlim(0, len(steps))
            axis.set_ylim(-0.6, len(own) - 0.4)
            axis.set_yticks(range(len(own)), [spoken(pool).removesuffix(" tasks") for pool in own])
            axis.set_xticks(np.arange(len(steps)) + 0.5, [f"{step:,}" for step in steps], size=8)
            axis.set(ylabel="tasks in the pool\n(a strip per seed)", title=subject.subject.title)
            axis.grid(False)
        axes[-1, 0].set_xlabel("training step")
        supported = any(
            one.status == "supported"
            for _, own in maps.values()
            for row in own.values()
            for looks in row
            for one in looks
        )
        figure.suptitle("Which algorithm is nearest to what the network answers")
        figure.legend(
            handles=[Patch(facecolor=COLOUR[kind], label=NAMES[kind]) for kind in COLOUR if kind in seen],
            title="Colour: the nearest reference. Pale, and percent: what it leaves unexplained"
            + (". ✓: supported" if supported else ""),
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
        save_figure(figure, directory.path / "figures", "when_it_changes")
        plt.close(figure)
    draw_distances(maps, directory)


def draw_distances(maps: dict[str, tuple], directory: RunDirectory) -> None:
    """How far every kind is at every snapshot, a panel per pool, a line per seed."""
    import matplotlib.pyplot as plt

    with style():
        most = max(len(own) for _, own in maps.values())
        figure, axes = plt.subplots(
            len(maps), most, figsize=(3.3 * most, 2.9 * len(maps)), squeeze=False, sharey=True, layout="constrained"
        )
        labels: dict[str, Any] = {}
        for line, (subject, own) in zip(axes, maps.values(), strict=True):
            for axis, (pool, members) in zip(line, own.items(), strict=False):
                for looks in members:
                    for kind in looks[0].distances:
                        values = [one.distances[kind] for one in looks]
                        labels[kind] = axis.plot(subject.steps[1:], values, color=COLOUR[kind], lw=1.1, alpha=0.8)[0]
                axis.axhline(THRESHOLDS.remainder, color="black", lw=0.7, ls=":")
                axis.set(xscale="log", yscale="log", ylim=(0.003, 3), title=f"{subject.subject.title}, {spoken(pool)}")
                axis.set_xlabel("training step")
            line[0].set_ylabel("distance, relative to silence")
        figure.legend(
            [labels[kind] for kind in COLOUR if kind in labels],
            [NAMES[kind] for kind in COLOUR if kind in labels],
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        save_figure(figure, directory.path / "figures", "distances")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
