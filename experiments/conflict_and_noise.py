"""Contradicting, flipped and imbalanced labels: what counts say, and what a trained network makes of them (D2, D4, D5).

    python experiments/conflict_and_noise.py [quick|paper] [--subjects.two_rules.training.steps 4000 …]

Claim     D5: of two rules that contradict each other everywhere, k of n labels against one of them move the latent
          log-odds to (n − 2k) log[(1−ε)/ε], and the predictive saturates at ±log[(1−ε)/ε]; a trained network follows.
          D2: to the exact learner the later of two contradicting labels counts as much as the earlier, at any gap; what
          a network does is reported. D4: its majority bias and whether contextual calibration removes it are reported.
Source    Bayes' rule; conflict: algebra; majority bias and calibration: Zhao et al. 2021, "Calibrate before use".
Time      quick: 3 minutes on two cores. paper: on an accelerator, not yet run.

Majority bias: the probability of the majority label in excess of the posterior's where a rule is true of nine of ten
examples, less the same where it is true of half. Calibration divides by the answer to a null query. Controls: a planted
learner that follows the majority in .3 of its answer, and the exact learner.
"""

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.prompts import Prompts
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, mean_over, panels
from icl_lab.report.text.vocabulary import MUTED
from icl_lab.stress.biased import BIASES, BiasedLearner
from icl_lab.stress.measure import answers_of, stressed, terms
from icl_lab.stress.mitigations import Calibrated
from icl_lab.stress.perturbations import PERTURBATIONS

BAYES, OWN = "Bayes' rule", "this lab's own control"
SHARES, PLANTED = (0.5, 0.75, 0.9), 0.3
RISE = 0.1  # nats that a falling curve may rise from one share to the next
NEAR = 0.2  # of log[(1−ε)/ε], within which a saturated answer must lie


def log_odds(answers):
    """log p(1)/p(0) of the last answer."""
    last = np.asarray(answers.log_probs)[:, -1]
    return last[:, 1] - last[:, 0]


def two_rule_prompts(task, key, against):
    """Prompts over one bit whose example j contradicts the rule "the bit is set" where `against` [prompt, example]."""
    x = jax.random.rademacher(key, (len(against), task.positions, 1), jnp.float32)
    y = (x[..., 0] > 0).at[:, :-1].set((x[:, :-1, 0] > 0) ^ jnp.asarray(against))
    return Prompts(x, y.astype(jnp.int32), jnp.zeros(len(against), jnp.int32), jnp.ones(y.shape, bool))


def orders(key, length, prompts):
    """A random order of so many places for every prompt, and a key for the rest."""
    order_key, rest_key = jax.random.split(key)
    each = jax.random.split(order_key, prompts)
    return np.asarray(jax.vmap(lambda k: jax.random.permutation(k, length))(each)), rest_key


def flipped(task, key, count, prompts):
    """Prompts in which `count` examples, at random places, contradict the rule."""
    order, rest_key = orders(key, task.examples, prompts)
    return two_rule_prompts(task, rest_key, order < count)


def balanced_with_gap(task, key, gap, prompts):
    """As many labels for the rule as against it; the last example is for it, the one `gap` before it against it."""
    late, early = task.examples - 1, task.examples - 1 - gap
    rest = [place for place in range(task.examples) if place not in (late, early)]
    order, rest_key = orders(key, len(rest), prompts)
    against = np.zeros((prompts, task.examples), bool)
    against[:, rest] = order < len(rest) // 2
    against[:, early] = True
    return two_rule_prompts(task, rest_key, against)


def predicted(noise, examples, against):
    """Latent and predictive log-odds after `against` of so many labels contradict a rule, by the formula alone."""
    latent = (examples - 2 * against) * np.log((1 - noise) / noise)
    belief = 1 / (1 + np.exp(-latent))
    mean = belief * (1 - noise) + (1 - belief) * noise
    return latent, np.log(mean / (1 - mean))


def two_rules(task, key, prompts):
    """Share of flipped labels → prompts, and gap between contradicting labels → prompts."""
    counts, gaps = np.arange(0, task.examples + 1, 2), [1, 2, 4, 8, task.examples - 1]
    flips = {int(count) / task.examples: flipped(task, key, int(count), prompts) for count in counts}
    return flips, {gap: balanced_with_gap(task, key, gap, prompts) for gap in gaps}


