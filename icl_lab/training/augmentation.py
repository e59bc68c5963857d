"""Training in several formats at once: every prompt of a batch is written in one of them.

All are written and one is chosen per prompt, so that the batch is one array and training one program. Shorter token
sequences end with tokens of zeros: under a causal mask no answer sees them, and a prompt stands where it will stand
when it is asked in that format alone. (Zeros in front would move it to places that it never has again.)
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Prompts
from icl_lab.formats import CHANGES, Format, why_not


def changed_formats(format: Format, names: Sequence[str]) -> tuple[Format, ...]:
    """The format changed in each of the ways named.

    Raises:
        ValueError: a change that it does not allow.
    """
    changed = tuple(CHANGES[name](format) for name in names)
    for name, other in zip(names, changed, strict=True):
        if why := why_not(other):
            raise ValueError(f"formats: {name!r} cannot be: {why}")
    return changed


def longest(format: Format, names: Sequence[str], positions: int) -> int:
    """Tokens of the longest of the formats, or of the format itself where none are named."""
    return max(other.tokens(positions) for other in changed_formats(format, names) or (format,))


def encode_in(
    formats: Sequence[Format], prompts: Prompts, outcomes: Outcomes, choice: Int[Array, " batch"]
) -> Float[Array, "batch token channel"]:
    """Prompt b written in format `choice[b]`, with tokens of zeros behind it up to the longest."""
    size = max(format.tokens(prompts.positions) for format in formats)
    every = [format.encode(prompts, outcomes) for format in formats]
    padded = jnp.stack([jnp.pad(one, ((0, 0), (0, size - one.shape[1]), (0, 0))) for one in every])
    return padded[choice, jnp.arange(len(choice))]


def answering(formats: Sequence[Format], positions: int) -> Int[np.ndarray, "format position"]:
    """The token at which each format answers each position; −1: it does not."""
    at = np.full((len(formats), positions), -1)
    for row, format in zip(at, formats, strict=True):
        row[format.answers(positions)] = range(format.tokens(positions))[format.read(positions)]
    return at


def read_in(
    formats: Sequence[Format], natural: Float[Array, "batch token target"], choice: Array, positions: int
) -> Float[Array, "batch position target"]:
    """What a network answers at the tokens of the format that each prompt is written in, codes undone.

    Positions that the format does not answer hold what the first token says: they must not count.
    """
    at = jnp.maximum(jnp.asarray(answering(formats, positions))[choice], 0)
    found = jnp.take_along_axis(natural, at[..., None], axis=1)
    return jnp.stack([format.read_back(found) for format in formats])[choice, jnp.arange(len(choice))]


def drawn(formats: Sequence[Any], key: Array, batch: int) -> Int[Array, " batch"]:
    """A format for every prompt, each as likely."""
    return jax.random.randint(key, (batch,), 0, len(formats))
