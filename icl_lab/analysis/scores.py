"""From trained members to labelled arrays: judge every member, probe it, follow its training. No disk here."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from icl_lab.core.compiling import exact
from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.statistics import bootstrap_interval, holm, relative
from icl_lab.formats import Format
from icl_lab.hypotheses import HYPOTHESES, REFERENCES
from icl_lab.judging.bank import Bank, reference_answers
from icl_lab.judging.comparison import Comparison, compare, zero_predictor
from icl_lab.judging.duels import NO_DUEL, Duel, duels
from icl_lab.judging.fitting import Fit
from icl_lab.judging.judge import Verdict, judge, judge_learner, owner_of
from icl_lab.learners import TransformerLearner
from icl_lab.learners.answers import answers_of
from icl_lab.learners.outside import OutsideLearner
from icl_lab.learners.recurrent import RecurrentLearner, network_learner
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models.network import Network
from icl_lab.probes import alignment, label_influence, label_nonlinearity, mean_attention, query_sensitivity

if TYPE_CHECKING:
    import xarray

PROBE_PROMPTS = 128
ALIGNED_REFERENCES = 8
SMALLEST = 1e-12  # nats: of the answer that knows nothing, where it is the subject's own


# The probes as programs of their own that run once: only the outermost may choose how it is compiled.
_influence, _nonlinearity, _sensitivity = (
    exact(probe, effort="once") for probe in (label_influence, label_nonlinearity, query_sensitivity)
)


@dataclasses.dataclass(frozen=True)
class Judged:
    """One learner of a subject, to be judged.

    Attributes:
        label, kind: name of its row; "trained", "untrained", "shuffled labels" or "planted".
        learner: answers prompts; a pytree.
        bank: of its task.
        coordinates: what else identifies it (seed, pool, noise, learning_rate, truth …).
        trajectory: step → learner, at earlier steps of training.
    """

    label: str
    kind: str
    learner: Callable[[Prompts], Predictions]
    bank: Bank
    coordinates: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trajectory: Mapping[int, Callable[[Prompts], Predictions]] = dataclasses.field(default_factory=dict)


def answers(learner: Callable[[Prompts], Predictions], bank: Bank) -> Predictions:
    """The learner's answers on all prompts of the bank, as numpy arrays."""
    prompts = bank.prompts.replace(scored=np.ones_like(bank.prompts.y, bool))
    if isinstance(learner, ReferenceLearner):  # compiled for the bank
        return jax.tree.map(np.asarray, reference_answers(learner, prompts))
    return jax.tree.map(np.asarray, answers_of(learner, prompts))


