"""What a task made of another one has in common with it."""

from jaxtyping import Array

from icl_lab.tasks.base import Task


class Wrapped:
    """Of a task with a field `base`: what can be done with its prompts is what can be done with the base's."""

    base: Task

    @property
    def is_stream(self) -> bool:
        return self.base.is_stream

    @property
    def can_reorder(self) -> bool:
        return self.base.can_reorder

    @property
    def inputs_are_free(self) -> bool:
        return self.base.inputs_are_free

    @property
    def latent_is_by_position(self) -> bool:
        return self.base.latent_is_by_position

    @property
    def memory(self) -> int:
        return self.base.memory

    @property
    def graph(self) -> tuple[int, ...] | None:
        return self.base.graph

    @property
    def ridge_penalty(self) -> Array | None:
        return self.base.ridge_penalty
