"""What a network recalls follows what training asked for, and which of two contradicting labels counts (D1, D2).

    python experiments/recency.py [quick|paper] [--subjects.uniform.training.steps 4000 …]

Claim     D1: a small network that recalls one of many pairs is best where training asked most: with the last pairs
          asked most it favours them (recency), with both ends it is worst in the middle (U), and with all asked alike
          it does not favour the last. D2: where one key has two values in turn and the later is right with probability
          P, the exact log-odds of the later are log P/(1 − P) at any gap; the network's grow with P.
Source    D1 after Liu et al. 2023, "Lost in the middle", and Salvatore et al. 2025, "Lost in the middle: an emergent
          property from information retrieval demands in LLMs"; D2: algebra.
Time      quick: three minutes on two cores. paper: on an accelerator, not yet run.

D1 networks answer prompts in which every pair is asked for equally often; the exact learner recalls every pair, so
−log p(right value) is their excess in nats. "Does not favour the last" is an equivalence: the whole 95% interval of the
excess in the last third less that in the first lies above −.05 nats. Fails: the U of both ends is too shallow for the
intervals of two seeds in four.
"""

import numpy as np

from icl_lab.core.statistics import bootstrap
from icl_lab.experiments import COLOURS, Experiment, claim, panels
from icl_lab.learners.answers import answers_of, exact_answers, sample

LOST, ODDS = "D1; Liu et al. 2023; Salvatore et al. 2025", "D2; algebra"
FLAT, MORE = 0.05, 4  # nats that count as no recency, and how many times the prompts it takes to show it
SURE = 0.95  # P above which log-odds need not grow
SCHEMES = {"learned": "Learned positions", "none": "No positions", "alibi": "ALiBi"}
SHADES = (COLOURS["H1"], COLOURS["H4"], COLOURS["H5"])
# Pairs asked most in training → what networks should do, and pairs of thirds (0, 1, 2) of decreasing excess.
DEMANDS = {
    "uniform": ("do not favour the last third: excess there less that in the first", [(2, 0)]),
    "end": ("favour the last third: excess in the first less that in the last", [(0, 2)]),
    "both": ("favour the ends: excess in the middle less that in the first and in the last third", [(1, 0), (1, 2)]),
}


def demand(task_start, task_end):
    """The pairs that training asks for most."""
    return "both" if task_start > 0 else "end" if task_end > 0 else "uniform"


def prepare(trained):
    """Prompts: with contradicting pairs as in training, else with every pair asked for equally often."""
    task = trained.task
    if task.conflict:
        return sample(task, trained.key("recency: conflict"), trained.prompts)
    count = trained.prompts * (MORE if demand(task.start, task.end) == "uniform" else 1)
    return sample(task.replace(start=0.0, end=0.0), trained.key("recency: recall"), count)


def places(prompts):
    """The earliest and the latest pair with the query's key, [prompt]."""
    keys = np.asarray(prompts.x).argmax(-1)
    same = keys[:, :-1] == keys[:, -1:]
    return same.argmax(1), same.shape[1] - 1 - same[:, ::-1].argmax(1)


def log_odds(answer, prompts):
    """log p(value of the latest pair) − log p(value of the earliest) at the query, [prompt]."""
    rows, (early, late) = np.arange(len(prompts.y)), places(prompts)
    log_probs, values = np.asarray(answer.log_probs[:, -1], float), np.asarray(prompts.y)
    return log_probs[rows, values[rows, late]] - log_probs[rows, values[rows, early]]


def measure(trained):
    """Log-odds by gap where pairs contradict each other, else the excess by the place of the pair asked for."""
    prompts, (early, late) = trained.prepared, places(trained.prepared)
    answer = answers_of(trained.learner, prompts)
    if trained.task.conflict:
        exact = log_odds(exact_answers(trained.task, prompts), prompts)
        found = {"odds": log_odds(answer, prompts), "exact": exact, "gap": late - early}
    else:
        right = np.asarray(prompts.y)[:, -1:]
        excess = -np.take_along_axis(np.asarray(answer.log_probs[:, -1], float), right, axis=1)[:, 0]
        found = {"excess": excess, "place": early}
    return {name: (("prompt",), values) for name, values in found.items()}


def thirds(place, positions):
    """0, 1 or 2: in which third of the prompt a position is; the middle takes what does not divide by three."""
    width = positions // 3
    return np.where(place < width, 0, np.where(place >= positions - width, 2, 1))


def apart(values, third, first, second):
    """Mean value in one third less that in another, with its 95% interval over prompts."""
    parts = values[third == first], values[third == second]
    return bootstrap(lambda one, two: one @ parts[0] - two @ parts[1], *map(len, parts))


def slope(odds, gap):
    """Least-squares slope of the log-odds over the gap, nats per position, with its 95% interval over prompts."""

    def fitted(weight):
        mean_gap, mean_odds = weight @ gap, weight @ odds
        return (weight @ (gap * odds) - mean_gap * mean_odds) / (weight @ np.square(gap) - np.square(mean_gap))

    return bootstrap(fitted, len(odds))


