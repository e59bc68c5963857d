"""What a network recalls follows what training asked for, and which of two contradicting labels counts (D1, D2).

    python experiments/recency.py [quick|paper] [--subjects.uniform.training.steps 4000 …]

Claim     D1: a small network that recalls one of many pairs is best where training asked most: with the last pairs
          asked most it favours them (recency), with both ends it is worst in the middle (U), and with all asked alike
          it does not favour the last. D2: where one key has two values in turn and the later is right with probability
          P, the exact log-odds of the later are log P/(1 − P) at any gap; the network's grow with P, and are measured
          over the gap.
Source    D1 after Liu et al. 2023, "Lost in the middle", and Salvatore et al. 2025, "Lost in the middle: an emergent
          property from information retrieval demands in LLMs"; D2: algebra. Gates were fixed before looking, the
          equivalence afterwards.
Time      quick: three minutes on two cores. paper: on an accelerator, not yet run.

All networks of D1 answer prompts in which every pair is asked for equally often; the exact learner recalls every pair
with certainty, so the network's −log p(right value) is its excess in nats. That training on all alike does not favour
the last is an equivalence: the whole 95% interval of how much worse the last third is recalled than the first lies
above −.05 nats. That is asked in four times as many prompts: intervals of 4,096 had been seen to reach −.07. D2:
prompts with every gap between the two pairs; log-odds are log p(later value) − log p(earlier value), their slope over
the gap is that of least squares.

A head of two channels does not recall all of 16 pairs (.4 to .6 nats left where training asked for all alike). Asked
for the last ones it gains .60 to .82 nats there over the first third, in every seed; asked for all alike it favours no
end (−.01 to +.01, every interval within ±.04). That both ends are favoured *fails*: the excess in the middle is higher
in all seeds, by .02 to .13 nats, but beyond the intervals in two of four. Contradictions are weighted as training had
them: .00 ± .01 at P = .5 and 1.03 to 1.12 at P = .75 (exact: 1.10). The gap matters where positions are known: at P =
.75 learned positions bend the log-odds by +.006 to +.074 nats a position, ALiBi by +.007 to +.028, a causal network
without positions by at most .003.
"""

from typing import Any, cast

import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment, said
from icl_lab.learners.answers import answers_of, sample
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.vocabulary import COLOURS
from icl_lab.store.directory import RunDirectory

LOST, ODDS = "D1; Liu et al. 2023; Salvatore et al. 2025", "D2; algebra"
RESAMPLES = 500
FLAT, MORE = 0.05, 4  # nats that count as no recency, and how many times the prompts it takes to tell
SURE = 0.95  # P above which log-odds need not grow
SCHEMES = {"learned": "Learned positions", "none": "No positions", "alibi": "ALiBi"}
SHADES = (COLOURS["H1"], COLOURS["H4"], COLOURS["H5"])


