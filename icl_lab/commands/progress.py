"""What a person sees of long work: a bar on a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


class Watcher(Protocol):
    """Told how far the work is."""

    def update(self, step: int, loss: float | None = None) -> None:
        """`step` steps are done; of a training, `loss` is the mean over members and the last chunk."""

    def say(self, line: str) -> None:
        """Something a person should know, such as a damaged checkpoint."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would leave with the exit code of a check that failed; `ends.ended` knows better."""
        raise BrokenPipeError


class _Rate(ProgressColumn):
    def __init__(self, unit: str):
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g} {self._unit}s/s" if speed else "compiling", style="progress.data.speed")


class _Bar:
    def __init__(self, progress: Progress, name: str, steps: int, first: int):
        self._progress = progress
        self._task = progress.add_task(name, total=steps, completed=first, loss="")

    def update(self, step: int, loss: float | None = None) -> None:
        self._progress.update(self._task, completed=step, loss=_loss(loss))

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, emoji=False)


class _Lines:
    def __init__(self, console: Console, name: str, steps: int, first: int, unit: str):
        self._console, self._name, self._steps, self._unit = console, name, steps, unit
        self._start: tuple[float, int] | None = None
        self._last_line, self._first = time.monotonic(), first

    def update(self, step: int, loss: float | None = None) -> None:
        now = time.monotonic()
        if self._start is None:  # the first chunk compiles: it says nothing of the rate
            self._start = (now, step)
        if step < self._steps and now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        since, first = self._start
        parts = [f"{self._unit} {step}/{self._steps}", *filter(None, [_loss(loss)])]
        if now > since and step > first:
            rate = (step - first) / (now - since)
            parts.append(f"{rate:.3g} {self._unit}s/s")
            if step < self._steps:
                parts.append(f"{(self._steps - step) / rate:.0f} s left")
        self.say(f"{self._name}: {', '.join(parts)}")

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _loss(loss: float | None) -> str:
    return "" if loss is None else f"loss {loss:.4g}"


@contextlib.contextmanager
def watch(name: str, steps: int, first: int, console: Console | None = None, unit: str = "step") -> Iterator[Watcher]:
    """A watcher for work of `steps` steps (or other units) of which `first` are done."""
    console = console or _Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, name, steps, first, unit)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[loss]}"), console=console) as progress:
        yield _Bar(progress, name, steps, first)
