"""What the look of the examples does to the answer, and what training in more than one look takes away (D6).

    python experiments/format_bias.py [quick|paper] [--subjects.rules_plain.training.steps 2000 …]

Claim     Separators between the tokens of a prompt, or the label of every example before its input, change nothing that
          the prompt says, and the exact learner answers as before. A transformer trained in one format moves more under
          both than its twin that was trained in several formats at once.
Source    Lu et al. 2022 and Sclar et al. 2024 found that the format moves large language models; no number of theirs is
          expected here.
Time      quick: two and a half minutes on two cores. paper: larger tasks and models, on an accelerator, not yet run.

Every change keeps the information of the prompt. "Moved" is the divergence of the last answer in the changed format
from that in the format of training, in nats, mean over prompts: KL of classes, (Δŷ)²/2v of real outcomes with v the
exact predictive variance. Twins have the same seeds. The augmented ones are trained with separators after every
example, after every token, blanks in front and labels first; other codes, other scales and the unseen format, the
features in reverse order among it, are changes that neither has met. Codes are left out of training for another reason:
where flipped labels come unannounced, the best answer is another one. Beside the networks stand two readers that work
from the same tokens by the exact posterior: one who knows every layout, and one who takes the last tokens for the
layout of training. A network that learned less would move less, too; so the twin must also be nearer to the exact
answer after the change; the distances are reported, before and after it. All figures' values are stored in
measured.json.
"""

import json
from typing import Any

import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.files import write_atomically
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.report.experiments import save_figure, style
from icl_lab.store.directory import RunDirectory
from icl_lab.stress.base import Perturbation
from icl_lab.stress.measure import Stressed, answers_of, in_format, stressed, terms
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.planted_formats import FormatReader
from icl_lab.stress.readable import why_unreadable
from icl_lab.tasks import Task

SOURCE = "Sclar et al. 2024"
SEEN = ("separators", "swapped", "blanks")  # by the augmented twins
GATED = ("separators", "swapped")
PAIRS = {"plain": "one format", "augmented": "several formats"}
COLOURS = {"plain": "#CC3311", "augmented": "#117733", "naive": "#777777"}
FLOOR = 1e-4  # nats, where the figure ends


def changes(task: Task) -> list[Perturbation]:
    """Changes of format that make sense for the task, those met in augmented training first."""
    known = [perturbation for perturbation in FORMAT_PERTURBATIONS.values() if not perturbation.applies(task)]
    return sorted(known, key=lambda perturbation: perturbation.name not in SEEN)


def moved(change: Perturbation, given: Stressed, learner: Any) -> float:
    """D(before ‖ after) of a learner under a change at its standard strength, mean over prompts.

    Raises:
        ValueError: the learner cannot be asked.
    """
    if why := why_unreadable(in_format(learner, change, change.standard), given.after):
        raise ValueError(f"{change.name}: {why}")
    return float(terms(change, given, learner, change.standard).moved.mean())


def distance(change: Perturbation, given: Stressed, learner: Any, strength: float) -> float:
    """D(exact ‖ learner) at the last position, in nats, mean over prompts."""
    found = answers_of(in_format(learner, change, strength), given.after)
    return float(np.asarray(given.trained.divergence(found, given.unit))[:, -1].mean())


def measure_family(pair: dict[str, TrainedSubject], prompts: int, seed: int) -> dict[str, dict[str, Any]]:
    """Change → what it does to both twins, a value per member, and to the two readers."""
    task = pair["plain"].members[0].member.task
    trained, found = pair["plain"].format, {}
    for change in changes(task):
        given = stressed(change, task, stream(seed, "format bias"), prompts, change.standard)
        row: dict[str, Any] = {"title": change.title, "seen": change.name in SEEN}
        for kind, subject in pair.items():
            learners = [subject.learner(index) for index in range(len(subject.members))]
            row[kind] = [moved(change, given, learner) for learner in learners]
            row[f"{kind}_distance"] = [distance(change, given, learner, change.standard) for learner in learners]
            row[f"{kind}_own"] = [distance(change, given, learner, change.strengths[0]) for learner in learners]
        for name, share in (("knowing", 0.0), ("naive", 1.0)):
            row[name] = moved(change, given, FormatReader(task, share, trained, trained))
        found[change.name] = row
    return found


