"""Tasks derived from another task, which they delegate to, except where a subclass overrides a method."""

from typing import Any

from jaxtyping import Array, Float

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Described, Task, task_dataclass
from icl_lab.tasks.wrapped import Wrapped


@task_dataclass
class Derived(Wrapped, Task):
    """The task `base` with another number of examples and another prior.

    A subclass overrides what it changes. A population prior has no closed form unless the subclass gives one.
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
    """Return "" if a derived task keeps the prompts of the task complete, else the reason why not."""
    return "a description would name the task that was changed" if isinstance(task, Described) else ""
