"""Which algorithm answers depends on how many tasks were seen, and on when one looks (phase maps).

    python experiments/when_it_changes.py [quick|paper] [--subjects.regression.training.steps 20000 …]

Claim     Trained on few tasks a transformer ends nearest to a learner that has stored them (the posterior over its
          pool, or the most probable member); trained on many, nearest to one that has not; and on the way it is nearest
          to cheaper algorithms. The map of pool size × training step shows where which holds and what is unexplained.
Source    Raventós et al. 2023 (pool size); Singh et al. 2023, Park et al. 2024 (training step).
Time      quick: about 8 minutes on two cores, most of it training. paper: more pools and seeds, on an accelerator.

At every log-spaced snapshot every member is judged like a finished model (`icl_lab.hypotheses.judge`): parameters of
all references refitted, three prompt sets. "Nearest" is the reference of least distance relative to that of the answer
that knows nothing; the remainder, what it leaves unexplained on the worst prompt set, is drawn as paleness. A change of
the nearest reference's kind that is still under way at the last snapshot is censored: its time is not known.
"""

from typing import Any

import jax
import numpy as np

from icl_lab.hypotheses.bank import Bank, build_bank
from icl_lab.hypotheses.judge import Verdict, compare, judge, owner_of
from icl_lab.prompts import Predictions, Prompts
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.runs.claims import Claim
from icl_lab.runs.config import RunConfig
from icl_lab.runs.directory import RunDirectory
from icl_lab.runs.experiment import Subjects, members_claim, run_experiment
from icl_lab.runs.train import TrainedSubject

SOURCE = "Raventós et al. 2023; Singh et al. 2023; Park et al. 2024"
STORED = ("pool_bayes", "pool_map", "tempered_pool_bayes", "matched_moments")  # references that know the pool
LOOKS = {
    "stored tasks": COLOURS["H4"],
    "H1": COLOURS["H1"],
    "H2": COLOURS["H2"],
    "H3": COLOURS["H3"],
    "H4": "#7FD1B9",
    "H5": COLOURS["H5"],
    "rival": COLOURS["rival"],
    "decoy": COLOURS["decoy"],
}
NAMES = {
    "stored tasks": "the pool's tasks (H1, H4)",
    "H1": "H1 without the pool",
    "H2": "H2 kernel",
    "H3": "H3 learned steps",
    "H4": "H4 copying",
    "H5": "H5 gradient steps",
    "rival": "rival (Newton, …)",
    "decoy": "decoy",
}


def kind_of(reference: str) -> str:
    """What the phase map shows of a reference: whether it knows the pool, else whom it speaks for."""
    return "stored tasks" if reference in STORED else owner_of(reference)


@jax.jit
def answers(learner: Any, prompts: Prompts) -> Predictions:
    """The model's answers, at full precision."""
    with jax.default_matmul_precision("highest"):
        return learner(prompts).answer()


def follow(subject: TrainedSubject, config: RunConfig) -> list[list[Verdict]]:
    """The verdict on every member at every snapshot after the first, [member][snapshot]."""
    banks: dict[int, Bank] = {}
    rows: list[list[Verdict]] = [[] for _ in subject.members]
    for step in subject.steps[1:]:
        params = subject.snapshots.load(step)
        for index, planned in enumerate(subject.members):
            if planned.pool not in banks:
                judging = config.judge
                banks[planned.pool] = build_bank(
                    planned.member.task, judging.seed, judging.prompts, judging.calibration
                )
            bank = banks[planned.pool]
            prompts = jax.tree.map(np.asarray, bank.prompts)
            found = jax.tree.map(np.asarray, answers(subject.learner(index, params), prompts))
            rows[index].append(judge(compare(bank, found)))
    return rows