def prepare(trained):
    """Prompts of two rules over one bit, or stressed prompts of conjunctions at every share and gap."""
    task, key, prompts = trained.task, trained.key("conflict and noise"), trained.prompts
    if trained.name == "two_rules":
        return two_rules(task, key, prompts)
    imbalance, conflict = PERTURBATIONS["imbalance"], PERTURBATIONS["conflict"]
    shares = {share: stressed(imbalance, task, key, prompts, share) for share in SHARES}
    return shares, {strength: stressed(conflict, task, key, prompts, strength) for strength in conflict.strengths}


def towards(learner, asked, suffix=""):
    """Log-odds of what the rule "the bit is set" says of the query, by share of flips and by gap."""
    found = {}
    for name, dimension, sets in zip(("flips", "gaps"), ("share", "gap"), asked, strict=True):
        rows = [log_odds(answers_of(learner, p)) * np.where(p.x[:, -1, 0] > 0, 1, -1) for p in sets.values()]
        found |= {name + suffix: ((dimension, "prompt"), rows), dimension: ((dimension,), list(sets))}
    return found


def majority(learner, shares):
    """P(majority label) − P of the exact learner at the last position, [share, prompt]."""
    exact = [np.exp(np.asarray(given.trained.log_probs))[:, -1, 1] for given in shares.values()]
    own = [1 / (1 + np.exp(-log_odds(answers_of(learner, given.after)))) for given in shares.values()]
    return (("share", "prompt"), np.stack(own) - np.stack(exact))


def measure(trained):
    """Log-odds by share of flips and by gap on two rules; majority bias and distances on conjunctions."""
    if trained.name == "two_rules":
        return towards(trained.learner, trained.prepared)
    (shares, gaps), conflict = trained.prepared, PERTURBATIONS["conflict"]
    distances = [terms(conflict, given, trained.learner, gap).distance.mean() for gap, given in gaps.items()]
    return {
        "share": (("share",), list(SHARES)),
        "majority": majority(trained.learner, shares),
        "calibrated": majority(Calibrated(trained.learner), shares),
        "distance": (("gap",), distances),
    }


def references(trained):
    """The exact learner and its formula on two rules; the exact and the planted learner on conjunctions."""
    task = trained.task
    exact, follower = BiasedLearner(task, 0.0, BIASES["timid"]), BiasedLearner(task, PLANTED, BIASES["majority"])
    if trained.name != "two_rules":
        shares = trained.prepared[0]
        return {"exact_majority": majority(exact, shares), "planted": majority(follower, shares)}
    against = np.array(list(trained.prepared[0])) * task.examples
    latent, formula = predicted(float(task.noise), task.examples, against)
    return towards(exact, trained.prepared, "_exact") | {
        "latent": (("share",), latent),
        "formula": (("share",), formula),
    }


def falls(curve, exact):
    """Whether a curve falls, by half of the exact fall at least; from one point to the next it may rise a little."""
    return bool((np.diff(curve) < RISE).all() and curve[0] - curve[-1] >= (exact[0] - exact[-1]) / 2)


def conflict_claims(data):
    """Flipped and contradicting labels of two rules."""
    off = np.abs(data.flips_exact - data.formula).max()
    text = "largest difference of the exact predictive from the formula, at any share of flipped labels"
    yield claim("flips.exact", text, "at_most", off, 1e-4, unit="nats", gate="exact")
    text = "exact log-odds of labels in balance, whichever comes later, at any gap; largest"
    yield claim("conflict.exact", text, "at_most", np.abs(data.gaps_exact).max(), 1e-4, unit="nats", gate="exact")
    curves, formula, unit = data.flips.mean("prompt").values, data.formula.values, float(data.formula.max())
    yield claim(
        "flips.follow", "the network's log-odds fall with the share of flipped labels, to the value at all flipped",
        "condition", curves[:, -1], unit="nats", decided=[falls(curve, formula) for curve in curves],
        condition=f"falls by half of the exact {formula[0]:.2f} to {formula[-1]:.2f}; steps may rise by {RISE:g}",
        labels=[f"from {curve[0]:.2f}" for curve in curves],
    )  # fmt: skip
    text, near = "without flips the log-odds saturate at log[(1−ε)/ε] instead of those of the rule", NEAR * unit
    yield claim("flips.saturate", text, "equals", curves[:, 0], unit, tolerance=near, unit="nats")
    gaps = mean_over(data.gaps)
    inside = ((gaps.low <= 0) & (gaps.high >= 0)).all(1)
    shown = [" ".join(f"{value:.2f}" for value in row) for row in gaps.value]
    text = f"log-odds for the later of two contradicting labels at gaps of {', '.join(map(str, data.gap.values))}"
    details = {"condition": "0 in every 95% interval", "decided": inside, "labels": shown, "source": "algebra"}
    yield claim("conflict.recency", text, "condition", gaps.value[:, -1], gate="report", unit="nats", **details)


