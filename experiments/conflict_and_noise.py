"""Contradicting, flipped and imbalanced labels: what counts say, and what a trained model makes of them (D2, D4, D5).

    python experiments/conflict_and_noise.py [quick|paper] [--subjects.two_rules.training.steps 4000 …]

Claim     D5: of two rules that contradict each other everywhere, k of n labels against one of them move the latent
          log-odds to (n − 2k) log[(1−ε)/ε], and the predictive saturates at ±log[(1−ε)/ε]; a trained model follows.
          D2: of two contradicting labels the later one counts as much as the earlier one, at any gap, to the exact
          learner; what the model does is measured, not assumed. D4: where a rule is true of nine of ten examples the
          model's excess probability of the majority label over the posterior's, less the same where it is true of half,
          is its majority bias; whether contextual calibration by a null query removes it is reported.
Source    Bayes' rule; conflict: algebra; majority bias and calibration: Zhao et al. 2021, "Calibrate before use".
Time      quick: 3 minutes on two cores. paper: on an accelerator, not yet run.

With two rules over one bit all three models lean to neither label up to a gap of four (−.10 to .08 nats), and to the
earlier one where seven or more examples lie between them (−.28 to −.38): the exact answer is 0 at any gap. They have no
majority bias (−.007 to .009, the planted learner .10). Calibrating them by an input of zeros, which training never
showed, moves all answers towards one label (by .2, whatever the shares) and adds a little (−.015 to .049).

A planted learner that follows the majority in a share .3 of its answer is the positive control of D4, the exact learner
the negative one.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS, MUTED, SUBJECT
from icl_lab.store.directory import RunDirectory
from icl_lab.stress.biased import BIASES, BiasedLearner
from icl_lab.stress.measure import answers_of, stressed, terms
from icl_lab.stress.mitigations import Calibrated
from icl_lab.stress.perturbations import PERTURBATIONS
from icl_lab.tasks import BooleanRules

BAYES = "Bayes' rule"
SHARES, PLANTED = (0.5, 0.75, 0.9), 0.3
RISE = 0.1  # nats that a curve said to fall may rise from one share to the next
NEAR = 0.2  # of log[(1−ε)/ε], within which a saturated answer must lie


def log_odds(answers: Any) -> np.ndarray:
    """log p(1)/p(0) of the last answer."""
    last = np.asarray(answers.log_probs)[:, -1]
    return last[:, 1] - last[:, 0]


def two_rule_prompts(task: BooleanRules, key: Array, against: np.ndarray) -> Prompts:
    """Prompts over one bit whose example j contradicts the rule "the bit is set" where `against` [prompt, example]."""
    x = jax.random.rademacher(key, (len(against), task.positions, 1), jnp.float32)
    y = (x[..., 0] > 0).at[:, :-1].set((x[:, :-1, 0] > 0) ^ jnp.asarray(against))
    return Prompts(x, y.astype(jnp.int32), jnp.zeros(len(against), jnp.int32), jnp.ones(y.shape, bool))


def falls(curve: np.ndarray, exact: np.ndarray) -> bool:
    """Whether a curve falls, by half of the exact fall at least; from one point to the next it may rise a little."""
    return bool((np.diff(curve) < RISE).all() and curve[0] - curve[-1] >= (exact[0] - exact[-1]) / 2)


def towards_the_rule(answers: Any, prompts: Prompts) -> np.ndarray:
    """Log-odds of what the rule "the bit is set" says of the query."""
    return log_odds(answers) * np.where(np.asarray(prompts.x)[:, -1, 0] > 0, 1, -1)


def flipped(task: BooleanRules, key: Array, count: int, prompts: int) -> Prompts:
    """`count` examples, at random places, contradict the rule."""
    order_key, prompt_key = jax.random.split(key)
    order = jax.vmap(lambda k: jax.random.permutation(k, task.examples))(jax.random.split(order_key, prompts))
    return two_rule_prompts(task, prompt_key, np.asarray(order) < count)


def balanced_with_gap(task: BooleanRules, key: Array, gap: int, prompts: int) -> Prompts:
    """As many labels for the rule as against it; the last example is for it, the one `gap` before it against it."""
    examples = task.examples
    late, early = examples - 1, examples - 1 - gap
    rest = [place for place in range(examples) if place not in (late, early)]
    order_key, prompt_key = jax.random.split(key)
    order = jax.vmap(lambda k: jax.random.permutation(k, len(rest)))(jax.random.split(order_key, prompts))
    against = np.zeros((prompts, examples), bool)
    against[:, rest] = np.asarray(order) < len(rest) // 2
    against[:, early] = True
    return two_rule_prompts(task, prompt_key, against)


def predicted(noise: float, examples: int, against: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latent and predictive log-odds after `against` of so many labels contradict a rule, by the formula alone."""
    unit = np.log((1 - noise) / noise)
    latent = (examples - 2 * against) * unit
    belief = 1 / (1 + np.exp(-latent))
    mean = belief * (1 - noise) + (1 - belief) * noise
    return latent, np.log(mean / (1 - mean))


