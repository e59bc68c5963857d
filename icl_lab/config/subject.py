"""One subject of a run: a task, a format, a model, how it is trained, and which members its ensemble has."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from annotated_types import Ge, Gt, Le

from icl_lab.config.messages import FieldError, at
from icl_lab.config.model_section import ModelSection, NetworkSection, model_section, network
from icl_lab.config.sections import LARGEST_INTEGER, Section, section_of
from icl_lab.config.task_section import TaskSection, task_section
from icl_lab.config.teacher_section import TeacherSection
from icl_lab.core.errors import nearest
from icl_lab.formats import NAMED, Format, WithDescription
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.reference import ReferenceLearner
from icl_lab.models import Model, TransformerConfig
from icl_lab.models.attention import visible
from icl_lab.models.network import Network
from icl_lab.tasks import Described, Task
from icl_lab.training import Member, TrainingSettings
from icl_lab.training.augmentation import longest
from icl_lab.training.batches import check_options
from icl_lab.training.regimes import TRAINING

SEEDS_APART = 1000
FURTHER = 1_001_000_000  # added to the seeds of members that go on from others: no run has those
NO_KIND: Any = ModelSection()
TrainingSection = section_of(TrainingSettings)
ADDITIONS = {  # settings that are in the file only where they are used, and what they are where they are not
    **{"formats": (), "noises": ()},
    **{"shortest": 0, "curriculum": 0, "first_examples": 0, "first_dimensions": 0},
}
FormatName = Literal[tuple(NAMED)]  # type: ignore[valid-type]
MemberKind = Literal["trained", "shuffled labels"]
LARGEST_MASK = 4096
VARIED = ("learning_rate", "weight_decay", "noise", "pool")


class Ensemble(Section):
    """Members of a subject: every combination of the lists, `seeds` times. An empty list keeps the subject's value.

    Attributes:
        seeds: members per combination.
        learning_rate, weight_decay: of the training.
        noise, pool: of the task.
        shuffled_labels: further members, at the first combination, that train on shuffled outcomes (a null).
    """

    seeds: Annotated[int, Ge(1), Le(SEEDS_APART)] = 1
    learning_rate: list[Annotated[float, Gt(0)]] = []
    weight_decay: list[Annotated[float, Ge(0)]] = []
    noise: list[Annotated[float, Ge(0)]] = []
    pool: list[Annotated[int, Ge(1), Le(LARGEST_INTEGER)]] = []
    shuffled_labels: Annotated[int, Ge(0), Le(SEEDS_APART)] = 0

    @pydantic.model_validator(mode="after")
    def _no_value_twice(self) -> "Ensemble":
        for name in VARIED:
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise FieldError((name,), f"{values} holds a value twice; give each once and raise seeds instead")
        return self


@dataclass(frozen=True)
class PlannedMember:
    """One member of a subject with what its row in the results says.

    Attributes:
        label: what distinguishes it, such as "seed 0, pool 16".
        kind: "trained" or "shuffled labels".
        seed, pool, noise, learning_rate, weight_decay: pool 0 is the population; noise is NaN where the task has none.
        member: for the training program.
    """

    label: str
    kind: MemberKind
    seed: int
    pool: int
    noise: float
    learning_rate: float
    weight_decay: float
    member: Member


class Expectation(Section):
    """What the verdicts of all trained members should be; becomes a claim of the run.

    Attributes:
        near: references that should be in the near set.
        rejected: references that should be rejected.
        statement, source: for claims.json.
    """

    near: list[str] = []
    rejected: list[str] = []
    statement: str = ""
    source: str = ""

    @pydantic.model_validator(mode="after")
    def _known_references(self) -> "Expectation":
        for field in ("near", "rejected"):
            for name in getattr(self, field):
                if name not in REFERENCES:
                    raise FieldError(
                        (field,), f"{name!r} is no reference; {nearest(name, list(REFERENCES), 'references')}"
                    )
        return self


class Subject(Section):
    """A network to be trained and judged.

    Attributes:
        title, description: for the report.
        task: what it is trained on.
        format: how prompts become tokens.
        model: the network, a transformer where no `kind` says otherwise; its ends follow from task and format.
        training: objective, optimiser, length.
        teacher: a reference learner whose answers are trained on in place of the outcomes.
        start_from: the subject of this run whose trained members this one's begin as, each as its counterpart
            (fine-tuning); null: fresh parameters.
        ensemble: which members are trained.
        expect: what should come out, as claims.
    """

    title: str = ""
    description: str = ""
    task: Annotated[pydantic.SerializeAsAny[TaskSection], pydantic.BeforeValidator(task_section)]
    format: FormatName = "interleaved"
    model: Annotated[pydantic.SerializeAsAny[NetworkSection], pydantic.BeforeValidator(model_section)] = NO_KIND
    training: TrainingSection = TrainingSection()  # type: ignore[valid-type]
    teacher: TeacherSection = TeacherSection()
    start_from: str | None = None
    ensemble: Ensemble = Ensemble()
    expect: list[Expectation] = []

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "Subject":
        at(("task",), self.task.check)
        task, settings = self.build_task(), self.build_training()
        at(("training",), lambda: check_options(settings, task, self.build_format()))
        for level in settings.noises:
            at(("training", "noises"), lambda level=level: self._task_with({"noise": level}))
        config, batch = self.build_model().config, settings.batch // max(len(settings.noises), 1)
        if self.build_format().streams and not task.is_stream:
            raise FieldError(
                ("format",),
                f"{self.format!r} is for streams; the inputs of {self.task.kind!r} do not follow from its outcomes; "
                "use 'interleaved' or 'paired'",
            )
        least = task.inputs_size + task.outcomes.size
        if isinstance(config, TransformerConfig):
            if settings.formats and config.mask != "causal":
                raise FieldError(
                    ("training", "formats"), f"shorter formats end with zeros that {config.mask!r} sees; use 'causal'"
                )
            _check_mask(self.format, self.build_format(), config, task.positions)
        if isinstance(config, TransformerConfig) and config.width < least:
            need = f"an input of {task.inputs_size} features and its outcome"
            raise FieldError(("model", "width"), f"{config.width} cannot hold {need}; use at least {least}")
        if self.teacher.reference is not None and self.ensemble.shuffled_labels:
            raise FieldError(
                ("ensemble", "shuffled_labels"), "is no null with a teacher, who answers any prompt; use 0"
            )
        for chosen in self._combinations():
            at(("teacher",), lambda chosen=chosen: self.teacher.check(self._task_of(chosen), batch))
        return self

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_not(self, plain: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """What is not used (teacher, start, additions to training) is nothing in the file: the run's hash stays."""
        fields = plain(self)
        if self.teacher.reference is None:
            del fields["teacher"]
        if self.start_from is None:
            del fields["start_from"]
        for name, default in ADDITIONS.items():
            if getattr(self.training, name) == default:
                del fields["training"][name]
        return fields

    def build_task(self) -> Task:
        """The task that members share, before the ensemble's noise and pool."""
        return at(("task",), self.task.build)

    def build_format(self) -> Format:
        """The format, with a token for the description where the task has one."""
        format, task = NAMED[self.format], self.build_task()
        return WithDescription(format, task.names) if isinstance(task, Described) else format

    def build_model(self) -> Network:
        """The network with its derived fields, without parameters.

        Raises:
            FieldError: its fields contradict one another, the task or the format.
        """
        task, format = self.build_task(), self.build_format()
        outputs = task.outcomes.size
        channels = format.channels(task.inputs_size, outputs)
        tokens = at(("training",), lambda: longest(format, self.training.formats, task.positions))  # pyrefly: ignore
        return at(("model",), lambda: network(self.model, channels, tokens, outputs))

    def transformer(self) -> TransformerConfig | None:
        """What the model is if it is a transformer, else None."""
        model = self.build_model()
        return model.config if isinstance(model, Model) else None

    def build_training(self) -> TrainingSettings:
        """The training settings."""
        return at(("training",), lambda: TrainingSettings(**dict(self.training)))

    @property
    def size(self) -> int:
        """Number of members."""
        return len(list(self._combinations())) * self.ensemble.seeds + self.ensemble.shuffled_labels

    def members(self, seed: int = 0) -> list[PlannedMember]:
        """The members in order: combinations outermost, seeds innermost, then those with shuffled labels.

        Members of run seed s have the seeds 1000·s, 1000·s + 1, …: runs with other seeds share none. Members that go on
        from others draw their prompts from streams of their own.
        """
        # A teacher may have to learn first: one per combination.
        combinations = [(chosen, self.teacher.build(self._task_of(chosen))) for chosen in self._combinations()]
        base = SEEDS_APART * seed
        trained = itertools.product(combinations, range(self.ensemble.seeds))
        shuffled = itertools.product(combinations[:1], range(self.ensemble.shuffled_labels))
        return [self._planned(*chosen, base + index, "trained") for chosen, index in trained] + [
            self._planned(*chosen, base + index, "shuffled labels") for chosen, index in shuffled
        ]

    def _combinations(self) -> Iterator[dict[str, Any]]:
        """What differs between members, a value for each list that is not empty."""
        lists = {name: getattr(self.ensemble, name) for name in VARIED if getattr(self.ensemble, name)}
        for values in itertools.product(*lists.values()):
            chosen = dict(zip(lists, values, strict=True))
            for name in ("noise", "pool"):
                if name in chosen:
                    at(("ensemble", name), lambda name=name, chosen=chosen: self._task_with({name: chosen[name]}))
            yield chosen

    def _task_with(self, changes: dict[str, Any]) -> Task:
        section = type(self.task)
        for name in changes:
            if name not in section.model_fields:
                raise FieldError((), f"the task {self.task.kind!r} has no {name}; leave this list out")
        found = section.model_validate({**dict(self.task), **changes})
        found.check()
        return found.build()

    def _task_of(self, chosen: dict[str, Any]) -> Task:
        return self._task_with({name: chosen[name] for name in ("noise", "pool") if name in chosen})

    def _planned(
        self, chosen: dict[str, Any], teacher: ReferenceLearner | None, seed: int, kind: MemberKind
    ) -> PlannedMember:
        task = self._task_of(chosen)
        settings = self.build_training()
        learning_rate = chosen.get("learning_rate", settings.learning_rate)
        weight_decay = chosen.get("weight_decay", settings.weight_decay)
        shuffled = kind == "shuffled labels"
        words = [f"seed {seed}", *(f"{name.replace('_', ' ')} {value:g}" for name, value in chosen.items())]
        return PlannedMember(
            label=", ".join([*words, kind] if shuffled else words),
            kind=kind,
            seed=seed,
            pool=chosen.get("pool", self.task.pool or 0),
            noise=float(getattr(task, "noise", float("nan"))),
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            member=Member(
                seed if self.start_from is None else seed + FURTHER,
                task,
                learning_rate,
                weight_decay,
                shuffled,
                teacher,
                TRAINING if teacher is None else tuple(self.teacher.regimes),
            ),
        )


def _check_mask(name: str, format: Format, config: TransformerConfig, positions: int) -> None:
    """No answer is read where information from later tokens can arrive: it would know the outcome asked for."""
    if config.mask == "causal":
        return
    if config.tokens > LARGEST_MASK:
        raise FieldError(
            ("model", "mask"), f"{config.mask!r} serves at most {LARGEST_MASK} tokens, not {config.tokens}"
        )
    sees = visible(config, config.tokens)
    reached = np.eye(config.tokens, dtype=bool)
    for _ in range(min(config.applications, config.tokens)):
        reached = reached | (sees.astype(np.float32) @ reached.astype(np.float32) > 0)
    read = range(config.tokens)[format.read(positions)]
    for token in read:
        if reached[token, token + 1 :].any():
            raise FieldError(
                ("model", "mask"),
                f"{config.mask!r} shows later tokens to token {token}, where format {name!r} reads an answer; "
                "use 'causal', or format 'paired', which reads the last token only",
            )
