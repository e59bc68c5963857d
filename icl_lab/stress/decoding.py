"""Decoding of predictive distributions: penalties, temperature, top-k and top-p, in the usual order.

All functions act on log probabilities along the last axis and return normalised log probabilities.
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
    """Parameters of a decoding rule; one compiled program serves all rules. The defaults change nothing.

    Attributes:
        temperature: T > 0 of p^(1/T), normalised. Greedy choice is `top_k=1`.
        top_k: number of most probable outcomes to keep; 0 keeps all.
        top_p: probability mass of the smallest set of most probable outcomes to keep, in (0, 1].
        repetition: θ > 0 of `repetition_penalty`; 1: none.
        frequency: nats subtracted from an outcome's log probability for every earlier occurrence.
        presence: nats subtracted once if it has occurred.

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
    """Return the distribution to sample from: apply penalties, then temperature, then top-k, then top-p.

    Args:
        predicted: a learner's answers.
        counts: occurrences of each outcome so far.
        rule: parameters of the decoding.
    """
    scores = repetition_penalty(predicted.log_probs, counts, rule.repetition)
    scores = occurrence_penalty(scores, counts, rule.frequency, rule.presence)
    return Categorical(top_p(top_k(temperature(scores, rule.temperature), rule.top_k), rule.top_p))


def temperature(scores: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """Return log p^(1/T)/Σ p^(1/T): T < 1 sharpens, T → 0 is greedy, T → ∞ is uniform over possible outcomes."""
    return jax.nn.log_softmax(scores / value, axis=-1)


def top_k(log_probs: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """Keep the k most probable outcomes, normalised; among equals, the first ones. k = 0 keeps all."""
    rank = _before(log_probs).sum(-1)
    return _only(log_probs, (rank < value) | (jnp.asarray(value) == 0))


def top_p(log_probs: Float[Array, "*batch outcome"], value: Value) -> Float[Array, "*batch outcome"]:
    """Keep the nucleus: the smallest set of most probable outcomes whose mass is at least p, normalised.

    An outcome is kept if all more probable outcomes together have less mass than p, so the most probable always is.
    Source: Holtzman et al. 2020, "The curious case of neural text degeneration".
    """
    mass = (_before(log_probs) * jnp.exp(log_probs)[..., None, :]).sum(-1)
    return _only(log_probs, (mass < value) | (jnp.asarray(value) >= 1))  # at 1 rounding must not drop the rarest


def repetition_penalty(
    logits: Float[Array, "*batch outcome"], counts: Float[Array, "*batch outcome"], strength: Value
) -> Float[Array, "*batch outcome"]:
    """Divide the logits of outcomes that have occurred by θ if positive, multiply them by θ if negative.

    The result is not a function of probabilities: adding a constant to all logits changes it. `decode` passes log
    probabilities, which are never positive, so the probability p of an outcome seen before becomes p^θ. Once *every*
    outcome has been seen, this equals temperature 1/θ: a penalty θ > 1 then sharpens.
    Source: Keskar et al. 2019, "CTRL", which always divides; multiplying negative logits is the usual repair.
    """
    penalised = jnp.where(logits > 0, logits / strength, logits * strength)
    return jnp.where(counts > 0, penalised, logits)


def occurrence_penalty(
    logits: Float[Array, "*batch outcome"], counts: Float[Array, "*batch outcome"], frequency: Value, presence: Value
) -> Float[Array, "*batch outcome"]:
    """Return logits − frequency·count − presence·[count > 0], with counts of earlier occurrences."""
    return logits - frequency * counts - presence * (counts > 0)


def _before(log_probs: Float[Array, "*batch outcome"]) -> Float[Array, "*batch outcome outcome"]:
    """Return [..., i, j]: whether j comes before i by falling probability, and among equals by index."""
    own, other = log_probs[..., :, None], log_probs[..., None, :]
    index = jnp.arange(log_probs.shape[-1])
    return ((other > own) | ((other == own) & (index < index[:, None]))).astype(log_probs.dtype)


def _only(log_probs: Array, kept: Array) -> Array:
    return jax.nn.log_softmax(jnp.where(kept, log_probs, -jnp.inf), axis=-1)
