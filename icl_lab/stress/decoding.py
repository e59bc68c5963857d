"""How a predictive distribution is decoded: penalties, temperature, top-k and top-p, in the usual order.

Everything acts on log probabilities along the last axis and gives log probabilities that are normalised again.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical
from icl_lab.core.pytrees import pytree_dataclass

Value = Any  # a number, or an array that broadcasts against the leading axes


@pytree_dataclass
class Decoding:
    """A decoding rule as data: one compiled program serves all. The defaults change nothing.

    Attributes:
        temperature: T > 0 of p^(1/T), normalised. Greedy choice is `top_k=1`.
        top_k: how many of the most probable outcomes are kept; 0: all.
        top_p: mass of the smallest set of most probable outcomes that is kept, in (0, 1].
        repetition: θ > 0 of `repetition_penalty`; 1: none.
        frequency: nats that every earlier occurrence takes off an outcome's log probability.
        presence: nats that having occurred at all takes off.

    Raises:
        ValueError: a number outside its range.
    """

    __no_type_check__ = True  # transformations put tracers into fields

    temperature: Value = 1.0
    top_k: Value = 0
    top_p: Value = 1.0
    repetition: Value = 1.0
    frequency: Value = 0.0
    presence: Value = 0.0

    def __post_init__(self) -> None:
        for name in ("temperature", "repetition", "top_p"):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value > 0:
                raise ValueError(f"{name}: {value} must be above 0")
        if isinstance(self.top_p, int | float) and self.top_p > 1:
            raise ValueError(f"top_p: {self.top_p} is a share; it must be at most 1")
        if isinstance(self.top_k, int) and self.top_k < 0:
            raise ValueError(f"top_k: {self.top_k} must be at least 1, or 0 for all")


def decode(predicted: Categorical, counts: Float[Array, "*batch outcome"], rule: Decoding) -> Categorical:
    """The distribution that is sampled from: penalties first, then temperature, then top-k, then top-p.

    Args:
        predicted: what a learner answers.
        counts: how often each outcome has occurred so far.
        rule: the decoding.
    """
    scores = repetition_penalty(predicted.log_probs, counts, rule.repetition)
    scores = occurrence_penalty(scores, counts, rule.frequency, rule.presence)
    return Categorical(top_p(top_k(temperature(scores, rule.temperature), rule.top_k), rule.top_p))


def temperature(scores: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """log of p^(1/T)/Σ p^(1/T): T < 1 sharpens, T → 0 is greedy, T → ∞ uniform over what is possible."""
    return jax.nn.log_softmax(scores / value, axis=-1)


def top_k(log_probs: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """The k most probable outcomes, normalised; of equals the first. k = 0 keeps all."""
    rank = _before(log_probs).sum(-1)
    return _only(log_probs, (rank < value) | (jnp.asarray(value) == 0))


def top_p(log_probs: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """The nucleus: the smallest set of most probable outcomes whose mass is at least p, normalised.

    An outcome is kept where all that is more probable has less mass than p, so the most probable one always is.
    Source: Holtzman et al. 2020, "The curious case of neural text degeneration".
    """
    mass = (_before(log_probs) * jnp.exp(log_probs)[..., None, :]).sum(-1)
    return _only(log_probs, (mass < value) | (jnp.asarray(value) >= 1))  # at 1 rounding must not drop the rarest


def repetition_penalty(
    logits: Float[Array, "*batch outcome"], counts: Float[Array, "*batch outcome"], strength: Value
) -> Float[Array, "*batch outcome"]:
    """Logits of outcomes that have occurred are divided by θ where positive, multiplied by θ where negative.

    It is no function of probabilities: a constant added to all logits changes what it does. Log probabilities, which
    is what `decode` gives it, are never positive, so that an outcome seen before goes from p to p^θ. Where *every*
    outcome has been seen that is temperature 1/θ: a penalty θ > 1 then sharpens.
    Source: Keskar et al. 2019, "CTRL", which divides throughout; multiplying where negative is the usual repair.
    """
    penalised = jnp.where(logits > 0, logits / strength, logits * strength)
    return jnp.where(counts > 0, penalised, logits)


def occurrence_penalty(
    logits: Float[Array, "*batch outcome"], counts: Float[Array, "*batch outcome"], frequency: Value, presence: Value
) -> Float[Array, "*batch outcome"]:
    """logits − frequency·count − presence·[count > 0], of counts of earlier occurrences."""
    return logits - frequency * counts - presence * (counts > 0)


def _before(log_probs: Float[Array, "*batch outcome"]) -> Float[Array, "*batch outcome outcome"]:
    """[..., i, j]: 1 where j comes before i in order of falling probability, and of equals in order of index."""
    own, other = log_probs[..., :, None], log_probs[..., None, :]
    index = jnp.arange(log_probs.shape[-1])
    return ((other > own) | ((other == own) & (index < index[:, None]))).astype(log_probs.dtype)


def _only(log_probs: Array, kept: Array) -> Array:
    return jax.nn.log_softmax(jnp.where(kept, log_probs, -jnp.inf), axis=-1)
