"""What decoding does to chains that a network goes on writing by itself (D8).

    python experiments/decoding.py [quick|paper] [--subjects.chains.training.steps 10000 …]

Claim     On given prompts a decoded distribution is the learner's to the power 1/T. Chains that are generated
          are not those of P^(1/T): the learner reads its own decoded outcomes and becomes surer of them. A trained
          network does there what the exact learner does. A frequency penalty flattens the rows of the generated
          transition matrix; a repetition penalty on log probabilities sharpens them.
Source    Holtzman et al. 2020, "The curious case of neural text degeneration" (top-p, feedback); Keskar et al. 2019,
          "CTRL" (repetition penalty).
Time      quick: 3 to 4 minutes on two cores. paper: on an accelerator, not yet run.

The exact learner, which is Dirichlet counts or the posterior over a pool, generates under the same rule from the same
beginnings with the same noise; what it does is no fault of the network's. A row of the generated transition matrix is
the mean decoded distribution over the visits of a state: in expectation the shares that are counted, without the
noise that makes the maximum of a counted row too large. Rows with fewer than FEW visits by any learner compared are
left out and counted (43% at T = ½); the mean over the rows of a chain is one value, and intervals are over prompts.

Penalties follow algebra. Once every state has been seen, a repetition penalty θ multiplies all log probabilities by
θ: it is temperature 1/θ. A frequency penalty evens out how often states come: on long chains P goes to P·diag(d),
normalised by rows, with d such that the stationary distribution is uniform. For one who knows P that takes some .05 off
the row maximum, and stronger penalties flatten no further, so only the weak ones are gated.

At T = ½ generating adds .12 to the row maximum of a network and of the exact learner, whose rollouts the networks'
match within .007; P^(1/T) is .09 below both: the network is faithful and its chains are not. The frequency penalty
takes the maximum from .57 to .52 at .1, stronger ones raise it again; the repetition penalty, from .59 to .85 at 2.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.answers import Learner, sample
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS, MUTED, SUBJECT
from icl_lab.store.directory import RunDirectory
from icl_lab.stress.decoding import Decoding
from icl_lab.stress.generation import (
    decoded,
    distortion,
    exact_learner,
    generate,
    knowing_learner,
    row_maxima,
    transitions,
)

SOURCE = "Holtzman et al. 2020"
COLD = 0.5
TEMPERATURES = (0.3, COLD, 0.7, 1.0, 1.5)
FREQUENCIES = (0.0, 0.03, 0.1, 0.3, 1.0)
GATED = 3  # of these strengths, the weakest: from there on the rows of a known chain are as flat as they become
REPETITIONS = (1.0, 1.2, 1.5, 2.0)
FEW = 5  # visits
SWEEPS: dict[str, tuple[float, ...]] = {  # field of `Decoding` → its values
    "temperature": TEMPERATURES,
    "frequency": FREQUENCIES,
    "repetition": REPETITIONS,
    "top_p": (0.5, 0.7, 0.9, 1.0),
    "top_k": (1, 2),
}
PANELS = {"Temperature": ("temperature",), "Penalties": ("frequency", "repetition"), "Cut-offs": ("top_p", "top_k")}


class Written(NamedTuple):
    """What a learner wrote under one rule, and what it answers on the prompts' own chains; numpy arrays.

    Attributes:
        counted, expected: transitions of what it generated, [prompt, state, next].
        forced: expected transitions on the prompts' own chains, decoded all the same.
        own: counted transitions of the prompts' own chains.
        distortion: of the generated chains, nats per token, [prompt].
        plain, decoded: log probabilities on the prompts' own chains, [prompt, position, state].
    """

    counted: Any
    expected: Any
    forced: Any
    own: Any
    distortion: Any
    plain: Any
    decoded: Any


class Sweep(NamedTuple):
    """What every learner wrote under every rule of a sweep: [member][rule], [rule], [rule]."""

    members: list[list[Written]]
    exact: list[Written]
    known: list[Written]

    def usable(self, rules: Iterable[int]) -> np.ndarray:
        """Rows that everybody compared visited FEW times under all these rules, [prompt, state]."""
        found = self.exact[0].own.sum(-1) >= FEW
        for index in rules:
            for written in (self.exact[index], self.known[index], *(member[index] for member in self.members)):
                found = found & (written.counted.sum(-1) >= FEW)
        return found


def given(prompts: Prompts) -> int:
    """Tokens that are given: a quarter of the chain."""
    return (prompts.positions + 1) // 4


@jax.jit
def read(learner: Learner, task: Any, rolled: Prompts, own: Prompts, rule: Decoding) -> Written:
    """The measures, of generated chains and of the prompts' own."""
    first = given(own) - 1
    plain, answers = decoded(learner, rolled, rule)
    counted, expected = transitions(task, rolled, answers, first)
    apart = distortion(plain, answers, first)
    plain, answers = decoded(learner, own, rule)
    visited, forced = transitions(task, own, answers, first)
    return Written(counted, expected, forced, visited, apart, plain.log_probs, answers.log_probs)


