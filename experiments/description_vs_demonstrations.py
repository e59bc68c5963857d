"""What a description of the task is worth beside demonstrations, and which of the two wins where they contradict (S8).

    python experiments/description_vs_demonstrations.py [quick|paper] [--subjects.base.training.steps 6000 …]

Claim     A prompt begins with the name of its task, wrong with a known probability, or with nothing. What the name
          saves shrinks with the number of demonstrations, for the exact learner and for the network; against
          demonstrations of another task the name wins at first and loses in the end; training on more reliable names
          (instruction tuning in the small) moves the place where they are level.
Source    algebra (the posterior over the pool, names as evidence); Xie et al. 2022 and Min et al. 2022 for the
          question, which they ask of language models.
Time      quick: three minutes on one core. paper: on an accelerator, not yet run.

With p the true next-state distribution and q the learner's answer, the gain of a description is
Σ_y p(y) [log q(y | with it) − log q(y | without)]. Where all descriptions name another chain, the share of the answer
that follows them is a least-squares weight (`share_followed`); its crossing is the number of demonstrations at which it
falls to one half.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.statistics import bootstrap
from icl_lab.experiments import COLOURS, SUBJECT, Experiment, claim, mean_over, panels
from icl_lab.learners.answers import answers_of
from icl_lab.stress.perturbations.description import share_followed

ENOUGH = 4096  # prompts on which the exact learner is worked out
WORTHLESS = 0.02  # nats: the exact gain after all demonstrations is below
RISE = 3.0  # standard errors that the exact gain may rise by from one position to the next


class Asked(NamedTuple):
    """Prompts with descriptions, the same without, and what is true of them.

    Attributes:
        prompts, silent: described, and with the description withheld.
        truth: mean targets of the chain that wrote the prompt, [prompt, position, state].
        named: those of the chain that the description names.
        answers: the exact learner's with and without the description.
    """

    prompts: Prompts
    silent: Prompts
    truth: Array
    named: Array
    answers: tuple[Predictions, Predictions]


@exact
def ask(task, source, key):
    """Prompts of the task `source`, all described; the exact learner takes them for prompts of `task`."""
    prompts = source.replace(dropout=0.0).sample(key, ENOUGH)
    silent = prompts.replace(description=jnp.zeros_like(prompts.description))
    truth = jax.vmap(task.outcome)(prompts.latent, prompts.x).mean_target()
    members = jax.vmap(task.pool_latent)(prompts.description.argmax(-1))
    named = jax.vmap(task.outcome)(members, prompts.x).mean_target()
    return Asked(prompts, silent, truth, named, tuple(task.posterior_predictive(each) for each in (prompts, silent)))


def prepare(trained):
    """Prompts whose descriptions agree with the demonstrations, and prompts whose descriptions contradict them."""
    agreeing = ask(trained.task, trained.task, trained.key("descriptions: agreeing"))
    return agreeing, ask(trained.task, trained.task.replace(error=1.0), trained.key("descriptions: contradicting"))


def gain(truth, answers):
    """Σ_y p(y) [log q(y | described) − log q(y | not)], [prompt, position], nats."""
    described, silent = answers
    return np.asarray((truth * (described.log_probs - silent.log_probs)).sum(-1), float)


def followed(answer, asked):
    """Parts and wholes [prompt, position] of the share of answers that follows the description."""
    return [np.asarray(each, float) for each in share_followed(answer.mean_target(), asked.named, asked.truth)]


def measure(trained):
    """Gain, share that follows contradicting descriptions, and mean KL from the exact learner with and without them."""
    agreeing, against = jax.tree.map(lambda leaf: leaf[: trained.prompts], trained.prepared)
    own = [answers_of(trained.learner, prompts) for prompts in (agreeing.prompts, agreeing.silent)]
    parts, wholes = followed(answers_of(trained.learner, against.prompts), against)
    excess = [one.divergence(other, jnp.ones(())).mean() for one, other in zip(agreeing.answers, own, strict=True)]
    found = {"gain": gain(agreeing.truth, own), "parts": parts, "wholes": wholes}
    return {name: (("prompt", "position"), value) for name, value in found.items()} | {
        "excess": (("described",), excess)
    }


def exact_learner(trained):
    """The same of the exact learner, on more prompts."""
    agreeing, against = trained.prepared
    parts, wholes = followed(against.answers[0], against)
    found = {"exact_gain": gain(agreeing.truth, agreeing.answers), "exact_parts": parts, "exact_wholes": wholes}
    return {name: (("exact_prompt", "position"), value) for name, value in found.items()}


def ratio_curve(parts, wholes):
    """Σ parts / Σ wholes over prompts, both [prompt, position], with its interval."""
    parts, wholes = np.asarray(parts), np.asarray(wholes)
    return bootstrap(lambda weight: (weight @ parts) / (weight @ wholes), len(parts))


def crossing(share, level=0.5):
    """The first place where the share falls to the level, by a line between whole numbers; ∞ where it never does."""
    below = np.flatnonzero(share <= level)
    if len(below) == 0:
        return float("inf")
    first = int(below[0])
    if first == 0:
        return 0.0
    before, after = share[first - 1], share[first]
    return first - 1 + float((before - level) / (before - after))


def rises(values):
    """The largest rise of the mean of [prompt, position] from one position to the next, in its standard errors."""
    steps = np.diff(values, axis=1)
    return float((steps.mean(0) / (steps.std(0) / np.sqrt(len(steps)))).max())


def shares(data):
    """The share that follows descriptions: the exact learner's curve, and one per network."""
    own = [ratio_curve(data.parts[member], data.wholes[member]) for member in range(data.sizes["member"])]
    return ratio_curve(data.exact_parts, data.exact_wholes), own


