"""The `teacher` block of a subject: the reference learner whose answers it is trained on, and its parameters."""

import functools
from typing import Annotated, Any

import pydantic
from annotated_types import Gt, Len, Lt

from icl_lab.config.messages import FieldError
from icl_lab.config.sections import Section
from icl_lab.core.errors import nearest
from icl_lab.hypotheses import REFERENCES
from icl_lab.learners.reference import LAPSE, ReferenceLearner, Scales
from icl_lab.tasks import Task
from icl_lab.training.distil import teacher_of
from icl_lab.training.regimes import REGIMES, Regime

# Free parameters are positive by their grids; which there are may depend on the kind of outcome.
KINDS = (Scales(1.0, 1, 1.0, classes=0), Scales(1.0, 1, 1.0, classes=2))


@functools.cache
def section_of_reference(name: str) -> type[Section]:
    """A section with a field per free parameter of that reference, on whatever outcomes it has them."""
    names = dict.fromkeys(parameter for scales in KINDS for parameter in REFERENCES[name][1].free(scales))
    positive, share = Annotated[float, Gt(0)] | None, Annotated[float, Gt(0), Lt(1)] | None
    fields: dict[str, Any] = {parameter: (share if parameter == LAPSE else positive, None) for parameter in names}
    return pydantic.create_model(f"{name}_parameters", __base__=Section, **fields)


def _parameters(given: Any, info: Any) -> Any:
    """The parameters, validated by the section of the reference; that was validated before."""
    if "reference" not in info.data:
        return Section()  # the reference itself is wrong, which is what will be said
    name = info.data["reference"]
    if name is None and given:
        raise FieldError((), "of no reference; give teacher.reference too")
    if isinstance(given, Section) or not isinstance(given, dict):
        return given
    return Section() if name is None else section_of_reference(name).model_validate(given)


class TeacherSection(Section):
    """Whose answers a subject is trained on. Without a reference it is trained on the outcomes, as usual.

    Attributes:
        reference: a name from `icl-lab list learners`.
        parameters: a value for each of its free parameters; `lapse` may be left out.
        regimes: where training prompts come from, in equal parts of a batch.
    """

    reference: str | None = None
    parameters: Annotated[
        pydantic.SerializeAsAny[Section],
        pydantic.BeforeValidator(_parameters),
        pydantic.Field(validate_default=True),
    ] = {}  # type: ignore[assignment]
    regimes: Annotated[list[Regime], Len(1)] = list(REGIMES)

    @pydantic.field_validator("reference")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in REFERENCES:
            raise ValueError(f"{name!r} is no reference; {nearest(name, list(REFERENCES), 'references')}")
        return name

    @pydantic.model_validator(mode="after")
    def _regimes_once(self) -> "TeacherSection":
        if len(set(self.regimes)) < len(self.regimes):
            raise FieldError(("regimes",), f"{self.regimes} holds a regime twice; give each once")
        return self

    def given(self) -> dict[str, float]:
        """The parameters that have a value."""
        return {name: value for name, value in self.parameters if value is not None}

    def check(self, task: Task, batch: int) -> None:
        """Raises FieldError where the reference, its parameters or the regimes do not fit the task or the batch."""
        if self.reference is None:
            return
        reference = REFERENCES[self.reference][1]
        if not reference.applies(task):
            known = ", ".join(name for name, (_, other) in REFERENCES.items() if other.applies(task))
            raise FieldError(("reference",), f"{self.reference!r} does not apply to this task; these do: {known}")
        names = reference.parameters(task)
        for name in self.given():
            if name not in names:
                raise FieldError(("parameters", name), "has no effect with such outcomes; leave it out")
        for name in names:
            if name not in self.given() and name != LAPSE:
                raise FieldError(("parameters", name), f"is missing; {self.reference!r} needs a value for it")
        if batch < len(self.regimes):
            text = f"{len(self.regimes)} regimes need a training.batch of as many at every noise, not {batch}"
            raise FieldError(("regimes",), text)

    def build(self, task: Task) -> ReferenceLearner | None:
        """The teacher, which knows that task; None without a reference."""
        return None if self.reference is None else teacher_of(task, REFERENCES[self.reference][1], self.given())
