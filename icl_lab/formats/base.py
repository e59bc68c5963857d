"""What a format is."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Prompts

REAL = Real()


@runtime_checkable
class Format(Protocol):
    """A prompt of P positions over d features and targets of size t becomes `tokens(P)` tokens of `channels(d, t)`."""

    @property
    def streams(self) -> bool:
        """Whether it is for streams only, whose inputs follow from earlier outcomes."""
        ...

    def tokens(self, positions: int) -> int:
        """Number of tokens of a prompt with that many positions."""
        ...

    def channels(self, dimension: int, targets: int = 1) -> int:
        """Number of channels of a token for inputs of that dimension and targets of that size."""
        ...

    def read(self, positions: int) -> slice:
        """The tokens at which answers are read."""
        ...

    def answers(self, positions: int) -> slice:
        """The positions those tokens answer, in the same order."""
        ...

    def labels(self, positions: int) -> tuple[str, ...]:
        """A short name per token, for figures. Names that begin with x, y or s say what the token carries."""
        ...

    def encode(self, prompts: Prompts, outcomes: Outcomes = REAL) -> Float[Array, "batch token channel"]:
        """The token sequence, outcomes as targets. Nothing of the outcome asked for enters it."""
        ...

    def decode(self, tokens: Float[Array, "batch token channel"], outcomes: Outcomes = REAL) -> Prompts:
        """The prompts that have these tokens, without latents; the last outcome, which no token tells, is 0."""
        ...

    def read_back(self, natural: Float[Array, "*batch target"]) -> Float[Array, "*batch target"]:
        """What a network answers in this format as natural parameters of the outcomes: codes are undone."""
        ...


def as_outcomes(targets: Float[Array, "*batch target"], outcomes: Outcomes) -> Shaped[Array, "*batch"]:
    """The outcomes that have these targets."""
    return targets[..., 0] if outcomes.linear else targets.argmax(-1).astype(jnp.int32)


def unknown_last(x: Array, y: Array, description: Any = None) -> Prompts:
    """Prompts of all inputs and all outcomes but the last, for which a 0 stands."""
    y = jnp.pad(y, ((0, 0), (0, 1)))
    return Prompts(x=x, y=y, latent=None, scored=jnp.ones(y.shape, bool), description=description)


def why_not(format: Any) -> str:
    """ "" if prompts can be written in the format, else why not, see `Unreadable`."""
    while format is not None:
        if why := getattr(format, "why", ""):
            return why
        format = getattr(format, "inner", None)
    return ""
