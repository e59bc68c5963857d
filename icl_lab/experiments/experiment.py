"""An experiment as a declaration: what is measured on each trained network, what is claimed, and what is drawn.

The library trains the subjects of a preset, loops over members and snapshots, compiles, stores what was measured in the
run's results.nc, and derives claims and figures from that file alone.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Array

from icl_lab.commands.train import TrainedSubject
from icl_lab.config.config import RunConfig
from icl_lab.core.claims import Claim
from icl_lab.core.compiling import exact
from icl_lab.core.streams import stream

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

Found = Mapping[str, "xarray.Dataset"]  # name of a subject → what was measured on it
Variables = Mapping[str, tuple[Sequence[str], Any]]  # name → (dimensions, values)
Say = Callable[[str], None]
COORDINATES = ("label", "kind", "seed", "pool", "noise", "learning_rate", "weight_decay")


@dataclass(frozen=True)
class Trained:
    """One trained network at one step, with everything that a measurement may need.

    Attributes:
        name: of the subject in the preset.
        subject: its networks, format, snapshots and training history.
        member: index of this network in the subject.
        step: after which its parameters were taken.
        learner: the network as a learner.
        config: of the run.
        subjects: all subjects of the run by name.
        prepared: what the experiment's `prepare` returned for this task.
    """

    name: str
    subject: TrainedSubject
    member: int
    step: int
    learner: Any
    config: RunConfig
    subjects: Mapping[str, TrainedSubject]
    prepared: Any = None

    @property
    def task(self) -> Any:
        """The task the network was trained on."""
        return self.subject.members[self.member].member.task

    @property
    def prompts(self) -> int:
        """Number of prompts that the preset asks for."""
        return self.config.judge.prompts

    def key(self, name: str) -> Array:
        """Random key of that name, the same for every network of the run."""
        return stream(self.config.judge.seed, name)


@dataclass(frozen=True)
class Experiment:
    """What a script of `experiments/` declares.

    Attributes:
        source: of its claims, unless a claim names its own.
        measure: network → variables, as (dimensions, values) or an xarray.Dataset. Called for every member, and with
            `steps="all"` for every snapshot; the results gain the dimensions `member` and `step`.
        claims: what was measured → claims.
        figure: what was measured → a figure, or several by name.
        prepare: what networks of equal tasks share, such as prompts or reference answers; computed once per task.
        shared: what is measured once per subject, on its first network; its variables have no `member` dimension.
        steps: "last", or "all" for every snapshot.
    """

    source: str
    measure: Callable[[Trained], "Variables | xarray.Dataset"]
    claims: Callable[[Found], Iterable[Claim]]
    figure: Callable[[Found], "Figure | Mapping[str, Figure]"]
    prepare: Callable[[Trained], Any] | None = None
    shared: Callable[[Trained], "Variables | xarray.Dataset"] | None = None
    steps: Literal["last", "all"] = "last"

    def main(self, script: str) -> None:
        """Run the experiment from the command line when its script is the main program; see `script.run`."""
        from icl_lab.experiments.script import run

        raise SystemExit(run(script, self))


def per_prompt(measure: Callable[..., Mapping[str, Array]]) -> Callable[[Trained], Variables]:
    """Make a measurement of a pure function (learner, task, prompts) → {name: [prompt]}.

    It is compiled once and evaluated on the prompts that `prepare` returned.
    """
    compiled = exact(measure)

    @functools.wraps(measure)
    def measured(trained: Trained) -> Variables:
        found = compiled(trained.learner, trained.task, trained.prepared)
        return {name: (("prompt",), values) for name, values in found.items()}

    return measured


def measure_all(
    experiment: Experiment, config: RunConfig, subjects: Mapping[str, TrainedSubject], say: Say = lambda line: None
) -> dict[str, "xarray.Dataset"]:
    """Measure every network of a run: name of a subject → variables [member, …] or [member, step, …].

    Every dataset also holds the training log, `train_loss` [member, log_step], and the plain fields of task and model
    as attributes, such as `task_labels` and `model_layers`; `start_from` names the subject that training started from.
    """
    return {name: _measure_subject(experiment, name, config, subjects, say) for name in subjects}


def _measure_subject(
    experiment: Experiment, name: str, config: RunConfig, subjects: Mapping[str, TrainedSubject], say: Say
) -> "xarray.Dataset":
    import xarray

    subject, shared, rows = subjects[name], _Once(experiment.prepare), []
    every = experiment.steps == "all"
    snapshots = {step: subject.snapshots.load(step) for step in subject.steps} if every else {}
    for member, planned in enumerate(subject.members):
        say(f"measuring {name}, {planned.label}")
        columns = []
        for step, params in snapshots.items() if every else [(subject.steps[-1], None)]:
            trained = Trained(name, subject, member, step, subject.learner(member, params), config, subjects)
            columns.append(_dataset(experiment.measure(shared.add(trained))))
        row = xarray.concat(columns, "step", **STRICT).assign_coords(step=subject.steps) if every else columns[0]
        rows.append(row)
    found = xarray.concat(rows, "member", **STRICT)
    if experiment.shared is not None:
        first = Trained(name, subject, 0, subject.steps[-1], subject.learner(0), config, subjects)
        found = found.merge(_dataset(experiment.shared(shared.add(first))), compat="identical", join="exact")
    steps, loss = subject.training_log()
    found = found.assign(train_loss=(("member", "log_step"), loss)).assign_coords(log_step=steps)
    for coordinate in COORDINATES:
        found = found.assign_coords({coordinate: ("member", [getattr(one, coordinate) for one in subject.members])})
    plain = _plain("task", vars(subject.members[0].member.task)) | _plain("model", vars(subject.model.config))
    title, earlier = subject.subject.title or name.replace("_", " "), subject.subject.start_from or ""
    return found.assign_attrs(title=title, start_from=earlier, **plain)


def _plain(prefix: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and words among some fields, as attributes "task_labels" or "model_layers"."""
    plain = {name: value for name, value in fields.items() if isinstance(value, int | float | str)}
    return {f"{prefix}_{name}": int(value) if isinstance(value, bool) else value for name, value in plain.items()}


STRICT: dict[str, Any] = {"coords": "minimal", "compat": "override", "join": "exact", "combine_attrs": "override"}


def _dataset(found: "Variables | xarray.Dataset") -> "xarray.Dataset":
    """Variables as a dataset of numpy arrays."""
    import xarray

    if isinstance(found, xarray.Dataset):
        return found
    return xarray.Dataset({name: (tuple(dims), np.asarray(values)) for name, (dims, values) in found.items()})


class _Once:
    """Runs `prepare` once for every distinct task of a subject."""

    def __init__(self, prepare: Callable[[Trained], Any] | None):
        self.prepare = prepare
        self.known: dict[Any, Any] = {}

    def add(self, trained: Trained) -> Trained:
        """The network with what was prepared for its task."""
        import dataclasses

        from icl_lab.analysis.battery import key_of

        if self.prepare is None:
            return trained
        key = key_of(trained.task)
        if key not in self.known:
            self.known[key] = self.prepare(trained)
        return dataclasses.replace(trained, prepared=self.known[key])