def settled(kinds: list[str]) -> int | None:
    """The first snapshot from which the kind stays what it is at the end; None if that is the last one: censored."""
    changes = [index for index in range(1, len(kinds)) if kinds[index] != kinds[index - 1]]
    first = changes[-1] if changes else 0
    return None if first == len(kinds) - 1 else first


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Phase maps, the kinds at both ends of the pool sizes, and when the last change came."""
    claims, maps = [], {}
    for name, subject in subjects.items():
        rows = follow(subject, config)
        pools = sorted({planned.pool for planned in subject.members})
        for pool in (pools[0], pools[-1]):
            own = [rows[i][-1] for i, planned in enumerate(subject.members) if planned.pool == pool]
            small = pool == pools[0]
            claims.append(
                members_claim(
                    f"{name}.end_{pool}",
                    f"{subject.subject.title}: nearest at the end after {pool} tasks "
                    + ("knows the pool" if small else "does not know the pool"),
                    SOURCE,
                    "the pool's tasks" if small else "none of them",
                    [f"{each.nearest} ({each.remainder:.1%} left, {each.status})" for each in own],
                    [(kind_of(each.nearest) == "stored tasks") == small for each in own],
                )
            )
        for pool in pools:
            shown = []
            for index, planned in enumerate(subject.members):
                if planned.pool == pool:
                    at = settled([kind_of(verdict.nearest) for verdict in rows[index]])
                    shown.append("censored" if at is None else f"step {subject.steps[1:][at]}")
            claims.append(
                members_claim(
                    f"{name}.settled_{pool}",
                    f"{subject.subject.title}: step from which the nearest kind stays what it is, after {pool} tasks",
                    SOURCE,
                    None,
                    shown,
                    [value != "censored" for value in shown],
                    gate="report",
                )
            )
        maps[name] = (subject, pools, rows)
    draw(maps, directory)
    return claims


def draw(maps: dict[str, tuple], directory: RunDirectory) -> None:
    """Pool size × training step, a strip per seed; colour: kind of the nearest reference, pale: much unexplained."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    with style():
        figure, axes = plt.subplots(1, len(maps), figsize=(5.2 * len(maps), 4.4), squeeze=False, layout="constrained")
        seen: list[str] = []
        for axis, (subject, pools, rows) in zip(axes[0], maps.values(), strict=True):
            steps = subject.steps[1:]
            for row, pool in enumerate(pools):
                own = [rows[i] for i, planned in enumerate(subject.members) if planned.pool == pool]
                for strip, verdicts in enumerate(own):
                    low, height = row - 0.45 + 0.9 * strip / len(own), 0.9 / len(own)
                    for column, verdict in enumerate(verdicts):
                        kind = kind_of(verdict.nearest) if verdict.nearest else "decoy"
                        seen.append(kind)
                        share = 1 - np.clip(verdict.remainder, 0, 0.85)
                        colour = share * np.array(to_rgb(LOOKS[kind])) + (1 - share)
                        axis.add_patch(plt.Rectangle((column, low), 1, height * 0.94, facecolor=colour, lw=0))
                        if verdict.status == "supported":
                            axis.plot(column + 0.5, low + height / 2, "o", color="black", ms=3)
            axis.set_xlim(0, len(steps))
            axis.set_ylim(-0.6, len(pools) - 0.4)
            axis.set_yticks(range(len(pools)), [str(pool) for pool in pools])
            axis.set_xticks(np.arange(len(steps)) + 0.5, [str(step) for step in steps], rotation=60, size=8)
            axis.set(xlabel="training step", title=subject.subject.title)
            axis.grid(False)
        axes[0, 0].set_ylabel("tasks in the training pool (a strip per seed)")
        handles = [Patch(facecolor=LOOKS[kind], label=NAMES[kind]) for kind in LOOKS if kind in seen]
        figure.legend(
            handles=handles,
            title="nearest reference; pale: much unexplained; dot: verdict 'supported'",
            loc="outside lower center",
            ncols=4,
            frameon=False,
        )
        save_figure(figure, directory.path / "figures", "when_it_changes")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