def claims_of(family: str, found: dict[str, dict[str, Any]]) -> list[Claim]:
    """What the readers and the twins of one family show."""
    largest = max(row["knowing"] for row in found.values())
    claims = [
        said(
            id=f"{family}.knowing_reader",
            statement=f"{family}: the exact learner that reads the tokens by their layout is moved by no change",
            source="algebra",
            expected=0.0,
            tolerance=1e-6,
            measured=largest,
            holds=largest <= 1e-6,
            gate="exact",
        )
    ]
    for name, row in found.items():
        differences = [plain - other for plain, other in zip(row["plain"], row["augmented"], strict=True)]
        nearer = [a - b for a, b in zip(row["plain_distance"], row["augmented_distance"], strict=True)]
        words = f"plain {np.mean(row['plain']):.3g}, augmented {np.mean(row['augmented']):.3g} nats; differences"
        claims.append(
            members_claim(
                f"{family}.{name}",
                f"{family}, {row['title']}: trained in one format a network moves more than its twin ({words}), "
                "which is nearer to the exact answer then",
                SOURCE,
                "above 0, and nearer",
                differences,
                [difference > 0 and lead > 0 for difference, lead in zip(differences, nearer, strict=True)],
                gate="order" if name in GATED else "report",
            )
        )
        words = f"plain {np.mean(row['plain_distance']):.3g}, augmented {np.mean(row['augmented_distance']):.3g} nats"
        claims.append(
            members_claim(
                f"{family}.{name}.distance",
                f"{family}, {row['title']}: distance from the exact answer after the change, trained in one format "
                f"less its twin ({words}; differences)",
                SOURCE,
                None,
                nearer,
                [difference > 0 for difference in nearer],
                gate="report",
            )
        )
    own = next(iter(found.values()))
    costs = [after - before for before, after in zip(own["plain_own"], own["augmented_own"], strict=True)]
    claims.append(
        members_claim(
            f"{family}.cost",
            f"{family}: distance from the exact learner in the format of training, augmented less plain "
            f"(plain {np.mean(own['plain_own']):.3g} nats)",
            SOURCE,
            None,
            costs,
            [cost <= 0 for cost in costs],
            gate="report",
        )
    )
    return claims


def pairs_of(subjects: Subjects) -> dict[str, dict[str, TrainedSubject]]:
    """Family → its twins, from names such as rules_plain and rules_augmented."""
    families = dict.fromkeys(name.rpartition("_")[0] for name in subjects)
    return {family: {kind: subjects[f"{family}_{kind}"] for kind in PAIRS} for family in families}


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Every change of format on every twin, the claims, and the figure."""
    found = {
        family: measure_family(pair, config.judge.prompts, config.judge.seed)
        for family, pair in pairs_of(subjects).items()
    }
    write_atomically(directory.path / "measured.json", (json.dumps(found, indent=1) + "\n").encode())
    draw(found, directory)
    return [claim for family, rows in found.items() for claim in claims_of(family, rows)]


def draw(found: dict[str, dict[str, dict[str, Any]]], directory: RunDirectory) -> None:
    """Moved per change, a dot per member; a dash for the reader who takes every layout for that of training."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            1, len(found), figsize=(5.6 * len(found), 3.9), squeeze=False, sharey=True, layout="constrained"
        )
        for axis, (family, rows) in zip(axes[0], found.items(), strict=True):
            for place, row in enumerate(rows.values()):
                for kind, side in zip(PAIRS, (-0.17, 0.17), strict=True):
                    values = np.maximum(row[kind], FLOOR)
                    spread = np.linspace(-0.08, 0.08, len(values))
                    axis.plot(place + side + spread, values, "o", ms=4.5, color=COLOURS[kind], alpha=0.85)
                if row["naive"] > FLOOR:
                    axis.plot([place - 0.36, place + 0.36], [row["naive"]] * 2, color=COLOURS["naive"], lw=1.4)
                axis.plot(place, FLOOR, marker="v", color="black", ms=5, clip_on=False)
            seen = sum(row["seen"] for row in rows.values())
            axis.axvline(seen - 0.5, color="#AAAAAA", lw=0.8, ls=":")
            axis.set_xticks(range(len(rows)), [row["title"] for row in rows.values()], rotation=25, ha="right")
            axis.set(yscale="log", title=family)
            axis.text(seen - 0.55, 0.99, "augmented with ←", transform=axis.get_xaxis_transform(), ha="right", va="top")
            axis.text(seen - 0.45, 0.99, "→ not", transform=axis.get_xaxis_transform(), va="top")
        largest = max(
            max(row["naive"], *row["plain"], *row["augmented"]) for rows in found.values() for row in rows.values()
        )
        axes[0, 0].set(ylabel="last answer moved (nats)", ylim=(FLOOR, 4 * largest))
        handles = [
            plt.Line2D([], [], marker="o", ls="", color=COLOURS[kind], label=f"trained in {PAIRS[kind]}")
            for kind in PAIRS
        ]
        handles.append(plt.Line2D([], [], color=COLOURS["naive"], label="exact, by the layout of training"))
        handles.append(plt.Line2D([], [], marker="v", ls="", color="black", label="exact, by the layout there is: 0"))
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle("What a change of format does that changes nothing of what the prompt says")
        save_figure(figure, directory.path / "figures", "format_bias")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
