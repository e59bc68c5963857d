"""The `task` block of a configuration: a kind, and the fields of that kind's dataclass."""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import pydantic
from annotated_types import Ge

from icl_lab.config.messages import FieldError
from icl_lab.config.sections import Section, section_of
from icl_lab.core.errors import nearest
from icl_lab.tasks import TASKS, Pool, Population, Task

_FOUND_RIGHT: set[tuple[type, str]] = set()


class TaskSection(Section):
    """What every task block has; the section of a kind adds the fields of its dataclass.

    Attributes:
        kind: a name from `icl-lab list tasks`, or "module:Class" for a task in a file of the user's own.
        pool: number of latents in the training pool; null: every prompt draws a fresh one.
        pool_seed: which pool.
    """

    kind: str
    pool: Annotated[int, Ge(1)] | None = None
    pool_seed: Annotated[int, Ge(0)] = 0

    @pydantic.model_validator(mode="after")
    def _inner_tasks_are_there(self) -> "TaskSection":
        for name in _inner_tasks(task_kind(self.kind)):
            if getattr(self, name, None) is None:
                raise FieldError((name,), "is missing; give a block such as {kind: linear_regression}")
        return self

    def build(self) -> Task:
        """The task. Lists become arrays in data fields and tuples in static ones, which must be hashable."""
        kind = task_kind(self.kind)
        values: dict[str, Any] = {
            field.name: _value(getattr(self, field.name), static=bool(field.metadata.get("static")))
            for field in dataclasses.fields(kind)
            if field.init and field.name != "prior"
        }
        return kind(**values, prior=Population() if self.pool is None else Pool(self.pool, self.pool_seed))

    def check(self) -> None:
        """Raises whatever the task raises when the shapes of one batch are traced: fields that do not fit together.

        Members of an ensemble ask again and again: what was found right once is not traced another time.
        """
        key = (type(self), self.model_dump_json())
        if key in _FOUND_RIGHT:
            return
        task = self.build()
        if why := task.why_not():
            raise ValueError(why)
        jax.eval_shape(lambda: task.sample(jax.random.key(0), 2))
        _FOUND_RIGHT.add(key)


def _value(value: Any, static: bool) -> Any:
    if isinstance(value, TaskSection):
        return value.build()
    if not isinstance(value, list):
        return value
    return tuple(_value(item, True) for item in value) if static else np.asarray(value, np.float32)


def task_section(given: Any) -> Any:
    """The section of the block's own kind, validated; anything but a mapping is left to pydantic to refuse.

    Raises:
        FieldError: no kind, or an unknown one.
        pydantic.ValidationError: fields that the kind does not accept.
    """
    if isinstance(given, TaskSection) or not isinstance(given, dict):
        return given
    if not isinstance(given.get("kind"), str):
        known = ", ".join(TASKS)
        raise FieldError(("kind",), f"is missing or not text; give one of {known}, or 'module:Class'")
    return section_of_task(task_kind(given["kind"])).model_validate(given)


INNER = Annotated[pydantic.SerializeAsAny[TaskSection], pydantic.BeforeValidator(task_section)]


@functools.cache
def section_of_task(kind: type[Task]) -> type[Section]:
    """The section of a task class. A field that holds a task is a block like that of the task itself."""
    inner = dict.fromkeys(_inner_tasks(kind), (INNER, None))
    return section_of(kind, base=TaskSection, leave_out=("prior",), replace=inner)


def _inner_tasks(kind: type[Task]) -> list[str]:
    """Names of the fields that hold a task."""
    annotations = inspect.get_annotations(kind, eval_str=True).items()
    return [name for name, annotation in annotations if annotation is Task]


def task_kind(name: str) -> type[Task]:
    """The task class of that name in the table, or imported as "module:Class" (the current directory counts).

    Raises:
        FieldError: no such task, a module that does not import, or a class that is no task.
    """
    if name in TASKS:
        return TASKS[name]
    module_name, separator, class_name = name.partition(":")
    if not separator:
        end = nearest(name, list(TASKS), "tasks")
        raise FieldError(("kind",), f"unknown task {name!r}; {end} (or 'module:Class' for a task of your own)")
    try:
        module = _import(module_name)
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise FieldError(("kind",), f"cannot import {module_name!r}: {type(error).__name__}: {text}") from None
    kind = getattr(module, class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        classes = [key for key, value in vars(module).items() if _is_task_of(module_name, value)]
        raise FieldError(
            ("kind",), f"no task {class_name!r} in {module_name!r}; {nearest(class_name, classes, 'tasks')}"
        )
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise FieldError(("kind",), f"task {class_name!r} is not complete; it has to define {missing}")
    if not (dataclasses.is_dataclass(kind) and "__dataclass_fields__" in vars(kind)):
        raise FieldError(("kind",), f"task {class_name!r} needs the decorator @task_dataclass")
    return kind


def _import(module_name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(module_name)


def _is_task_of(module_name: str, value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Task) and value.__module__ == module_name


def sources(section: TaskSection) -> str | None:
    """Digests of the user's own files that a task block needs, those of tasks inside it among them; else None."""
    inner = [sources(value) for _, value in section if isinstance(value, TaskSection)]
    found = [digest for digest in (source_digest(section.kind), *inner) if digest]
    return " ".join(found) or None


def source_digest(name: str) -> str | None:
    """A digest of the file a task of the user's own comes from, so that an edited task is another run; else None."""
    if name in TASKS:
        return None
    file = inspect.getsourcefile(task_kind(name))
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else None
