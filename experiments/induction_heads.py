"""Two layers grow induction heads on repeated random sequences, one layer cannot (B9).

    python experiments/induction_heads.py [quick|paper] [--subjects.two_layers.training.steps 5000 …]

Claim     A two-layer attention-only transformer learns to look for the earlier occurrence of the last token and to copy
          what followed: a head of the second layer attends there (prefix matching), fed by a head of the first layer
          that attends to the token before. A one-layer model has no such head and does not foretell the repetition.
Source    Olsson et al. 2022, "In-context learning and induction heads".
Time      quick: about 3 minutes on two cores. paper: wider, on an accelerator.

The period of repetition differs between prompts, so that positions alone do not tell where to look. Scores are means
over prompts of the attention paid, 1 for a perfect head; the best head of a layer counts. The in-context score is the
loss over the first tenth of a prompt minus that over its last tenth, in nats; the exact learner's is drawn with it.
Prefix matching is sharp; the head below is not: it pays .50 to .58 to the token before at the end, little above the
threshold, in two seeds less than earlier; training that ends after 2,500 steps leaves it at .41 in one seed of three.
"""

from typing import Any

import jax
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.probes import induction_scores
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory

SOURCE = "Olsson et al. 2022"
HIGH, TIMES = 0.5, 4.0  # a head that has formed: half of the attention, and four times the untrained model's best


@jax.jit
def in_context_score(predictions: Any, y: jax.Array) -> jax.Array:
    """Loss over the first tenth of the positions minus that over the last tenth."""
    loss = predictions.loss(y).mean(0)
    few = max(1, len(loss) // 10)
    return loss[:few].mean() - loss[-few:].mean()


@jax.jit
def answers(learner: Any, prompts: Prompts) -> Any:
    """The model's answers."""
    return learner(prompts)


def follow(subject: TrainedSubject, prompts: Prompts) -> dict[str, np.ndarray]:
    """Best scores of a head per layer, and the in-context score, of every member at every snapshot."""
    outcomes = subject.members[0].member.task.outcomes
    rows: dict[str, list[list[Any]]] = {}
    for step in subject.steps:
        params = subject.snapshots.load(step)
        for index in range(len(subject.members)):
            learner = subject.learner(index, params)
            scores = induction_scores(subject.model, subject.format, learner.params, prompts, outcomes)
            found: dict[str, Any] = {name: np.asarray(value).max(-1) for name, value in scores.items()}
            found["in context"] = np.asarray(in_context_score(answers(learner, prompts), prompts.y))
            for name, value in found.items():
                rows.setdefault(name, [[] for _ in subject.members])[index].append(value)
    return {name: np.array(values) for name, values in rows.items()}


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Scores of every member, and that one layer lacks them."""
    claims: list[Claim] = []
    panels: dict[str, Any] = {}
    for name, subject in subjects.items():
        task = subject.members[0].member.task
        prompts = jax.jit(lambda key, task=task: task.sample(key, config.judge.prompts))(
            stream(config.judge.seed, "induction heads")
        )
        found = follow(subject, prompts)
        exact = float(in_context_score(jax.jit(task.population_predictive)(prompts), prompts.y))
        last = found["prefix matching"][:, :, -1]  # of the last layer, [member, snapshot]
        score = found["in context"][:, -1]
        if subject.model.config.layers > 1:
            back = found["previous token"][:, :, 0]
            for key, values, where in (("prefix_matching", last, "last"), ("previous_token", back, "first")):
                claims.append(
                    members_claim(
                        f"{name}.{key}",
                        f"{key.replace('_', ' ')} score of the best head of the {where} layer, untrained → trained",
                        SOURCE,
                        f"above {HIGH} and {TIMES:g} times the untrained one",
                        [f"{row[0]:.3f} → {row[-1]:.3f}" for row in values],
                        [bool(row[-1] > max(HIGH, TIMES * row[0])) for row in values],
                    )
                )
            claims.append(
                members_claim(
                    f"{name}.in_context",
                    f"in-context score in nats; the exact learner's is {exact:.3f}",
                    SOURCE,
                    f"above {0.5 * exact:.3f}, half of the exact one",
                    [float(value) for value in score],
                    [bool(value > 0.5 * exact) for value in score],
                )
            )
        panels[name] = (subject, found, exact)
    shallow = [name for name, (subject, *_) in panels.items() if subject.model.config.layers == 1]
    deep = [name for name in panels if name not in shallow]
    for one in shallow[: len(deep)]:
        for key, title in (("prefix matching", "prefix-matching"), ("in context", "in-context")):
            low, high = (
                panels[name][1][key].reshape(len(panels[name][0].members), len(panels[name][0].steps), -1)
                for name in (one, deep[0])
            )
            least, most = float(high[:, -1, -1].min()), float(low[:, -1, -1].max())
            claims.append(
                said(
                    f"{one}.{key.replace(' ', '_')}",
                    f"final {title} score: every seed of {deep[0]} above twice every seed of {one}",
                    SOURCE,
                    "least above twice the most",
                    None,
                    f"least {least:.3f}, most {most:.3f}",
                    least > 2 * most,
                    "order",
                )
            )
    draw(panels, directory)
    return claims


def draw(panels: dict[str, Any], directory: RunDirectory) -> None:
    """Head scores and in-context score against the training step, a line per seed."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(
            2,
            len(panels),
            figsize=(4.8 * len(panels), 5.6),
            squeeze=False,
            sharey="row",
            sharex=True,
            layout="constrained",
        )
        for column, (subject, found, exact) in enumerate(panels.values()):
            top, bottom = axes[:, column]
            steps = np.maximum(subject.steps, 1)
            for index in range(len(subject.members)):
                last, back = found["prefix matching"][index, :, -1], found["previous token"][index, :, 0]
                named = index == 0
                top.plot(steps, last, color=COLOURS["H4"], lw=1.2, label="prefix matching, last layer" * named)
                top.plot(steps, back, color=COLOURS["H5"], lw=1.2, ls="--", label="previous token, first layer" * named)
                bottom.plot(steps, found["in context"][index], color="black", lw=1.0, label="model, each seed" * named)
            bottom.axhline(exact, color=COLOURS["H1"], ls="--", lw=1.3, label="exact learner")
            top.set(title=f"{subject.subject.title} ({len(subject.members)} seeds)", ylim=(-0.02, 1.02))
            bottom.set(xscale="log", xlabel="training step")
        axes[0, 0].set_ylabel("attention of the best head")
        axes[1, 0].set_ylabel("in-context score (nats)\nloss early − loss late")
        axes[0, 0].legend(frameon=False, loc="upper left")
        axes[1, 0].legend(frameon=False, loc="lower right")
        save_figure(figure, directory.path / "figures", "induction_heads")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