def analyse(
    members: Sequence[Judged],
    answered: np.ndarray,
    bootstrap: int = 200,
    probes: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> "xarray.Dataset":
    """Judge and probe learners that share shapes; dimensions and variables as the report reads them.

    Args:
        members: with banks of the same size.
        answered: positions that count, [position] bool.
        bootstrap: resamples for 95% intervals over prompts (0: none).
        probes: measure influence, linearity, sensitivity and attention too, and which references mimic the nearest.
        progress: called with a line per member.
    """
    import xarray

    rows, verdicts, comparisons = [], [], []
    task_fits: dict[int, dict[str, Fit]] = {}
    regimes = max((member.bank.regimes for member in members), key=len)
    references = tuple(name for name in REFERENCES if any(name in member.bank.references for member in members))
    for member in members:
        progress(f"judging {member.label}")
        bank = member.bank.score(answered)
        if id(member.bank) not in task_fits:
            task_fits[id(member.bank)] = bank.fit_to_task()
        subject = answers(member.learner, bank)
        if probes:
            verdict, comparison = judge_learner(bank, subject)
        else:
            comparison = compare(bank, subject)
            verdict = judge(comparison)
        row = _distances(comparison, regimes, references, bootstrap)
        row |= _losses(bank, subject, comparison, regimes, references, bootstrap)
        row |= _task_fitted(bank, subject, task_fits[id(member.bank)], regimes, references)
        row |= _duels(bank, comparison, verdict.nearest, row["hypothesis_reference"][1])
        rows.append(row)
        verdicts.append(verdict)
        comparisons.append(comparison)
    data: dict[str, Any] = {
        name: (("member", *dims), np.stack([row[name][1] for row in rows])) for name, (dims, _) in rows[0].items()
    }
    data["verdict"] = (("member",), np.array([json.dumps(v.to_dict()) for v in verdicts], object))
    if probes:
        data |= _probes(members, verdicts, comparisons, references)
    data |= _trajectories(members, answered, regimes, references, progress)
    coordinates: dict[str, Any] = {
        "member": np.arange(len(members)),
        "regime": list(regimes),
        "reference": list(references),
        "hypothesis": [hypothesis.key for hypothesis in HYPOTHESES],
        "position": np.arange(len(answered)),
        "parameter": [f"p{i}" for i in range(data["fitted"][1].shape[-1])],
        "hypothesis_of": ("reference", [owner_of(name) for name in references]),
        "title": ("reference", [REFERENCES[name][1].title for name in references]),
        "label": ("member", [member.label for member in members]),
        "kind": ("member", [member.kind for member in members]),
    }
    for name in sorted({key for member in members for key in member.coordinates}):
        coordinates[name] = ("member", [member.coordinates.get(name, np.nan) for member in members])
    if "trajectory_distance" in data:
        coordinates["step"] = sorted(members[0].trajectory)
    dataset = xarray.Dataset(data, coordinates)
    grids = {name: grid for member in reversed(members) for name, grid in member.bank.grids.items()}
    names = {name: list(grids[name]) for name in references}
    dataset.attrs["parameter_names"] = json.dumps(names)
    return dataset


Row = dict[str, tuple[tuple[str, ...], np.ndarray]]


def _place(values: np.ndarray, have: tuple[Sequence[str], ...], want: tuple[Sequence[str], ...]) -> np.ndarray:
    """Leading axes of `values` labelled `have`, laid out on the labels `want`; NaN where there is none."""
    out = np.full((*map(len, want), *values.shape[len(have) :]), np.nan)
    index = np.ix_(*[[list(w).index(label) for label in h] for h, w in zip(have, want, strict=True)])
    out[index] = values
    return out


def _distances(comparison: Comparison, regimes: Sequence[str], references: Sequence[str], bootstrap: int) -> Row:
    """Distances to references and, as those of its best one, to hypotheses, with intervals over prompts.

    A hypothesis's best reference is the same on all prompt sets: that of the smallest mean over them of D_k/D_0.
    """
    have, want = (comparison.regimes, comparison.references), (regimes, references)
    low, high = comparison.interval(draws=bootstrap) if bootstrap else np.full((2, *comparison.distance.shape), np.nan)
    owners = np.array([owner_of(name) for name in comparison.references])
    shares = relative(comparison.distance, comparison.zero, SMALLEST).mean(0)
    names = np.full(len(HYPOTHESES), "", object)
    best: dict[str, list[np.ndarray]] = {"": [], "_low": [], "_high": []}
    for place, hypothesis in enumerate(HYPOTHESES):
        own = np.flatnonzero(owners == hypothesis.key)
        chosen = own[np.argmin(shares[own])] if len(own) else 0
        names[place] = comparison.references[chosen] if len(own) else ""
        for suffix, values in (("", comparison.distance), ("_low", low), ("_high", high)):
            best[suffix].append(values[:, chosen] if len(own) else np.full(len(comparison.regimes), np.nan))
    row: Row = {
        "zero_distance": (("regime",), _place(comparison.zero, (comparison.regimes,), (regimes,))),
        "fitted": (("reference", "parameter"), _parameters(comparison.fits, references)),
        "hypothesis_reference": (("hypothesis",), names),
    }
    for suffix, values in (("", comparison.distance), ("_low", low), ("_high", high)):
        row[f"distance{suffix}"] = (("regime", "reference"), _place(values, have, want))
        stacked = np.stack(best[suffix], axis=-1)
        row[f"hypothesis_distance{suffix}"] = (
            ("regime", "hypothesis"),
            _place(stacked, (comparison.regimes,), (regimes,)),
        )
    return row


def _duels(bank: Bank, comparison: Comparison, nearest: str, best: np.ndarray) -> Row:
    """The nearest reference against the best one of every hypothesis where the two differ most; p corrected by Holm."""
    found = duels(bank, comparison, nearest, list(best)) if nearest else [NO_DUEL] * len(best)
    columns = dict(zip(Duel._fields, np.array(found).T, strict=True))
    columns["p"] = holm(columns["p"])
    return {f"duel_{name}": (("hypothesis",), values) for name, values in columns.items()}


def _parameters(fits: Mapping[str, Any], references: Sequence[str]) -> np.ndarray:
    most = max(1, *(len(fit.parameters) for fit in fits.values()))
    out = np.full((len(references), most), np.nan)
    for index, name in enumerate(references):
        values = list(fits[name].parameters.values()) if name in fits else []
        out[index, : len(values)] = values
    return out


def _losses(
    bank: Bank,
    subject: Predictions,
    comparison: Comparison,
    regimes: Sequence[str],
    references: Sequence[str],
    bootstrap: int,
) -> Row:
    """Loss by position of the subject, of every fitted reference, of the exact learner, and of the zero predictor."""
    scored = np.asarray(bank.prompts.scored)

    def by_regime(predictions: Predictions) -> np.ndarray:
        loss = np.where(scored, np.asarray(predictions.loss(bank.prompts.y)), np.nan)
        return np.stack([loss[bank.slices[regime]] for regime in bank.regimes])

    error = by_regime(subject)
    own = error.mean(1)
    low, high = (
        bootstrap_interval(np.moveaxis(error, 1, -1), draws=bootstrap)
        if bootstrap
        else np.full((2, *own.shape), np.nan)
    )
    of_references = np.stack([by_regime(fit.predictions).mean(1) for fit in comparison.fits.values()], axis=1)
    of_exact = np.full_like(own, np.nan) if bank.exact is None else by_regime(bank.exact).mean(1)
    have, want = (bank.regimes,), (regimes,)
    both, all_of_them = (bank.regimes, comparison.references), (regimes, references)
    return {
        "loss": (("regime", "position"), _place(own, have, want)),
        "loss_low": (("regime", "position"), _place(low, have, want)),
        "loss_high": (("regime", "position"), _place(high, have, want)),
        "zero_loss": (("regime", "position"), _place(by_regime(zero_predictor(subject)).mean(1), have, want)),
        "exact_loss": (("regime", "position"), _place(of_exact, have, want)),
        "reference_loss": (("regime", "reference", "position"), _place(of_references, both, all_of_them)),
    }


def _task_fitted(
    bank: Bank, subject: Predictions, fits: Mapping[str, Fit], regimes: Sequence[str], references: Sequence[str]
) -> Row:
    """The same distances with parameters fitted to the task instead of the subject."""
    against = compare(bank, subject, dict(fits))
    placed = _place(against.distance, (against.regimes, against.references), (regimes, references))
    return {
        "distance_task": (("regime", "reference"), placed),
        "task_fitted": (("reference", "parameter"), _parameters(fits, references)),
    }


def _probes(
    members: Sequence[Judged],
    verdicts: Sequence[Verdict],
    comparisons: Sequence[Comparison],
    references: Sequence[str],
) -> dict[str, Any]:
    """Label influence and linearity, sensitivity alignment with the nearest references, and attention patterns."""
    cosine = np.full((len(members), len(references)), np.nan)
    names = _aligned(verdicts, comparisons, references)
    influence, linearity, attention = [], [], []
    for row, (member, comparison) in enumerate(zip(members, comparisons, strict=True)):
        bank = member.bank
        rows = bank.slices["in_distribution"]
        count = min(PROBE_PROMPTS, rows.stop - rows.start)
        prompts = jax.tree.map(lambda leaf, a=rows.start, n=count: jnp.asarray(leaf[a : a + n]), bank.prompts)
        influence.append(np.abs(np.asarray(_influence(member.learner, bank.task, prompts))).mean(0))
        linearity.append(float(_nonlinearity(member.learner, bank.task, prompts, jax.random.key(0))))
        differentiable = not isinstance(member.learner, OutsideLearner)
        own = _sensitivity(member.learner, prompts) if differentiable else None
        for name in names:
            if own is None or name not in comparison.fits:
                continue
            parameters = {key: jnp.float32(value) for key, value in comparison.fits[name].parameters.items()}
            reference = ReferenceLearner(bank.task, {**bank.prepared[name], **parameters}, REFERENCES[name][1])
            value = alignment(own, _sensitivity(reference, prompts)).mean()
            cosine[row, references.index(name)] = float(value)
        if isinstance(member.learner, TransformerLearner):
            learner = member.learner
            given = (learner.model, learner.format, learner.params, prompts, learner.outcomes)
            attention.append(np.asarray(mean_attention(*given)))
    data: dict[str, Any] = {
        "sensitivity_cosine": (("member", "reference"), cosine),
        "influence": (("member", "position_of_example"), np.stack(influence)),
        "linearity": (("member",), np.array(linearity)),
    }
    if len(attention) == len(members):
        data["attention"] = (("member", "layer", "head", "token", "token_key"), np.stack(attention))
    return data


def _aligned(
    verdicts: Sequence[Verdict], comparisons: Sequence[Comparison], references: Sequence[str]
) -> tuple[str, ...]:
    """References whose sensitivities are worth comparing: the best of every hypothesis, then the most often near."""
    score = {name: [] for name in references}
    for comparison in comparisons:
        shares = relative(comparison.distance, comparison.zero, SMALLEST).mean(0)
        for name, value in zip(comparison.references, shares, strict=True):
            score[name].append(value)
    mean = {name: float(np.mean(values)) for name, values in score.items()}
    best = [
        min((n for n in references if owner_of(n) == h.key), key=mean.__getitem__, default=None) for h in HYPOTHESES
    ]
    counts = {name: sum(name in verdict.near for verdict in verdicts) for name in references}
    near = sorted((n for n in references if counts[n]), key=lambda n: (-counts[n], mean[n]))
    chosen = list(dict.fromkeys([*(n for n in best if n), *near]))
    return tuple(chosen[:ALIGNED_REFERENCES])


def _trajectories(
    members: Sequence[Judged],
    answered: np.ndarray,
    regimes: Sequence[str],
    references: Sequence[str],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Distances and verdicts at every snapshot of members that have them; the others hold NaN and ""."""
    steps = sorted(members[0].trajectory)
    if not steps:
        return {}
    shape = (len(members), len(steps), len(regimes), len(references))
    distance = np.full(shape, np.nan)
    verdicts = np.full(shape[:2], "", object)
    for row, member in enumerate(members):
        bank = member.bank.score(answered)
        if member.trajectory:
            progress(f"following {member.label}")
        for column, step in enumerate(steps):
            if step not in member.trajectory:
                continue
            comparison = compare(bank, answers(member.trajectory[step], bank))
            have = (comparison.regimes, comparison.references)
            distance[row, column] = _place(comparison.distance, have, (regimes, references))
            verdicts[row, column] = json.dumps(judge(comparison).to_dict())
    return {
        "trajectory_distance": (("member", "step", "regime", "reference"), distance),
        "trajectory_verdict": (("member", "step"), verdicts),
    }


def token_labels(format: Format, positions: int) -> str:
    """Names of the tokens as JSON, for figures."""
    return json.dumps(list(format.labels(positions)))


def network_learners(
    model: Network, format: Format, params: Any, outcomes: Outcomes
) -> list[TransformerLearner | RecurrentLearner]:
    """One learner per member of stacked parameters."""
    count = len(jax.tree.leaves(params)[0])
    return [
        network_learner(model, jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), params), format, outcomes)
        for i in range(count)
    ]