def gain_claims(name, data):
    """The worth of a description to the exact learner and to the networks."""
    gains, title = data.exact_gain.mean("exact_prompt").values, data.title
    rise = rises(data.exact_gain.values)
    yield claim(
        f"{name}.exact_gain", f"exact gain of a description after all demonstrations, {title}", "condition", gains[-1],
        condition=f"below {WORTHLESS} nats, and no rise of {RISE:g} standard errors with demonstrations", unit="nats",
        labels=[f"from {gains[0]:.3f}; largest rise {rise:+.1f} standard errors"],
        decided=[gains[-1] < WORTHLESS and rise < RISE], gate="exact",
    )  # fmt: skip
    fall = mean_over(data.gain.isel(position=0) - data.gain.isel(position=-1))
    text = f"the network's gain without demonstrations less that after all of them, {title}"
    yield claim(f"{name}.gain", text, "clearly_above", fall.value, 0.0, interval=fall.interval, unit="nats")
    exact = data.exact_gain.isel(position=-1).values[: data.sizes["prompt"]]
    gap, text = mean_over(data.gain.isel(position=-1) - exact), f"the network's final gain above the exact one, {title}"
    details: dict = {"interval": gap.interval, "unit": "nats", "gate": "report"}
    yield claim(f"{name}.gap", text, "contains", gap.value, 0.0, **details)
    text, labels = f"mean KL from the exact learner with descriptions, and without, {title}", data.excess[:, 1].values
    words = [f"{value:.4f} without" for value in labels]
    yield claim(f"{name}.excess", text, "report", data.excess[:, 0], unit="nats", labels=words)


def claims(found):
    """Gains, who wins, and what further training does to it."""
    crossings = {}
    for name, data in found.items():
        yield from gain_claims(name, data)
        best, own = shares(data)
        yield claim(
            f"{name}.who_wins",
            f"share of the answer that follows a description against all demonstrations of another chain (exact: "
            f"{best.value[0]:.3f} against none, {best.value[-1]:.3f} against all), {data.title}",
            "condition", [one.value[-1] for one in own], interval=[(one.low[-1], one.high[-1]) for one in own],
            condition="above one half against none, below against all",
            labels=[f"{one.value[0]:.3f} against none" for one in own],
            decided=[one.low[0] > 0.5 > one.high[-1] for one in own],
        )  # fmt: skip
        crossings[name] = crossing(best.value), np.array([crossing(one.value) for one in own])
    for name, data in found.items():
        if data.start_from:
            (exact_before, before), (exact_after, after) = crossings[data.start_from], crossings[name]
            titles = f"{found[data.start_from].title} → {data.title} (exact: {exact_before:.1f} → {exact_after:.1f})"
            text = f"demonstrations of another chain that a description outweighs, {titles}"
            rule = "rises" if exact_after > exact_before else "falls"
            yield claim(f"{name}.crossing", text, rule, after, before, unit="demonstrations", gate="report")


def figure(found):
    """Left the gain, right who wins; bold: exact learners, thin: a line per seed with its interval over prompts."""
    drawn, axes = panels.grid(2, width=5.5, height=4.6)
    left, right = axes[0]
    for data, colour in zip(found.values(), (SUBJECT, COLOURS["H2"], COLOURS["H4"]), strict=False):
        best, own = shares(data)
        gains = [mean_over(row) for row in data.gain]
        for axis, bold, thin in ((left, data.exact_gain.mean("exact_prompt"), gains), (right, best.value, own)):
            places = np.arange(len(bold))
            axis.plot(places, bold, color=colour, lw=2.6, alpha=0.55, label=f"exact learner, {data.title}")
            for index, curve in enumerate(thin):
                label = None if index else f"networks, {data.title} (a line per seed)"
                axis.plot(places, curve.value, color=colour, lw=0.9, label=label)
                axis.fill_between(places, curve.low, curve.high, color=colour, alpha=0.12, lw=0)
    panels.level(left, 0, colour="0.6", lw=0.8, ls="-")
    panels.level(right, 0.5, colour="0.6", lw=0.8, ls="-")
    left.set(xlabel="demonstrations", ylabel="gain of the description (nats)", title="Worth of a description")
    right.set(xlabel="demonstrations of another task", ylim=(-0.1, 1.1), title="Description against demonstrations")
    right.set_ylabel("share of the answer that follows the description")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    return drawn


experiment = Experiment("algebra; S8", measure, claims, figure, prepare, exact_learner)
if __name__ == "__main__":
    experiment.main(__file__)