def places(prompts: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """The earliest and the latest pair with the query's key, [prompt]."""
    keys = np.asarray(prompts.x).argmax(-1)
    same = keys[:, :-1] == keys[:, -1:]
    return same.argmax(1), same.shape[1] - 1 - same[:, ::-1].argmax(1)


# -- D1: which position is recalled ----------------------------------------------------------------------------------


def by_position(values: np.ndarray, place: np.ndarray, positions: int) -> np.ndarray:
    """Mean of the values at every position asked for."""
    return np.bincount(place, values, positions) / np.bincount(place, minlength=positions)


def thirds(place: np.ndarray, positions: int) -> np.ndarray:
    """0, 1 or 2: in which third of the prompt a position is; the middle takes what does not divide by three."""
    width = positions // 3
    return np.where(place < width, 0, np.where(place >= positions - width, 2, 1))


def apart(values: np.ndarray, third: np.ndarray, first: int, second: int) -> tuple[float, float, float]:
    """Mean value in one third less that in another, with its 95% interval over prompts."""
    rng = np.random.default_rng(0)
    means = []
    for part in (values[third == first], values[third == second]):
        drawn = rng.multinomial(len(part), np.full(len(part), 1 / len(part)), RESAMPLES) @ part / len(part)
        means.append((part.mean(), drawn))
    low, high = np.quantile(means[0][1] - means[1][1], [0.025, 0.975])
    return float(means[0][0] - means[1][0]), float(low), float(high)


def demand_kind(task: Any) -> str:
    """What training asks for: "uniform", "end" or "both"."""
    return "both" if task.start > 0 else "end" if task.end > 0 else "uniform"


ORDERS = {  # demand → what its networks should do, in words, and the thirds whose excess should be above another's
    "uniform": ("recall, and do not favour the last third: excess there less that in the first",
                f"flat or primacy: above −{FLAT}", [(2, 0)]),
    "end": ("favour the last third: excess in the first less that in the last", "recency: above 0", [(0, 2)]),
    "both": ("favour the ends: excess in the middle less that in the first and in the last third", "U: above 0",
             [(1, 0), (1, 2)]),
}  # fmt: skip


def recall_claims(
    name: str, title: str, kind: str, excess: list[np.ndarray], third: np.ndarray, guess: float
) -> list[Claim]:
    """The order that the demand should bring, and how much is recalled at all; `guess` is the excess of a guess."""
    statement, expected, pairs = ORDERS[kind]
    found = [[apart(values, third, *pair) for pair in pairs] for values in excess]
    return [
        members_claim(
            f"{name}.order",
            f"networks with {title} {statement}, nats",
            LOST,
            expected,
            [" and ".join(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})" for mean, low, high in row) for row in found],
            # Flat counts where something is recalled: only a lead of the last third is a recency nobody asked for.
            [
                all(low > (-FLAT if kind == "uniform" else 0) for _, low, _ in row)
                and (kind != "uniform" or bool(values.mean() < guess / 2))
                for row, values in zip(found, excess, strict=True)
            ],
        ),
        members_claim(
            f"{name}.level",
            f"mean excess over the exact learner where all positions are asked alike, nats, {title}",
            LOST,
            None,
            [float(values.mean()) for values in excess],
            [True for _ in excess],
            gate="report",
        ),
    ]


# -- D2: which of two labels counts ----------------------------------------------------------------------------------


def log_odds(answer: Any, prompts: Prompts) -> np.ndarray:
    """log p(value of the latest pair) − log p(value of the earliest) at the query, [prompt]."""
    rows = np.arange(len(prompts.y))
    log_probs, values = np.asarray(answer.log_probs[:, -1], float), np.asarray(prompts.y)
    early, late = places(prompts)
    return log_probs[rows, values[rows, late]] - log_probs[rows, values[rows, early]]


def slope(odds: np.ndarray, gap: np.ndarray) -> tuple[float, float, float]:
    """Least-squares slope of the log-odds over the gap, with its 95% interval over prompts, nats per position."""
    count = len(odds)
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count

    def found(weight: np.ndarray) -> np.ndarray:
        mean_gap, mean_odds = weight @ gap, weight @ odds
        return (weight @ (gap * odds) - mean_gap * mean_odds) / (weight @ np.square(gap) - np.square(mean_gap))

    low, high = np.quantile(found(drawn), [0.025, 0.975])
    return float(found(np.full(count, 1 / count))), float(low), float(high)


def conflict_claims(
    name: str, subject: TrainedSubject, odds: list[np.ndarray], exact: np.ndarray, gap: np.ndarray
) -> list[Claim]:
    """Slope and level of one subject's log-odds beside the exact ones."""
    title, task = subject.subject.title, cast(Any, subject.members[0].member.task)
    expected = float(np.log(task.latest) - np.log1p(-task.latest)) if task.latest < 1 else float("inf")
    claims = []
    if task.latest < 1:
        off = float(np.abs(exact - expected).max())
        claims.append(
            said(
                f"{name}.exact",
                f"the exact log-odds of the later label are log P/(1 − P) at every gap, {title}",
                ODDS,
                expected,
                "1e-5",
                f"largest difference {off:.1e}",
                off < 1e-5,
                "exact",
            )
        )
    slopes = [slope(each, gap) for each in odds]
    claims.append(
        members_claim(
            f"{name}.slope",
            f"slope of the log-odds over the gap, nats per position, {title}",
            ODDS,
            0.0 if task.latest < 1 else None,
            [f"{value:+.3f} ({low:+.3f} to {high:+.3f})" for value, low, high in slopes],
            [low <= 0 <= high for _, low, high in slopes],
            gate="report",
        )
    )
    claims.append(
        members_claim(
            f"{name}.log_odds",
            f"mean log-odds of the later label, and their deviation over prompts, {title}",
            ODDS,
            expected,
            [f"{each.mean():+.2f} ± {each.std():.2f}" for each in odds],
            [bool(np.isfinite(each).all()) for each in odds],
            gate="report",
        )
    )
    return claims


def grows_claim(positions: str, means: dict[float, list[float]]) -> Claim:
    """The later label counts the more, the more often training had it right, by half of the exact steps at least.

    The exact log-odds are infinite at P = 1; what training shows of it is taken for P = SURE.
    """
    levels = sorted(means)
    exact = np.diff([np.log(p) - np.log1p(-p) for p in np.minimum(levels, SURE)])
    rows = list(zip(*(means[level] for level in levels), strict=True)) if len(levels) > 1 else []
    return members_claim(
        f"{positions}.grows",
        f"mean log-odds of the later label at P = {', '.join(f'{level:g}' for level in levels)}, {positions} positions",
        ODDS,
        "grow with P by " + ", ".join(f"{step / 2:.2f}" for step in exact) + " and more, half of the exact log-odds",
        [" → ".join(f"{value:+.2f}" for value in row) for row in rows],
        [bool((np.diff(row) > exact / 2).all()) for row in rows],
    )


# -- both ------------------------------------------------------------------------------------------------------------


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Position curves of the subjects without conflict, log-odds by gap of the others."""
    claims: list[Claim] = []
    curves: dict[str, tuple[str, list[np.ndarray], np.ndarray]] = {}
    lines: dict[str, dict[float, tuple[list[np.ndarray], np.ndarray]]] = {}
    for name, subject in subjects.items():
        task: Any = subject.members[0].member.task
        if task.conflict:
            prompts = sample(task, stream(config.judge.seed, "recency: conflict"), config.judge.prompts)
            early, late = places(prompts)
            gap = (late - early).astype(float)
            exact = log_odds(task.posterior_predictive(prompts), prompts)
            odds = [
                log_odds(answers_of(subject.learner(index), prompts), prompts) for index in range(len(subject.members))
            ]
            claims += conflict_claims(name, subject, odds, exact, gap)
            lines.setdefault(subject.model.config.positions, {})[float(task.latest)] = (odds, gap)
        else:
            key, kind = stream(config.judge.seed, "recency: recall"), demand_kind(task)
            count = config.judge.prompts * (MORE if kind == "uniform" else 1)
            prompts = sample(task.replace(start=0.0, end=0.0), key, count)
            place, _ = places(prompts)
            right = np.asarray(prompts.y)[:, -1:]
            excess = []
            for index in range(len(subject.members)):
                found = np.asarray(answers_of(subject.learner(index), prompts).log_probs[:, -1], float)
                excess.append(-np.take_along_axis(found, right, axis=1)[:, 0])
            title = subject.subject.title
            guess = float(np.log(task.labels))
            claims += recall_claims(name, title, kind, excess, thirds(place, task.examples), guess)
            curves[title] = (
                kind,
                [by_position(each, place, task.examples) for each in excess],
                np.asarray(task.demand()),
            )
    for positions, found in lines.items():
        claims.append(
            grows_claim(positions, {p: [float(one.mean()) for one in odds] for p, (odds, _) in found.items()})
        )
    draw(curves, lines, directory)
    return claims


def draw(curves: dict, lines: dict, directory: RunDirectory) -> None:
    """Excess by position and demand, then log-odds by gap, a panel per position scheme; a thin line per seed."""
    import matplotlib.pyplot as plt

    with style():
        count = 1 + len(lines)
        figure, axes = plt.subplots(1, count, figsize=(1.2 + 3.4 * count, 4.2), squeeze=False, layout="constrained")
        recalled, *panels = axes[0]
        for (title, (_, members, demand)), colour in zip(curves.items(), SHADES, strict=False):
            place = np.arange(len(demand))
            for curve in members:
                recalled.plot(place, curve, color=colour, lw=0.7, alpha=0.7)
            recalled.plot(place, np.mean(members, axis=0), color=colour, lw=2.2, label=title)
        recalled.set(
            xlabel="position of the pair asked for",
            ylabel="excess over exact recall (nats)",
            title="What is recalled",
            ylim=(0, None),
        )
        recalled.legend(frameon=False, title="asked in training", fontsize=8)
        for axis, (positions, found) in zip(panels, lines.items(), strict=True):
            for (latest, (members, gap)), colour in zip(sorted(found.items()), SHADES, strict=False):
                gaps = np.unique(gap)
                for index, odds in enumerate(members):
                    values = [odds[gap == each].mean() for each in gaps]
                    label = None if index else f"P = {latest:g}"
                    axis.plot(gaps, values, color=colour, lw=0.9, label=label)
                if latest < 1:
                    axis.axhline(np.log(latest / (1 - latest)), color=colour, lw=1.4, ls="--")
            axis.set_yscale("symlog", linthresh=2)
            axis.set_yticks([0, 0.5, 1, 1.5, 2, 5, 10], ["0", ".5", "1", "1.5", "2", "5", "10"])
            axis.set(xlabel="gap between the two pairs", ylim=(-0.2, 15), title=SCHEMES.get(positions, positions))
        if panels:
            panels[0].set_ylabel("log-odds of the later label (dashed: exact)")
            panels[0].legend(frameon=False, title="later label right", fontsize=8, bbox_to_anchor=(1, 0.8))
        save_figure(figure, directory.path / "figures", "recency")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
