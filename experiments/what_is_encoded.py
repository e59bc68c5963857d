"""A regression transformer holds Xᵀy and w in its examples' tokens, beyond what controls explain; is w used? (A7).

    python experiments/what_is_encoded.py [quick|paper] [--subjects.regression.model.layers 4 …]

Claim     In some layer Xᵀy and the ridge weights w are read off the residual stream of the examples better than from an
          untrained model, better than shuffled targets, and better than a random function of the first input;
          exchanging the examples' streams, or only the part of them that w's read-out sees, with those of a prompt of
          other weights brings that prompt's answer, more than other directions do.
Source    Akyürek et al. 2022, "What learning algorithm is in-context learning?", whose read-outs attend to positions;
          the control task is Hewitt & Liang 2019's.
Time      quick: 30 s of processor time after the training. paper: on an accelerator, not yet run.

Read-outs see the mean stream of the examples' last tokens, y_0 … y_(N−1): equal attention. Scores are held-out R²;
layers are chosen on one set of prompts, scores and 95% intervals over prompts come from another. Linear read-outs
decide; those with a hidden layer are reported at their best on the set that scores.
At the token that answers a linear read-out finds next to nothing (R² 0, 0 and .17 in three seeds): that token needs w·x
for its own x alone, and x ↦ −x turns the sign of that, not of w.

The patch: in every example's token the part of the stream that the read-out sees comes from a prompt with the same
inputs and other weights, the query's stream stays. Two changes have that part: one along the read-out's own directions
(span), and one as the streams vary with what is read (pattern, Haufe et al. 2014); beside them the whole streams. The
share taken is a in move ≈ a·w'x − b·wx, w' the ridge weights of the other prompt: an answer that only goes to pieces
moves by −wx, which correlates with Δw·x (.71), and takes nothing. The control turns the same changes by random
rotations: other directions, equal sizes.

The read-outs hold: R² .62 to .75 for Xᵀy and .57 to .58 for w, untrained at most .11; the function of the first input,
one of eight, reaches .40 to .50, so that the tokens' inputs alone are half of the way. Xᵀy comes first in one seed of
three; in the others both are there after the first layer. Whole streams after the first layer bring .96 to .98 of the
other's answer, rotated .21 to .40: the examples' tokens carry the task. Patches along the read-out *fail* in every
seed: they bring −.002 to .000. Read off single tokens, w reaches R² .08 to .23 and no more in late tokens than in early
ones: each holds its own example, the query attends to single examples, weighted by its own x, and their mean need not
be formed. Decodable is not used.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.prompts import Prompts
from icl_lab.core.statistics import bootstrap_interval
from icl_lab.core.streams import stream
from icl_lab.experiments.script import Subjects, members_claim, run_experiment
from icl_lab.learners.answers import sample
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.probes.inside.interventions import ALL, asked, replay, worlds
from icl_lab.probes.inside.prompt_pairs import counterpart
from icl_lab.probes.inside.readout import linear_predictions, mlp_readout, thirds
from icl_lab.probes.inside.sufficient_statistics import control_task, shuffled, sufficient_statistics
from icl_lab.probes.inside.task_vectors import SITE, recorded
from icl_lab.report.experiments import save_figure, style
from icl_lab.report.text.vocabulary import COLOURS, SUBJECT
from icl_lab.store.directory import RunDirectory

SOURCE = "Akyürek et al. 2022"
NAMES = {"moment": "Xᵀy", "weights": "w"}
LOOKS = {"pattern": (SUBJECT, "-"), "span": (COLOURS["rival"], "--"), "whole stream": (COLOURS["H1"], ":")}
CONTROLS = ("control task", "untrained model", "shuffled targets")
WAYS = {
    "pattern": "what w's read-out sees exchanged as the streams vary with it",
    "span": "the span of its directions exchanged",
    "whole stream": "the examples' whole streams exchanged",
}
ROTATIONS = 8
FAINT = 0.05  # of the variance: less counts as nothing
NEARLY = 0.9  # of the best layer's score: from here on a statistic counts as there


linear = jax.jit(linear_predictions)


@jax.jit
def wanted(task: Any, prompts: Prompts, key: jax.Array) -> dict[str, jax.Array]:
    """What is looked for, and the controls that take its place, each [prompt, dimension]."""
    given = sufficient_statistics(task, prompts)
    found = {name: given[name] for name in NAMES}
    mixed = {f"{name}, shuffled": shuffled(key, value) for name, value in found.items()}
    first = prompts.replace(x=prompts.x[:, :1])  # the query comes after the tokens that are read
    return found | mixed | {"control task": control_task(key, first, found["weights"].shape[-1])}


@jax.jit
def ridge_answers(task: Any, prompts: Prompts) -> jax.Array:
    """w·x of the last input, [prompt]."""
    return (sufficient_statistics(task, prompts)["weights"] * prompts.x[:, -1]).sum(-1)


@jax.jit
def explained(features: jax.Array, targets: jax.Array) -> jax.Array:
    """1 − |t − t̂|²/mean|t − t̄|² of the prompts of the scoring third, [place, prompt]: its mean is the held-out R²."""
    fit, _, score = thirds(targets.shape[0])
    missed = jnp.square(linear_predictions(features, targets)[..., score, :] - targets[score]).sum(-1)
    return 1 - missed / jnp.square(targets[score] - targets[fit].mean(0)).sum(-1).mean()


@jax.jit
def places(learner: TransformerLearner, prompts: Prompts) -> jax.Array:
    """Mean stream of the tokens that answer nothing, those of the examples, and the stream that answers the last query.

    [place, layer, prompt, width].
    """
    value = recorded(learner, prompts).value
    return jnp.stack([value[:, :, example_tokens(learner, prompts)].mean(2), value[:, :, -1]])


def example_tokens(learner: TransformerLearner, prompts: Prompts) -> np.ndarray:
    """Indices of the tokens that answer nothing."""
    tokens = np.arange(learner.format.tokens(prompts.positions))
    return np.setdiff1d(tokens, tokens[learner.format.read(prompts.positions)])


def read_out(streams: jax.Array, targets: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """`explained` of every target, [place, layer, prompt]."""
    found = jax.lax.map(functools.partial(explained, streams), jnp.stack(list(targets.values())))
    return dict(zip(targets, np.asarray(found), strict=True))


def first_layer(scores: np.ndarray) -> int:
    """The first layer, from 1, with at least nine tenths of the best layer's score."""
    return int(np.flatnonzero(scores >= min(NEARLY * scores.max(), scores.max()))[0]) + 1