def majority_claims(data):
    """Majority bias on conjunctions, of the networks and of the controls."""
    text = "nats from the exact learner under a contradiction, at gaps of one example, ¼, ½ and all of the prompt"
    shown = [" ".join(f"{value:.3f}" for value in row) for row in data.distance.values]
    yield claim("conflict.conjunctions", text, "report", labels=shown, source="algebra")

    def bias(values):
        return mean_over((values.isel(share=-1) - values.isel(share=0)).expand_dims("one"))

    planted, off = bias(data.planted), float(np.abs(data.exact_majority).max())
    text = f"majority bias of the planted follower; that of the exact learner is {off:.1e}, at most 1e-4"
    shows = planted.low[0] > 0 and off <= 1e-4
    details = {
        "condition": "whole 95% interval above 0",
        "decided": [shows],
        "interval": planted.interval,
        "source": OWN,
    }
    yield claim("majority.control", text, "condition", planted.value, **details)
    for name, values, words in (("model", data.majority, ""), ("calibrated", data.calibrated, ", calibrated")):
        each, text = [bias(row) for row in values], f"majority bias of the network{words}"
        ends, means = [one.interval[0] for one in each], [one.value[0] for one in each]
        details: dict = {"interval": ends, "gate": "report", "source": "Zhao et al. 2021, D4"}
        yield claim(f"majority.{name}", text, "contains", means, 0.0, **details)


def claims(found):
    """D5 and D2 on two rules, D4 on conjunctions."""
    yield from conflict_claims(found["two_rules"])
    yield from majority_claims(found["conjunctions"])


def figure(found):
    """Three panels: flipped labels, contradicting labels, imbalanced labels."""
    two, rules = found["two_rules"], found["conjunctions"]
    drawn, axes = panels.grid(3, width=3.9, height=3.8)
    left, middle, right = axes[0]
    fine, unit = np.linspace(0, 1, 201), float(two.formula.max())
    left.plot(fine, np.interp(fine, two.share, two.latent), color=MUTED, ls=":", label="log-odds of the rule")
    exact = {"color": COLOURS["H1"], "lw": 3, "alpha": 0.5, "label": "exact answer"}
    left.plot(fine, np.interp(fine, two.share, two.formula), **exact)
    network = {"mean": False, "marker": "o", "ms": 3}
    panels.curves(left, two.share, two.flips.mean("prompt"), SUBJECT, "network, per seed", **network)
    left.set(xlabel="share of labels flipped", ylabel="log-odds of the rule's answer (nats)", title="flipped labels")
    left.set_ylim(-2.2 * unit, 2.2 * unit)
    middle.axhline(0, **exact)
    gaps = mean_over(two.gaps)
    panels.curves(middle, two.gap, gaps.value, SUBJECT, "network, per seed", (gaps.low, gaps.high), **network)
    middle.set(xlabel="places from one label to the other", ylabel="log-odds for the later label (nats)")
    middle.set_title("two labels that contradict each other")
    right.axhline(0, **exact)
    label = f"planted: follows the majority by {PLANTED:g}"
    right.plot(rules.share, rules.planted.mean("prompt"), "s--", color=COLOURS["H5"], ms=4, label=label)
    for name, dashes, words in (("majority", "-", "network, per seed"), ("calibrated", ":", "after calibration")):
        bias = mean_over(rules[name])
        panels.curves(right, rules.share, bias.value, SUBJECT, words, (bias.low, bias.high), ls=dashes, **network)
    right.set(xlabel="share of examples of which the rule is true", ylabel="P(majority) beyond the posterior's")
    right.set(title="imbalanced labels", ylim=(None, 0.47))
    for axis in axes[0]:
        axis.legend(fontsize=8)
    return drawn


experiment = Experiment(BAYES, measure, claims, figure, prepare, references)
if __name__ == "__main__":
    experiment.main(__file__)