def recall_claims(name, data):
    """The thirds that the demand of training favours, and how much is recalled at all."""
    kind = demand(data.task_start, data.task_end)
    (statement, pairs), bound = DEMANDS[kind], -FLAT if kind == "uniform" else 0.0
    rows = zip(data.excess.values, thirds(data.place.values, data.task_examples), strict=True)
    worst = [min((apart(values, third, *pair) for pair in pairs), key=lambda one: one.low) for values, third in rows]
    # A flat curve counts only where something is recalled: better than half of a guess.
    recalls = data.excess.mean("prompt").values < (np.log(data.task_labels) / 2 if kind == "uniform" else np.inf)
    yield claim(
        f"{name}.order", f"networks with {data.title} {statement}", "condition", [one.value for one in worst],
        interval=[(one.low, one.high) for one in worst], unit="nats", source=LOST,
        condition=f"the whole 95% interval above {bound:g}" + (", and pairs are recalled" * (kind == "uniform")),
        decided=[one.low > bound and recalled for one, recalled in zip(worst, recalls, strict=True)],
    )  # fmt: skip
    text = f"mean excess over the exact learner where all positions are asked alike, {data.title}"
    yield claim(f"{name}.level", text, "report", data.excess.mean("prompt"), unit="nats", source=LOST)


def conflict_claims(name, data):
    """Slope and level of the log-odds beside the exact ones."""
    sure, title = data.task_latest == 1, data.title
    expected = np.inf if sure else np.log(data.task_latest) - np.log1p(-data.task_latest)
    if not sure:
        text = f"largest difference of the exact log-odds of the later label from log P/(1 − P), {title}"
        off = np.abs(data.exact - expected).max()
        yield claim(f"{name}.exact", text, "below", off, 1e-5, unit="nats", gate="exact", source=ODDS)
    slopes = [slope(odds, gap) for odds, gap in zip(data.odds.values, data.gap.values.astype(float), strict=True)]
    text, ends = f"slope of the log-odds over the gap, {title}", [(one.low, one.high) for one in slopes]
    details: dict = {"interval": ends, "unit": "nats per position", "gate": "report", "source": ODDS}
    yield claim(f"{name}.slope", text, "contains", [one.value for one in slopes], 0.0, **details)
    text = f"mean log-odds of the later label and their deviation over prompts, exact {expected:.2f}, {title}"
    labels = [f"± {value:.2f}" for value in data.odds.std("prompt").values]
    yield claim(f"{name}.log_odds", text, "report", data.odds.mean("prompt"), unit="nats", labels=labels, source=ODDS)


def grows_claim(positions, means):
    """The later label counts more the more often it was right in training: steps of half the exact ones at least.

    The exact log-odds are infinite at P = 1; what training shows there is taken for P = SURE.
    """
    levels = sorted(means)
    exact = np.diff([np.log(p) - np.log1p(-p) for p in np.minimum(levels, SURE)])
    steps = np.diff([means[level] for level in levels], axis=0)  # [step, member]
    shown = ", ".join(f"{level:g}" for level in levels)
    text = f"{positions} positions: growth of the log-odds between P = {shown}, in excess of half the exact growth"
    surplus = (steps - exact[:, None] / 2).min(0) if len(steps) else []
    return claim(f"{positions}.grows", text, "above", surplus, 0.0, unit="nats", source=ODDS)


def claims(found):
    """Recall by third, log-odds by gap, and the growth of log-odds with P."""
    means = {}
    for name, data in found.items():
        yield from conflict_claims(name, data) if "odds" in data else recall_claims(name, data)
        if "odds" in data:
            means.setdefault(data.model_positions, {})[data.task_latest] = data.odds.mean("prompt").values
    for positions, levels in means.items():
        yield grows_claim(positions, levels)


def by(values, groups):
    """Mean of the values at every distinct group, per member: groups, [member, group]."""
    distinct = np.unique(groups)
    return distinct, np.array([[v[g == one].mean() for one in distinct] for v, g in zip(values, groups, strict=True)])


def figure(found):
    """Excess by position and demand, then log-odds by gap, a panel per position scheme; a thin line per seed."""
    schemes = list(dict.fromkeys(data.model_positions for data in found.values() if "odds" in data))
    drawn, axes = panels.grid(1 + len(schemes), width=3.6, height=4.2)
    recalled = [data for data in found.values() if "excess" in data]
    for data, colour in zip(recalled, SHADES, strict=False):
        panels.curves(axes[0, 0], *by(data.excess.values, data.place.values), colour, data.title)
    axes[0, 0].set(xlabel="position of the pair asked for", title="What is recalled", ylim=(0, None))
    axes[0, 0].set_ylabel("excess over exact recall (nats)")
    axes[0, 0].legend(frameon=False, title="asked in training", fontsize=8)
    for axis, positions in zip(axes[0, 1:], schemes, strict=True):
        own = [data for data in found.values() if "odds" in data and data.model_positions == positions]
        for data, colour in zip(sorted(own, key=lambda data: data.task_latest), SHADES, strict=False):
            label = f"P = {data.task_latest:g}"
            panels.curves(axis, *by(data.odds.values, data.gap.values), colour, label, mean=False, lw=0.9)
            if data.task_latest < 1:
                panels.level(axis, np.log(data.task_latest / (1 - data.task_latest)), "", colour, lw=1.4)
        axis.set_yscale("symlog", linthresh=2)
        axis.set_yticks([0, 0.5, 1, 1.5, 2, 5, 10], ["0", ".5", "1", "1.5", "2", "5", "10"])
        axis.set(xlabel="gap between the two pairs", ylim=(-0.2, 15), title=SCHEMES.get(positions, positions))
    if schemes:
        axes[0, 1].set_ylabel("log-odds of the later label (nats; dashed: exact)")
        axes[0, 1].legend(frameon=False, title="later label right", fontsize=8, bbox_to_anchor=(1, 0.8))
    return drawn


experiment = Experiment(LOST, measure, claims, figure, prepare)
if __name__ == "__main__":
    experiment.main(__file__)