def directions(streams: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """B of a read-out t̂ = b + hB, [layer, width, target], from its answers to many streams: it is exactly affine."""
    centred = [values - values.mean(1, keepdims=True) for values in (streams.astype(float), answers.astype(float))]
    return np.stack([np.linalg.lstsq(h, t, rcond=None)[0] for h, t in zip(*centred, strict=True)])


def span(read: np.ndarray) -> np.ndarray:
    """The projection BB⁺ onto the span of a read-out's directions, [layer, width, width]; hBB⁺ is read as h is."""
    return read @ np.linalg.pinv(read)


def pattern(read: np.ndarray, streams: np.ndarray) -> np.ndarray:
    """The oblique projection B(BᵀCB)⁻¹BᵀC, C the streams' covariance: read as h is, and moved as streams move.

    Of all changes with the same read-out that of `span` is the shortest, this one the shortest in units of C. Haufe et
    al. 2014: a read-out's directions say what to look at, not where the signal is.
    """
    centred = streams - streams.mean(1, keepdims=True)
    seen = read.swapaxes(1, 2) @ (centred.swapaxes(1, 2) @ centred)
    return read @ np.linalg.solve(seen @ read, seen)


def taken(moved: np.ndarray, own: np.ndarray, source: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """a of moved ≈ a·source − b·own by least squares over the last axis: the share of the other's answer that is taken.

    1 where the answer becomes the other prompt's, 0 where it only goes to pieces, which moves it by −own. Of every
    resampling `counts` [draw, prompt], draws last.
    """
    weight = np.ones((1, own.shape[-1])) if counts is None else counts.astype(float)
    both = np.stack([source, own], axis=-1).astype(float)  # [prompt, 2]
    gram = np.einsum("dp,pi,pj->dij", weight, both, both)
    found = np.einsum("dp,pi,...p->...di", weight, both, moved.astype(float))
    share = np.linalg.solve(gram, found[..., None])[..., 0, 0]
    return share[..., 0] if counts is None else share


@jax.jit
def moves(learner: TransformerLearner, prompts: Prompts, source: Prompts, projections: jax.Array) -> jax.Array:
    """Moves of the last answer, [kind, layer, prompt].

    In each layer alone, the examples' tokens are changed by (source − own) P, P the projections [kind, layer, width,
    width].
    """
    run, tokens = recorded(learner, prompts), example_tokens(learner, prompts)
    count, layers = learner.format.tokens(prompts.positions), learner.model.config.applications
    which = worlds(learner.model.config, SITE, count, np.arange(layers), np.array(ALL), np.array(ALL))
    apart = (recorded(learner, source).value - run.value) * np.isin(np.arange(count), tokens)[:, None]
    read, _ = asked(learner.format, prompts.positions, -1)

    def moved(projection: jax.Array) -> jax.Array:
        other = run.value + jnp.einsum("lptw,lwv->lptv", apart, projection, precision="highest")
        return replay(learner, run, other, SITE, which, read)[:, :, 0, 0] - run.answers[:, 0, 0]

    return jax.lax.map(moved, projections)


def patched(
    learner: TransformerLearner, task: Any, ways: dict[str, np.ndarray], prompts: Prompts, key: Any
) -> dict[str, dict[str, np.ndarray]]:
    """What patches do along each way, a projection [layer, width, width], and along its rotations.

    "moved" [layer, prompt], "taken" [layer], "rotated" [rotation, layer], and the ridge answers "own" and "source"
    [prompt].
    """
    source_key, turn_key = jax.random.split(key)
    source = jax.jit(counterpart)(task, prompts, source_key)
    answers = [np.asarray(ridge_answers(task, each)) for each in (prompts, source)]
    width = next(iter(ways.values())).shape[-1]
    turns = np.linalg.qr(np.asarray(jax.random.normal(turn_key, (ROTATIONS, width, width))))[0]
    kinds = np.stack([kind for onto in ways.values() for kind in (onto, *(onto @ turns[:, None]))])
    found = np.asarray(moves(learner, prompts, source, jnp.asarray(kinds, jnp.float32)))
    found = found.reshape(len(ways), 1 + ROTATIONS, *found.shape[1:])
    shares = taken(found, *answers)
    return {
        name: {"moved": moved[0], "taken": share[0], "rotated": share[1:], "own": answers[0], "source": answers[1]}
        for name, moved, share in zip(ways, found, shares, strict=True)
    }


def look_into(subject: TrainedSubject, index: int, config: RunConfig) -> dict[str, Any]:
    """Everything measured on one member: scores by layer on both sets of prompts, hidden-layer scores, patches."""
    task, learner, seed = subject.members[index].member.task, subject.learner(index), config.judge.seed
    untrained = subject.learner(index, subject.snapshots.load(0))
    found: dict[str, Any] = {}
    ways: dict[str, np.ndarray] = {}
    for name in ("choosing", "measuring"):
        prompts = sample(task, stream(seed, f"{name} layers"), config.judge.prompts)
        targets = wanted(task, prompts, stream(seed, f"{name} controls"))
        streams = places(learner, prompts)
        null = read_out(places(untrained, prompts), targets)
        found[name] = read_out(streams, targets) | {f"{key}, untrained": null[key] for key in NAMES}
        if name == "choosing":
            answers = np.asarray(linear(streams[0], targets["weights"]))
            examples = np.asarray(streams[0], float)
            read = directions(examples, answers)
            whole = np.broadcast_to(np.eye(read.shape[1]), (len(read), *read.shape[1:2] * 2))
            ways = {"pattern": pattern(read, examples), "span": span(read), "whole stream": whole}
        else:
            key = stream(seed, "hidden layer")
            found["hidden"] = {k: np.asarray(mlp_readout(streams, targets[k], key)) for k in (*NAMES, "control task")}
        found[f"patched, {name}"] = patched(learner, task, ways, prompts, stream(seed, f"{name} patch"))
    return found


def against(found: dict[str, Any], name: str, control: str) -> tuple[float, float, tuple[float, float]]:
    """R² of a statistic in its best layer and of a control, and the 95% interval of the difference over prompts.

    The best layer is the one of the choosing prompts. Targets are compared in the same layer, the untrained model in
    its own best layer.
    """
    choosing, measuring = (
        {key: value[0] for key, value in found[which].items()} for which in ("choosing", "measuring")
    )
    layer = int(choosing[name].mean(-1).argmax())
    key = {"control task": control, "untrained model": f"{name}, untrained", "shuffled targets": f"{name}, shuffled"}
    other = key[control]
    at = int(choosing[other].mean(-1).argmax()) if control == "untrained model" else layer
    own, rival = measuring[name][layer], measuring[other][at]
    low, high = bootstrap_interval(own - rival)
    return float(own.mean()), float(rival.mean()), (float(low), float(high))


def readout_claims(name: str, found: list[dict[str, Any]]) -> list[Claim]:
    """Read-outs against each control, and which statistic is there first."""
    claims = []
    for key, title in NAMES.items():
        for control in CONTROLS:
            rows = [against(each, key, control) for each in found]
            claims.append(
                members_claim(
                    f"{name}.{key}.{control.replace(' ', '_')}",
                    f"R² of the linear read-out of {title} in its best layer against the {control}",
                    SOURCE,
                    "above by more than the 95% interval over prompts",
                    [f"{own:.2f} against {rival:.2f} ({low:+.2f} to {high:+.2f})" for own, rival, (low, high) in rows],
                    [low > 0 for *_, (low, _) in rows],
                )
            )
    firsts = [[first_layer(each["measuring"][key][0].mean(-1)) for key in NAMES] for each in found]
    claims.append(
        members_claim(
            f"{name}.earlier",
            f"first layer with {NEARLY:.0%} of the best layer's R², Xᵀy and w",
            SOURCE,
            "earlier for Xᵀy",
            [f"{moment} and {weights}" for moment, weights in firsts],
            [moment < weights for moment, weights in firsts],
            gate="report",
        )
    )
    hidden = [[float(values[0].max()) for values in each["hidden"].values()] for each in found]
    claims.append(
        members_claim(
            f"{name}.hidden_layer",
            "R² of the read-outs with a hidden layer in their best layer: Xᵀy, w, control task",
            SOURCE,
            "Xᵀy and w above the control task",
            ["; ".join(f"{value:.2f}" for value in each) for each in hidden],
            [min(each[:2]) > each[2] for each in hidden],
            gate="report",
        )
    )
    answering = [[float(each["measuring"][key][1].mean(-1).max()) for key in NAMES] for each in found]
    beside = [[float(values[1].max()) for values in each["hidden"].values()] for each in found]
    claims.append(
        members_claim(
            f"{name}.answering_token",
            "R² at the token that answers: Xᵀy, w, linear; Xᵀy, w, control task with a hidden layer",
            SOURCE,
            f"Xᵀy and w above {FAINT} for linear read-outs",
            [
                "; ".join(f"{value:.2f}" for value in (*own, *other))
                for own, other in zip(answering, beside, strict=True)
            ],
            [min(own) > FAINT for own in answering],
            gate="report",
        )
    )
    return claims


def patch_claims(name: str, found: list[dict[str, Any]]) -> list[Claim]:
    """Whether changing what the read-out of w sees brings the other prompt's answer."""
    claims = []
    for way, title in WAYS.items():
        shown, holds, least = [], [], 0.5 if way == "whole stream" else 0.0
        for each in found:
            layer, of = chosen_layer(each, way), each["patched, measuring"][way]
            counts = resamplings(of["own"].shape[-1])
            drawn = taken(of["moved"][layer], of["own"], of["source"], counts)
            low, high = np.quantile(drawn, [0.025, 0.975])
            most = float(np.abs(of["rotated"][:, layer]).max())
            shown.append(f"{of['taken'][layer]:.3f} ({low:.3f} to {high:.3f}) against {most:.3f}, layer {layer + 1}")
            holds.append(bool(low > most and of["taken"][layer] > least))
        claims.append(
            members_claim(
                f"{name}.patch.{way.replace(' ', '_')}",
                f"share of the other prompt's answer that is taken, {title}; most of {ROTATIONS} rotations",
                SOURCE,
                "its interval above the rotations" + (" and itself above half" if least else ""),
                shown,
                holds,
            )
        )
    return claims


def chosen_layer(found: dict[str, Any], way: str) -> int:
    """The layer whose patch takes most of the other's answer on the choosing prompts."""
    return int(found["patched, choosing"][way]["taken"].argmax())


def resamplings(samples: int, draws: int = 500) -> np.ndarray:
    """How often every prompt is drawn in each resampling, [draw, prompt]."""
    return np.random.default_rng(0).multinomial(samples, np.full(samples, 1 / samples), size=draws)


def measure(config: RunConfig, subjects: Subjects, directory: RunDirectory) -> list[Claim]:
    """Read-outs and patches of every member."""
    claims, panels = [], {}
    for name, subject in subjects.items():
        found = [look_into(subject, index, config) for index in range(len(subject.members))]
        claims += readout_claims(name, found) + patch_claims(name, found)
        panels[name] = (subject, found)
    draw(panels, directory)
    return claims


def draw(panels: dict[str, Any], directory: RunDirectory) -> None:
    """R² by layer of Xᵀy and w with their controls, and the moves of patches along w's read-out, a line per seed."""
    import matplotlib.pyplot as plt

    with style():
        size = (12.0, 3.9 * len(panels))
        figure, axes = plt.subplots(len(panels), 3, figsize=size, squeeze=False, layout="constrained")
        for row, (subject, found) in zip(axes, panels.values(), strict=True):
            layers = np.arange(subject.model.config.applications) + 1
            for axis, (key, title) in zip(row, NAMES.items(), strict=False):
                for index, each in enumerate(found):
                    named = index == 0
                    own = each["measuring"]
                    values, (low, high) = own[key][0].mean(-1), bootstrap_interval(own[key][0])
                    label, bars = "linear read-out, each seed" * named or None, [values - low, high - values]
                    axis.errorbar(layers, values, bars, color=SUBJECT, lw=1.4, marker="o", ms=4, label=label)
                    hidden = each["hidden"][key][0]
                    axis.plot(layers, hidden, color=SUBJECT, lw=0.8, ls=":", label="hidden layer" * named)
                    for other, colour, label in (
                        ("control task", COLOURS["rival"], "control task"),
                        (f"{key}, untrained", COLOURS["H2"], "untrained model"),
                        (f"{key}, shuffled", COLOURS["decoy"], "shuffled targets"),
                    ):
                        axis.plot(layers, own[other][0].mean(-1), color=colour, lw=1.2, ls="--", label=label * named)
                    label = "at the answering token" * named
                    axis.plot(layers, own[key][1].mean(-1), color=COLOURS["H5"], lw=1.0, ls="-.", label=label)
                axis.axhline(0, color="0.6", lw=0.8)
                axis.set(title=f"Can {title} be read off? {subject.subject.title}", ylim=(-0.15, 1.05))
                axis.set(xlabel="layer", ylabel="held-out R² (mean stream of the examples)", xticks=layers)
            axis = row[2]
            for index, each in enumerate(found):
                named = index == 0
                of = each["patched, measuring"]
                for way, (colour, dashes) in LOOKS.items():
                    values = of[way]["taken"]
                    axis.plot(layers, values, color=colour, ls=dashes, lw=1.3, marker="o", ms=3, label=way * named)
                rotated = axis.plot(layers, of["pattern"]["rotated"].T, color=COLOURS["decoy"], lw=0.6, alpha=0.5)
                rotated[0].set_label("pattern, rotated" * named)
            axis.axhline(0, color="0.6", lw=0.8)
            axis.axhline(1, color="0.6", lw=0.8, ls=":")
            axis.set(title="Is w used? Patches along its read-out", ylim=(-0.3, 1.1), xticks=layers)
            axis.set(xlabel="layer patched", ylabel="share of the other's answer taken")
            axis.legend(loc="upper right")
            row[1].legend(loc="upper left", ncols=2, fontsize=7)
        save_figure(figure, directory.path / "figures", "what_is_encoded")
        plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(run_experiment(__file__, measure))
