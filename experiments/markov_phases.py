"""Statistical induction heads form in phases: uniform, then unigram, then bigram (B1).

    python experiments/markov_phases.py [quick|paper] [--subjects.two_states.training.steps 5000 …]

Claim     A two-layer attention-only transformer trained on Markov chains with Dirichlet rows first answers uniformly,
          then like the frequencies of states (unigram counts), and drops suddenly to the frequencies of transitions
          (bigram counts), which are the posterior predictive. Where all states are equally frequent whatever the chain
          (doubly stochastic) the detour by the unigram solution is closed and the drop comes earlier.
Source    Edelman et al. 2024, "The evolution of statistical induction heads: in-context learning Markov chains". Losses
          over 100 predictions, chains started from their stationary distribution, one pseudo-count per state: uniform
          .6931, unigram .577, bigram .5105, entropy rate .4808 for two states; 1.0986, 1.005, .886, .8188 for three.
          The models are trained on chains that start uniformly, where bigram counts are the exact posterior predictive;
          counting states is worse there by .005, the rest hardly changes.
Time      quick: 4 to 5 minutes on two cores. paper: the published learning rate, longer.

The drop is the first snapshot at which more than half of the way from the unigram to the bigram loss is done.

What fails: that the drop comes earlier on doubly stochastic chains. In quick their median is 137 steps against 116.
With the published width and learning rate (6,000 steps, five seeds) it is 568 steps on both; in quick with matrices
balanced by Sinkhorn's iteration, in place of circulant ones whose rows are equal up to a shift, it is 183. Both kinds
of chains have a plateau, at the unigram loss or at log 3. Our guess: at these rates the plateau waits for the first
layer to find the previous token, which a unigram solution hardly delays.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.counts import context_counts
from icl_lab.learners.decoys import uniform
from icl_lab.report.experiments import plain_ticks, save_figure, style
from icl_lab.report.text.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory
from icl_lab.tasks import MarkovChain

SOURCE = "Edelman et al. 2024"
PUBLISHED = {
    2: {"uniform": 0.6931, "unigram": 0.577, "bigram": 0.5105, "entropy rate": 0.4808},
    3: {"uniform": 1.0986, "unigram": 1.005, "bigram": 0.886, "entropy rate": 0.8188},
}
TOLERANCE = {"uniform": 1e-4, "unigram": 2e-3, "bigram": 2e-3, "entropy rate": 3e-4}
EXCESS = 0.01  # nats above the bigram learner that a trained model may have
SEEDS = 4 / 5  # of the seeds have to pass through the unigram phase
CHAINS, BATCHES, MATRICES = 1 << 15, 4, 1 << 20  # standard errors of the losses: below .001
LOOKS = {"uniform": ("0.5", ":"), "unigram": (COLOURS["H2"], "--"), "bigram": (COLOURS["H1"], "-")}


def references(task: MarkovChain, prompts: Prompts) -> dict[str, Predictions]:
    """The answers of the three phases, counts with one pseudo-count per state; the first state is one that was seen."""
    unigram = task.replace(rows="unigram", initial="stationary", concentration=1.0).population_predictive(prompts)
    assert unigram is not None
    return {"uniform": uniform(task, prompts), "unigram": unigram, "bigram": context_counts(task, prompts, 1.0)}


@jax.jit
def entropy_rate(task: MarkovChain, latent: jax.Array) -> jax.Array:
    """Σ_s π_s H(P_s) in nats."""
    return -(task.stationary(latent)[:, None] * latent * jnp.log(jnp.maximum(latent, 1e-30))).sum()


@jax.jit
def mean_entropy_rate(task: MarkovChain) -> jax.Array:
    """E[Σ_s π_s H(P_s)] over MATRICES matrices."""
    keys = jax.random.split(stream(0, "entropy rate"), MATRICES)
    return jax.lax.map(lambda key: entropy_rate(task, task.draw_latent(key)), keys, batch_size=4096).mean()


@jax.jit
def reference_losses(task: MarkovChain, rate: jax.Array) -> dict[str, jax.Array]:
    """Mean loss of the references: what each loses to the chain's own entropy rate is simulated, `rate` is its mean."""

    def simulate(key: jax.Array) -> dict[str, jax.Array]:
        prompts = task.sample(key, CHAINS // BATCHES)
        own = jax.vmap(lambda latent: entropy_rate(task, latent))(prompts.latent)
        answers = references(task, prompts).items()
        return {n: (a.loss(prompts.y).mean(1) - (0 if n == "uniform" else own - rate)).mean() for n, a in answers}

    return jax.tree.map(jnp.mean, jax.lax.map(simulate, jax.random.split(stream(0, "reference losses"), BATCHES)))


@jax.jit
def distances(learner: Any, task: MarkovChain, prompts: Prompts) -> dict[str, jax.Array]:
    """Mean loss of the model and mean KL(model ‖ reference), nats per position."""
    own = learner(prompts)
    found = {name: own.divergence(answer, 1.0).mean() for name, answer in references(task, prompts).items()}
    return {**found, "loss": own.loss(prompts.y).mean()}


def follow(subject: TrainedSubject, prompts: Prompts) -> dict[str, np.ndarray]:
    """`distances` of every member at every snapshot, [member, snapshot]."""
    task = subject.members[0].member.task
    rows: list[list[dict[str, Any]]] = [[] for _ in subject.members]
    for step in subject.steps:
        params = subject.snapshots.load(step)
        for index, row in enumerate(rows):
            row.append(jax.device_get(distances(subject.learner(index, params), task, prompts)))
    return {name: np.array([[found[name] for found in row] for row in rows]) for name in rows[0][0]}


def drop(loss: np.ndarray, unigram: float, bigram: float) -> int | None:
    """The first snapshot with more than half of the way from unigram to bigram loss done; None: there is none."""
    below = np.flatnonzero(loss < (unigram + bigram) / 2)
    return int(below[0]) if len(below) else None


def passes_through_unigram(to_unigram: np.ndarray, dropped: int | None) -> bool:
    """Whether the KL to the unigram learner is least at a snapshot after the first and before the drop, then grows."""
    least = int(to_unigram.argmin())
    return dropped is not None and 0 < least < dropped and to_unigram[-1] > 2 * to_unigram[least]


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Reference losses, then every member's way through the phases."""
    claims, panels, dropped = [], {}, {}
    for name, subject in subjects.items():
        task = subject.members[0].member.task
        assert isinstance(task, MarkovChain)
        rate = mean_entropy_rate(task)
        claims += reference_claims(name, subject.subject.title, task, rate)
        prompts = jax.jit(lambda key, task=task: task.sample(key, config.judge.prompts))(
            stream(config.judge.seed, "markov phases")
        )
        found = follow(subject, prompts)
        own = {
            key: float(answer.loss(prompts.y).mean()) for key, answer in references(task, prompts).items()
        }  # on the same prompts
        dropped[name] = [drop(row, own["unigram"], own["bigram"]) for row in found["loss"]]
        excess = [float(row[-1] - own["bigram"]) for row in found["loss"]]
        gate = "exact" if task.rows == "dirichlet" and task.states == 2 else "report"
        claims.append(
            members_claim(
                f"{name}.final",
                f"final loss minus that of bigram counts on the same prompts, {subject.subject.title}, nats",
                SOURCE,
                f"at most {EXCESS}",
                excess,
                [value <= EXCESS for value in excess],
                gate=gate,
            )
        )
        if task.rows == "dirichlet":
            through = [passes_through_unigram(*pair) for pair in zip(found["unigram"], dropped[name], strict=True)]
            claims.append(
                members_claim(
                    f"{name}.phases",
                    "KL to the unigram learner is least between the first snapshot and the drop, and grows after it",
                    SOURCE,
                    f"in at least {SEEDS:.0%} of the seeds",
                    [f"least {row.min():.3g}, end {row[-1]:.3g}" for row in found["unigram"]],
                    through,
                    at_least=int(np.ceil(SEEDS * len(through))),
                )
            )
        panels[name] = (subject, own | {"entropy rate": float(rate)}, found, dropped[name])
    claims += _earlier(subjects, dropped)
    draw(panels, directory)
    return claims


def reference_claims(name: str, title: str, task: MarkovChain, rate: jax.Array) -> list[Claim]:
    """The published losses against those of stationary chains; from a uniform start unigram counts are worse."""
    published = PUBLISHED.get(task.states, {}) if task.rows == "dirichlet" and task.examples == 99 else {}
    claims = []
    for start in ("stationary", "uniform") if published else ():
        losses = jax.device_get(reference_losses(task.replace(initial=start), rate))
        found = {key: float(value) for key, value in losses.items()} | {"entropy rate": float(rate)}
        for key, value in published.items():
            shown = key if key == "entropy rate" else f"mean loss of the {key} learner"
            claims.append(
                said(
                    f"{name}.{start}.{key.replace(' ', '_')}",
                    f"{shown}, {title}, {start} start, nats",
                    SOURCE,
                    value,
                    TOLERANCE[key],
                    found[key],
                    abs(found[key] - value) <= TOLERANCE[key],
                    "report" if start == "uniform" and key == "unigram" else "exact",
                )
            )
    return claims


def _earlier(subjects: Subjects, dropped: dict[str, list[int | None]]) -> list[Claim]:
    """Doubly stochastic chains drop earlier than free ones of as many states."""
    claims = []
    tasks: dict[str, Any] = {name: subject.members[0].member.task for name, subject in subjects.items()}
    for name, task in tasks.items():
        others = [o for o, t in tasks.items() if t.rows == "dirichlet" and t.states == task.states]
        if task.rows != "doubly_stochastic" or not others:
            continue
        shown = {}
        for each in (name, others[0]):
            steps = subjects[each].steps
            shown[each] = sorted(np.inf if at is None else steps[at] for at in dropped[each])
        medians = {each: float(np.median(values)) for each, values in shown.items()}
        claims.append(
            said(
                f"{name}.earlier",
                f"the drop comes earlier on doubly stochastic chains of {task.states} states (median over seeds)",
                SOURCE,
                "earlier",
                None,
                "; ".join(f"{each}: steps {', '.join(f'{v:g}' for v in values)}" for each, values in shown.items()),
                medians[name] < medians[others[0]],
                "order",
            )
        )
    return claims


def draw(panels: dict[str, tuple], directory: RunDirectory) -> None:
    """Loss and KL to the three learners during training, a line per seed; the drop shaded from first to last seed."""
    import matplotlib.pyplot as plt
    from matplotlib.patheffects import withStroke

    with style():
        figure, axes = plt.subplots(
            2, len(panels), figsize=(4.0 * len(panels), 6.0), squeeze=False, sharex="col", layout="constrained"
        )
        for column, (subject, own, found, dropped) in enumerate(panels.values()):
            top, bottom = axes[:, column]
            steps = np.maximum(subject.steps, 1)
            top.plot(steps, found["loss"].T, color="black", lw=0.9, alpha=0.7)
            for name, value in own.items():
                colour, line = LOOKS.get(name, ("0.3", "-."))
                top.axhline(value, color=colour, ls=line, lw=1.2)
                below = name == "entropy rate"
                top.annotate(
                    name,
                    (1, value),
                    xytext=(3, -3 if below else 3),
                    textcoords="offset points",
                    color=colour,
                    va="top" if below else "bottom",
                    path_effects=[withStroke(linewidth=3, foreground="white")],
                )
            low, high = min(own.values()), max(own.values())
            top.set_ylim(low - 0.15 * (high - low), high + 0.2 * (high - low))
            for name, (colour, line) in LOOKS.items():
                for index, row in enumerate(found[name]):
                    label = f"to {name}" if index == 0 else None
                    bottom.plot(steps, row, color=colour, ls=line, lw=1.0, alpha=0.8, label=label)
            at = [steps[index] for index in dropped if index is not None]
            for axis in (top, bottom) if at else ():
                axis.axvspan(min(at) / 1.08, max(at) * 1.08, color="0.5", alpha=0.18, lw=0)
            if at:
                middle = np.sqrt(min(at) * max(at))
                top.annotate(
                    "drop", (middle, high), xytext=(0, 12), textcoords="offset points", ha="center", color="0.35"
                )
            top.set(title=f"{subject.subject.title} ({len(subject.members)} seeds)")
            bottom.set(xscale="log", yscale="log", xlabel="training step")
            plain_ticks(bottom.yaxis)
        axes[0, 0].set_ylabel("loss (nats per state)")
        axes[1, 0].set_ylabel("KL of the model to a learner (nats)")
        axes[1, 0].legend(frameon=False, loc="lower left")
        save_figure(figure, directory.path / "figures", "markov_phases")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