def majority_shares(task: Any, learners: dict[str, Any], key: Array, prompts: int) -> dict[str, np.ndarray]:
    """P(majority label) − P of the exact learner at the last position, [share, prompt] by learner.

    A name with " calibrated" holds the same after dividing by the answer to a null query and renormalising.
    """
    perturbation = PERTURBATIONS["imbalance"]
    found: dict[str, list[np.ndarray]] = {}
    for share in SHARES:
        given = stressed(perturbation, task, key, prompts, share)
        exact = np.exp(np.asarray(given.trained.log_probs))[:, -1, 1]
        for name, learner in learners.items():
            for kind, asked in ((name, learner), (f"{name} calibrated", Calibrated(learner))):
                odds = log_odds(answers_of(asked, given.after))
                found.setdefault(kind, []).append(1 / (1 + np.exp(-odds)) - exact)
    return {name: np.stack(values) for name, values in found.items()}


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """D5 and D2 on two rules, D4 on conjunctions."""
    seed, prompts = config.judge.seed, config.judge.prompts
    two, rules = subjects["two_rules"], subjects["conjunctions"]
    task: Any = two.members[0].member.task
    noise, examples = float(task.noise), task.examples
    counts, gaps = np.arange(0, examples + 1, 2), np.array([1, 2, 4, 8, examples - 1])
    key = stream(seed, "conflict and noise")
    learners = {f"seed {index}": two.learner(index) for index in range(len(two.members))}
    exact = BiasedLearner(task, 0.0, BIASES["timid"])

    def towards(learner: Any, asked: list[Prompts]) -> np.ndarray:
        return np.stack([towards_the_rule(answers_of(learner, p), p) for p in asked])

    flips = [flipped(task, key, int(count), prompts) for count in counts]
    conflicts = [balanced_with_gap(task, key, int(gap), prompts) for gap in gaps]
    exact_flips, exact_gaps = towards(exact, flips), towards(exact, conflicts)
    latent, formula = predicted(noise, examples, counts)
    unit = float(np.log((1 - noise) / noise))
    model_flips = {name: towards(learner, flips) for name, learner in learners.items()}
    model_gaps = {name: towards(learner, conflicts) for name, learner in learners.items()}

    conjunctions: Any = rules.members[0].member.task
    asked = {f"seed {index}": rules.learner(index) for index in range(len(rules.members))}
    planted = {"planted": BiasedLearner(conjunctions, PLANTED, BIASES["majority"])}
    planted["exact"] = BiasedLearner(conjunctions, 0.0, BIASES["timid"])
    majority = majority_shares(conjunctions, asked | planted, key, prompts)
    gap_distance = conflict_distance(conjunctions, asked, key, prompts)
    draw(directory, counts / examples, (latent, formula), model_flips, gaps, model_gaps, majority, unit)

    ends = [float(values[0].mean()) for values in model_flips.values()]
    spans = {name: bootstrap_interval(values) for name, values in model_gaps.items()}
    apart = {name: values[-1] - values[0] for name, values in majority.items()}  # the same draws at every share
    bias = {name: (values.mean(), *bootstrap_interval(values)) for name, values in apart.items()}
    shown = [
        ", ".join(f"{row.mean():.2f} [{a:.2f}, {b:.2f}]" for row, a, b in zip(values, *spans[name], strict=True))
        for name, values in model_gaps.items()
    ]
    inside = [bool(((low <= 0) & (high >= 0)).all()) for low, high in spans.values()]
    return [
        said(
            id="flips.exact",
            statement="the exact predictive is that of the formula, at every share of flipped labels",
            source=BAYES,
            expected=0.0,
            tolerance="1e-4",
            measured=float(np.abs(exact_flips - formula[:, None]).max()),
            holds=bool(np.abs(exact_flips - formula[:, None]).max() <= 1e-4),
            gate="exact",
        ),
        said(
            id="conflict.exact",
            statement="to the exact learner labels in balance are worth nothing, whichever comes later, at any gap",
            source=BAYES,
            expected=0.0,
            tolerance="1e-4",
            measured=float(np.abs(exact_gaps).max()),
            holds=bool(np.abs(exact_gaps).max() <= 1e-4),
            gate="exact",
        ),
        members_claim(
            "flips.follow",
            "the model's log-odds fall with the share of flipped labels, by half of the exact fall at least",
            BAYES,
            f"from {formula[0]:.2f} to {formula[-1]:.2f}",
            [f"{values.mean(1)[0]:.2f} to {values.mean(1)[-1]:.2f}" for values in model_flips.values()],
            [falls(values.mean(1), formula) for values in model_flips.values()],
            tolerance=f"a step may rise by {RISE:g}",
        ),
        members_claim(
            "flips.saturate",
            f"without flips the model answers with log-odds log[(1−ε)/ε] = {unit:.3f}, not with those of the rule",
            BAYES,
            unit,
            ends,
            [abs(value - unit) <= NEAR * unit for value in ends],
            tolerance=f"{NEAR:.0%}",
        ),
        members_claim(
            "conflict.recency",
            f"log-odds for the later of two contradicting labels are 0 at gaps of {', '.join(map(str, gaps))}",
            "algebra",
            0.0,
            [f"({values})" for values in shown],
            inside,
            gate="report",
        ),
        said(
            id="conflict.conjunctions",
            statement="nats from the exact learner under a contradiction, at gaps of one example, ¼, ½ and all of the "
            "prompt",
            source="algebra",
            expected=None,
            tolerance=None,
            measured="; ".join(f"{name}: {values}" for name, values in gap_distance.items()),
            holds=None,
            gate="report",
        ),
        said(
            id="majority.control",
            statement="where the rule is true of nine of ten examples and not of half of them the planted follower "
            "shows its bias, the exact learner none",
            source="this lab's own control",
            expected="> 0 and 0",
            tolerance="95% interval; 1e-4",
            measured=f"[{bias['planted'][1]:.3f}, {bias['planted'][2]:.3f}]; {np.abs(majority['exact']).max():.1e}",
            holds=bool(bias["planted"][1] > 0 and np.abs(majority["exact"]).max() <= 1e-4),
            gate="order",
        ),
        *(
            members_claim(
                f"majority.{kind.strip() or 'model'}",
                "P(majority) beyond the posterior's where the rule is true of nine of ten examples, less the same "
                f"where it is true of half{kind.replace(' ', ', ')}",
                "Zhao et al. 2021, D4",
                0.0,
                ["{:.3f} [{:.3f}, {:.3f}]".format(*bias[name + kind]) for name in asked],
                [bool(bias[name + kind][1] <= 0 <= bias[name + kind][2]) for name in asked],
                gate="report",
            )
            for kind in ("", " calibrated")
        ),
    ]


