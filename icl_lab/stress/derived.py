"""Tasks made of another task: they answer every question by asking it, but for what a subclass changes."""

from typing import Any

from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Described, Task, task_dataclass
from icl_lab.tasks.wrapped import Wrapped


@task_dataclass
class Derived(Wrapped, Task):
    """The task `base`, with as many examples and the prior that the fields of this one say.

    A subclass overrides what it changes. Nothing is said about closed forms: a population has none, unless a subclass
    gives one.
    """

    base: Task = None  # pyrefly: ignore[bad-assignment]

    def draw_latent(self, key: Array) -> Any:
        return self.base.draw_prior_latent(key)

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        return self.base.draw_inputs(key, latent)

    def outcome(self, latent: Any, x: Float[Array, "position feature"]) -> Predictions:
        return self.base.outcome(latent, x)

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        return self.base.input_log_prob(latent, x, y)

    def features(self, x: Array) -> Array:
        return self.base.features(x)

    def feed(self, y: Array) -> Float[Array, "*batch feature"]:
        return self.base.feed(y)

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        return self.base.reorder(key, prompts)


def undescribed(task: Task) -> str:
    """ "" if a derived task says all that the task says, else why not."""
    return "a description would name the task that was changed" if isinstance(task, Described) else ""
