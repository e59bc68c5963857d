"""What the look of the examples does to the answer, and what training in more than one look takes away (D6).

    python experiments/format_bias.py [quick|paper] [--subjects.rules_plain.training.steps 2000 …]

Claim     Separators between the tokens of a prompt, or the label of every example before its input, change nothing that
          the prompt says, and the exact learner answers as before. A transformer trained in one format moves more under
          both than its twin that was trained in several formats at once.
Source    Lu et al. 2022 and Sclar et al. 2024 found that the format moves large language models; no number of theirs is
          expected here.
Time      quick: two and a half minutes on two cores. paper: larger tasks and models, on an accelerator, not yet run.

"Moved" is the divergence of the last answer in the changed format from that in the format of training, in nats: KL for
classes, (Δŷ)²/2v for real outcomes with v the exact predictive variance. A network that learned less would move less,
too, so the twin must also be nearer to the exact answer after the change. Beside the networks stand two exact learners:
one reads the tokens by their layout, the other by the layout of training.
"""

import numpy as np

from icl_lab.experiments import Experiment, claim, panels
from icl_lab.stress.measure import answers_of, in_format, stressed, terms
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.planted_formats import FormatReader
from icl_lab.stress.readable import why_unreadable

SEEN = ("separators", "swapped", "blanks")  # changes that the augmented twins were trained with
GATED = ("separators", "swapped")
TWINS = {"plain": ("one format", "#CC3311"), "augmented": ("several formats", "#117733")}
READERS = {"knowing": 0.0, "naive": 1.0}  # share of the prompts that each reads by the layout of training
FLOOR = 1e-4  # nats, where the figure ends


def prepare(trained):
    """(change, prompts before and after it) of every change of format that applies to the task, those seen first."""
    known = [change for change in FORMAT_PERTURBATIONS.values() if not change.applies(trained.task)]
    changes, key = sorted(known, key=lambda change: change.name not in SEEN), trained.key("format bias")
    return [(change, stressed(change, trained.task, key, trained.prompts, change.standard)) for change in changes]


def moved(change, given, learner):
    """D(before ‖ after) of a learner under a change, mean over prompts.

    Raises:
        ValueError: the learner cannot read the changed prompts.
    """
    if why := why_unreadable(in_format(learner, change, change.standard), given.after):
        raise ValueError(f"{change.name}: {why}")
    return float(terms(change, given, learner, change.standard).moved.mean())


def distance(change, given, learner, strength):
    """D(exact ‖ learner) at the last position, mean over prompts."""
    found = answers_of(in_format(learner, change, strength), given.after)
    return float(np.asarray(given.trained.divergence(found, given.unit))[:, -1].mean())


def measure(trained):
    """How far every change moves a network, and its distance from exact with the change and without; nats."""
    learner, rows = trained.learner, trained.prepared
    found = {
        "moved": [moved(change, given, learner) for change, given in rows],
        "distance": [distance(change, given, learner, change.standard) for change, given in rows],
        "own": [distance(change, given, learner, change.strengths[0]) for change, given in rows],
    }
    return {name: (("change",), values) for name, values in found.items()}


def readers(trained):
    """How far every change moves the two exact learners, and what the changes are."""
    changes, format = [change for change, _ in trained.prepared], trained.subject.format
    found = {"change": (("change",), [change.name for change in changes])}
    found |= {"words": (("change",), [change.title for change in changes])}
    for name, share in READERS.items() if trained.name.endswith("_plain") else ():
        reader = FormatReader(trained.task, share, format, format)
        found[name] = (("change",), [moved(change, given, reader) for change, given in trained.prepared])
    return found


def twins(found):
    """Family → (plain, augmented), from names such as rules_plain and rules_augmented."""
    families = dict.fromkeys(name.rpartition("_")[0] for name in found)
    return {family: tuple(found[f"{family}_{kind}"] for kind in TWINS) for family in families}


def claims(found):
    """What the readers and the twins of every family show."""
    for family, (plain, augmented) in twins(found).items():
        text = f"{family}: no change moves the exact learner that reads tokens by their layout; most, nats"
        yield claim(
            f"{family}.knowing_reader", text, "at_most", plain.knowing.max(), 1e-6, gate="exact", source="algebra"
        )
        for name, words in zip(plain.change.values, plain.words.values, strict=True):
            one, other = (data.sel(change=name) for data in (plain, augmented))
            nearer, words = one.distance - other.distance, f"{family}, {words}"
            text = f"{words}: a network trained in one format moves more than its twin, which is then nearer exact"
            yield claim(
                f"{family}.{name}", text, "condition", one.moved - other.moved, unit="nats",
                condition="more than 0, and the twin nearer", decided=(one.moved > other.moved) & (nearer > 0),
                gate="order" if name in GATED else "report",
            )  # fmt: skip
            text = f"{words}: distance from the exact answer, trained in one format less its twin"
            yield claim(f"{family}.{name}.distance", text, "above", nearer, 0.0, unit="nats", gate="report")
        text = f"{family}: distance from exact in the format of training, augmented less plain"
        cost = augmented.own.isel(change=0) - plain.own.isel(change=0)
        yield claim(f"{family}.cost", text, "at_most", cost, 0.0, unit="nats", gate="report")


def figure(found):
    """How far each change moves the answer, a dot per seed; a dash for the exact learner that expects one layout."""
    families = twins(found)
    drawn, axes = panels.grid(len(families), width=5.6, height=4.2, sharey=True)
    for axis, (family, pair) in zip(axes[0], families.items(), strict=True):
        axis.set_yscale("log")
        places = np.arange(pair[0].sizes["change"])
        for data, shift, (words, colour) in zip(pair, (-0.17, 0.17), TWINS.values(), strict=True):
            values = np.maximum(data.moved, FLOOR)
            panels.dots(axis, places + shift, values, colour, f"trained in {words}", spread=0.06)
        naive = np.where(pair[0].naive > FLOOR, pair[0].naive, np.nan)
        axis.hlines(
            naive, places - 0.36, places + 0.36, color="#777777", lw=1.4, label="exact, by the layout of training"
        )
        axis.plot(places, np.full(len(places), FLOOR), "v", color="black", ms=5, clip_on=False, label="exact: 0")
        seen = sum(name in SEEN for name in pair[0].change.values)
        axis.axvline(seen - 0.5, color="#AAAAAA", lw=0.8, ls=":")
        for text, side, gap in (("augmented with ←", "right", -0.05), ("→ not", "left", 0.05)):
            axis.text(seen - 0.5 + gap, 0.99, text, transform=axis.get_xaxis_transform(), ha=side, va="top")
        axis.set_xticks(places, pair[0].words.values, rotation=25, ha="right")
        axis.set(title=family, ylim=(FLOOR, None))
    axes[0, 0].set_ylabel("last answer moved (nats)")
    axes[0, 0].set_ylim(top=4 * max(axis.dataLim.y1 for axis in axes[0]))
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    drawn.suptitle("Changes of format that leave what the prompt says unchanged")
    return drawn


experiment = Experiment("Sclar et al. 2024", measure, claims, figure, prepare, readers)
if __name__ == "__main__":
    experiment.main(__file__)