def conflict_distance(task: Any, learners: dict[str, Any], key: Array, prompts: int) -> dict[str, str]:
    """D(t‖s) at every gap of the stress test, as text."""
    perturbation = PERTURBATIONS["conflict"]
    rows: dict[str, list[str]] = {name: [] for name in learners}
    for strength in perturbation.strengths:
        given = stressed(perturbation, task, key, prompts, strength)
        for name, learner in learners.items():
            rows[name].append(f"{terms(perturbation, given, learner, strength).distance.mean():.3f}")
    return {name: " ".join(values) for name, values in rows.items()}


def draw(
    directory: RunDirectory,
    share: np.ndarray,
    exact: tuple[np.ndarray, np.ndarray],
    flips: dict[str, np.ndarray],
    gaps: np.ndarray,
    conflicts: dict[str, np.ndarray],
    majority: dict[str, np.ndarray],
    unit: float,
) -> None:
    """Three panels: flipped labels, contradicting labels, imbalanced labels."""
    with style():
        import matplotlib.pyplot as plt

        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
        fine = np.linspace(0, 1, 201)
        latent, formula = np.interp(fine, share, exact[0]), np.interp(fine, share, exact[1])
        left.plot(fine, latent, color=MUTED, linestyle=":", label="log-odds of the rule")
        left.plot(fine, formula, color=COLOURS["H1"], linewidth=3, alpha=0.5, label="exact answer")
        for index, values in enumerate(flips.values()):
            left.plot(
                share, values.mean(1), "o-", ms=3, color=SUBJECT, lw=0.9, label=None if index else "model, per seed"
            )
        left.set(
            xlabel="share of labels flipped",
            ylabel="log-odds of the rule's answer (nats)",
            ylim=(-2.2 * unit, 2.2 * unit),
        )
        left.set_title("flipped labels")
        left.legend(fontsize=8)
        middle.axhline(0, color=COLOURS["H1"], linewidth=3, alpha=0.5, label="exact answer")
        for index, values in enumerate(conflicts.values()):
            low, high = bootstrap_interval(values)
            x = gaps + 0.12 * (index - 1)
            middle.plot(
                x, values.mean(1), "o-", ms=3, color=SUBJECT, lw=0.9, label=None if index else "model, per seed"
            )
            middle.vlines(x, low, high, color=SUBJECT, linewidth=0.9)
        middle.set(xlabel="places from one label to the other", ylabel="log-odds for the later label (nats)")
        middle.set_title("two labels that contradict each other")
        middle.legend(fontsize=8)
        right.axhline(0, color=COLOURS["H1"], linewidth=3, alpha=0.5, label="exact answer")
        seeds = [name for name in majority if name.startswith("seed") and not name.endswith("calibrated")]
        looks = [("planted", COLOURS["H5"], "s--", "planted: follows the majority by .3")]
        for name, colour, look, label in looks:
            right.plot(SHARES, majority[name].mean(1), look, color=colour, ms=4, label=label)
        for index, name in enumerate(seeds):
            for kind, look, alpha, label in (
                ("", "o-", 1.0, "model, per seed"),
                (" calibrated", "o:", 0.45, "after calibration"),
            ):
                values = majority[name + kind]
                low, high = bootstrap_interval(values)
                x = np.array(SHARES) + 0.004 * (index - 1)
                right.plot(
                    x, values.mean(1), look, ms=3, color=SUBJECT, lw=0.9, alpha=alpha, label=None if index else label
                )
                right.vlines(x, low, high, color=SUBJECT, linewidth=0.9, alpha=alpha)
        right.set(xlabel="share of examples of which the rule is true", ylabel="P(majority) beyond the posterior's")
        right.set_title("imbalanced labels")
        right.set_ylim(top=0.47)
        right.legend(fontsize=8, loc="upper left")
        save_figure(figure, directory.path / "figures", "conflict_and_noise")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
