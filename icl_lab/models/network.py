"""What training and learners ask of a model, whatever computes inside."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from icl_lab.models.attention import Tap
from icl_lab.models.functional import Params
from icl_lab.models.transformer import EVERY


@runtime_checkable
class Sizes(Protocol):
    """The sizes every configuration has."""

    @property
    def channels(self) -> int:
        """Channels of an input token."""
        ...

    @property
    def tokens(self) -> int:
        """Longest sequence."""
        ...

    @property
    def outputs(self) -> int:
        """Values answered per token."""
        ...

    @property
    def width(self) -> int:
        """Values a token carries from one layer to the next."""
        ...


@runtime_checkable
class Network(Protocol):
    """Two pure functions of a parameter pytree. Hashable and equal by configuration, so a static jit argument."""

    @property
    def config(self) -> Sizes:
        """What the network is."""
        ...

    def init(self, key: Array) -> Params:
        """Fresh parameters, a nested dictionary of arrays."""
        ...

    def apply(
        self, params: Params, inputs: Float[Array, "batch token channel"], read: slice = EVERY, tap: Tap | None = None
    ) -> Float[Array, "batch read output"]:
        """Answers at the tokens in the slice `read`; a tap is called at every site."""
        ...