def rules(sweep: str) -> list[Decoding]:
    """The rules of a sweep; all sweeps have the one that changes nothing in common."""
    return [Decoding(**{sweep: value}) for value in SWEEPS[sweep]]


def write(learner: Learner, task: Any, prompts: Prompts, key: jax.Array) -> dict[Decoding, Written]:
    """Generate and measure under every rule, with the same noise."""
    found = {}
    for rule in dict.fromkeys(rule for sweep in SWEEPS for rule in rules(sweep)):
        rolled = generate(learner, task, prompts, rule, key, given(prompts))
        found[rule] = jax.tree.map(np.asarray, read(learner, task, rolled, prompts, rule))
    return found


def means(matrices: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Mean row maximum over the usable rows of every prompt that has any, [prompt]."""
    maxima = np.where(usable, np.asarray(row_maxima(jnp.asarray(matrices))), 0.0)
    some = usable.any(1)
    return maxima[some].sum(1) / usable[some].sum(1)


def shown(values: np.ndarray, sign: str = "") -> str:
    """A mean with its 95% interval over prompts."""
    low, high = bootstrap_interval(np.asarray(values, float))
    return f"{values.mean():{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


def power_error(written: list[Written], temperatures: Sequence[float]) -> float:
    """The largest difference of a decoded probability from p^(1/T)/Σ p^(1/T), worked out in float64."""
    worst = 0.0
    for each, value in zip(written, temperatures, strict=True):
        powers = np.exp(each.plain.astype(np.float64)) ** (1 / value)
        exact = powers / powers.sum(-1, keepdims=True)
        worst = max(worst, float(np.abs(np.exp(each.decoded.astype(np.float64)) - exact).max()))
    return worst


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Every sweep of every subject, its claims, and a figure each."""
    claims: list[Claim] = []
    for name, subject in subjects.items():
        task: Any = subject.members[0].member.task
        prompts = sample(task, stream(config.judge.seed, "decoding: prompts"), config.judge.prompts)
        key = stream(config.judge.seed, "decoding: noise")
        learners = [subject.learner(index) for index in range(len(subject.members))]
        members = [write(learner, task, prompts, key) for learner in learners]
        exact, known = (write(make(task), task, prompts, key) for make in (exact_learner, knowing_learner))
        sweeps = {
            sweep: Sweep(
                [[found[rule] for rule in rules(sweep)] for found in members],
                [exact[rule] for rule in rules(sweep)],
                [known[rule] for rule in rules(sweep)],
            )
            for sweep in SWEEPS
        }
        title = subject.subject.title
        claims += temperature_claims(name, title, sweeps["temperature"], given(prompts) - 1)
        claims += penalty_claims(name, title, sweeps)
        claims.append(left_out(name, title, sweeps))
        draw(name, title, sweeps, directory)
    return claims


def temperature_claims(name: str, title: str, sweep: Sweep, first: int) -> list[Claim]:
    """Powers on given prompts; from position `first` on at T = COLD what feedback adds."""
    at = TEMPERATURES.index(COLD)
    usable = sweep.usable([at])
    exact, known = means(sweep.exact[at].expected, usable), means(sweep.known[at].expected, usable)
    forced = means(sweep.exact[at].forced, usable)
    own = [means(member[at].expected, usable) for member in sweep.members]
    own_forced = [means(member[at].forced, usable) for member in sweep.members]
    errors = [power_error(member, TEMPERATURES) for member in sweep.members]
    apart = []
    for member in sweep.members:
        p, log_q = np.exp(sweep.exact[at].decoded), member[at].decoded
        apart.append((p * (sweep.exact[at].decoded - log_q)).sum(-1)[:, first:].mean(1))
    counted = [
        means(written.counted, usable) - means(sweep.known[at].counted, usable)
        for written in (sweep.exact[at], *(member[at] for member in sweep.members))
    ]
    return [
        members_claim(
            f"{name}.power",
            f"on given prompts answers at T = {TEMPERATURES[0]} to {TEMPERATURES[-1]} are p^(1/T), normalised, {title}",
            "algebra",
            0.0,
            [f"{error:.1e}" for error in errors],
            [error <= 1e-6 for error in errors],
            tolerance="1e-6",
            gate="exact",
        ),
        members_claim(
            f"{name}.teacher_forced",
            f"there, KL from the exact learner at T = {COLD} to the network at T = {COLD}, nats, {title}",
            "D8",
            None,
            [shown(values) for values in apart],
            [True for _ in apart],
            gate="report",
        ),
        members_claim(
            f"{name}.rollout",
            f"row maxima of chains generated at T = {COLD} are nearer to the exact learner's ({shown(exact)}) than to "
            f"those of P^(1/T) ({shown(known)}), {title}",
            SOURCE,
            "less than half as far from the exact learner's as that is from P^(1/T)",
            [f"{shown(values)}; {shown(values - exact, '+')} against {shown(values - known, '+')}" for values in own],
            [bool(abs((values - exact).mean()) < abs((exact - known).mean()) / 2) for values in own],
        ),
        members_claim(
            f"{name}.feedback",
            f"what generating adds at T = {COLD} to row maxima of the same learner on given prompts "
            f"(the exact learner: {shown(exact - forced, '+')}), {title}",
            SOURCE,
            "above 0 by more than the interval",
            [shown(a - b, "+") for a, b in zip(own, own_forced, strict=True)],
            [bool(bootstrap_interval(a - b)[0] > 0) for a, b in zip(own, own_forced, strict=True)],
        ),
        members_claim(
            f"{name}.counted",
            f"row maxima counted in chains generated at T = {COLD}, above those of a learner that is told the chain "
            f"(the exact learner: {shown(counted[0], '+')}), {title}",
            "D8",
            "about .10 for the exact learner",
            [shown(values, "+") for values in counted[1:]],
            [bool(bootstrap_interval(values)[0] > 0) for values in counted[1:]],
            gate="report",
        ),
    ]


def penalty_claims(name: str, title: str, sweeps: dict[str, Sweep]) -> list[Claim]:
    """Frequency flattens, repetition sharpens; what both cost, in the network and in the exact learner."""
    claims = []
    for sweep, strengths, gated, sign, words in (
        ("frequency", FREQUENCIES, GATED, -1, "falls with a frequency penalty"),
        ("repetition", REPETITIONS, len(REPETITIONS), 1, "rises with a repetition penalty"),
    ):
        found = sweeps[sweep]
        usable = found.usable(range(len(strengths)))

        def maxima(written: list[Written], usable: np.ndarray = usable) -> np.ndarray:
            return np.array([means(each.expected, usable).mean() for each in written])

        rows = [maxima(member) for member in found.members]
        listed = ", ".join(f"{strength:g}" for strength in strengths)
        claims.append(
            members_claim(
                f"{name}.{sweep}",
                f"row maximum of what is generated {words} ({listed}; the exact learner: "
                f"{spelled(maxima(found.exact))}, told the chain: {spelled(maxima(found.known))}), {title}",
                "algebra" if sweep == "frequency" else "algebra; Keskar et al. 2019",
                f"{'falls' if sign < 0 else 'rises'} up to {strengths[gated - 1]:g}",
                [spelled(row) for row in rows],
                [bool((sign * np.diff(row[:gated]) > 0).all()) for row in rows],
            )
        )
        costs = [np.array([each.distortion.mean() for each in member]) for member in found.members]
        exact = np.array([each.distortion.mean() for each in found.exact])
        claims.append(
            members_claim(
                f"{name}.{sweep}_cost",
                f"KL of what is generated from that without penalty, nats per token, by strength of a {sweep} penalty "
                f"(the exact learner: {spelled(exact)}), {title}",
                "D8",
                "grows with the strength",
                [spelled(row) for row in costs],
                [bool((np.diff(row) > 0).all()) for row in costs],
                gate="report",
            )
        )
    return claims


def spelled(values: np.ndarray) -> str:
    return " / ".join(f"{abs(round(float(value), 3)):.3f}" for value in values)


def left_out(name: str, title: str, sweeps: dict[str, Sweep]) -> Claim:
    """How many rows were visited too rarely by somebody to be compared."""
    texts = []
    for sweep, found in sweeps.items():
        shares = [1 - found.usable([index]).mean() for index in range(len(found.exact))]
        texts.append(f"{sweep} {', '.join(f'{share:.0%}' for share in shares)}")
    return said(
        f"{name}.left_out",
        f"rows left out, visited less than {FEW} times by some learner, by rule, {title}",
        "this experiment",
        None,
        None,
        "; ".join(texts),
        None,
        "report",
    )


def draw(name: str, title: str, sweeps: dict[str, Sweep], directory: RunDirectory) -> None:
    """Row maxima above, distortion below, by rule; a thin line per seed with its interval over prompts."""
    import matplotlib.pyplot as plt

    with style():
        figure, axes = plt.subplots(2, 3, figsize=(11.5, 6.2), sharey="row", sharex="col", layout="constrained")
        for (upper, lower), (words, names) in zip(axes.T, PANELS.items(), strict=True):
            upper.set_title(words)
            start, ticks = 0, {}
            for sweep in names:
                found, places = sweeps[sweep], start + np.arange(len(SWEEPS[sweep]))
                usable = [found.usable([index]) for index in range(len(places))]
                if words == "Penalties":  # the same rows throughout: what falls or rises must be comparable
                    usable = [found.usable(range(len(places)))] * len(places)
                _maxima(upper, places, found, usable)
                _costs(lower, places, found)
                ticks |= dict(zip(places, (f"{value:g}" for value in SWEEPS[sweep]), strict=True))
                label, start = sweep.replace("_", "-"), places[-1] + 2
                label += {"temperature": " T", "frequency": " penalty", "repetition": " penalty"}.get(sweep, "")
                where: Any = ("data", "axes fraction")
                lower.annotate(
                    label, (places.mean(), 0), (0, -28), where, textcoords="offset points", ha="center", va="top"
                )
            lower.set_xticks(list(ticks), list(ticks.values()))
        axes[0, 0].set(ylabel="mean row maximum of the\ngenerated transition matrix")
        axes[1, 0].set(ylabel="KL from T = 1 without penalties\n(nats per token)")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.suptitle(f"What decoding makes of a chain that is generated: {title}")
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        save_figure(figure, directory.path / "figures", f"decoding_{name}")
        plt.close(figure)


def _maxima(axis: Any, places: np.ndarray, found: Sweep, usable: list[np.ndarray]) -> None:
    """Row maxima of one sweep."""

    def line(written: list[Written], kind: str) -> list[np.ndarray]:
        return [means(getattr(each, kind), rows) for each, rows in zip(written, usable, strict=True)]

    def centres(values: list[np.ndarray]) -> list[float]:
        return [float(value.mean()) if len(value) else np.nan for value in values]

    axis.plot(places, centres(line(found.known, "expected")), "--", color=MUTED, label="the true P, decoded")
    axis.plot(
        places, centres(line(found.exact, "forced")), ":", color=COLOURS["H1"], label="exact learner on given prompts"
    )
    axis.plot(
        places, centres(line(found.exact, "expected")), color=COLOURS["H1"], lw=2.4, label="exact learner, rollout"
    )
    for index, member in enumerate(found.members):
        shift = places + 0.06 * (index - (len(found.members) - 1) / 2)
        forced, values = line(member, "forced"), line(member, "expected")
        axis.plot(shift, centres(forced), ":", color=SUBJECT, lw=1, label="" if index else "networks on given prompts")
        axis.plot(
            shift, centres(values), color=SUBJECT, lw=0.9, label="" if index else "networks, rollout (a line per seed)"
        )
        for place, value in zip(shift, values, strict=True):
            if len(value):
                axis.vlines(place, *bootstrap_interval(value.astype(float)), color=SUBJECT, lw=0.8)


def _costs(axis: Any, places: np.ndarray, found: Sweep) -> None:
    """Distortion of one sweep."""
    axis.plot(places, [each.distortion.mean() for each in found.known], "--", color=MUTED)
    axis.plot(places, [each.distortion.mean() for each in found.exact], color=COLOURS["H1"], lw=2.4)
    for index, member in enumerate(found.members):
        shift = places + 0.06 * (index - (len(found.members) - 1) / 2)
        axis.plot(shift, [each.distortion.mean() for each in member], color=SUBJECT, lw=0.9)
        for place, each in zip(shift, member, strict=True):
            axis.vlines(place, *bootstrap_interval(each.distortion.astype(float)), color=SUBJECT, lw=0.8)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
