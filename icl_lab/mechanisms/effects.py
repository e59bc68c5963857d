"""Effects of patches: the prompts that values come from, and the share of an effect that was predicted."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def rolled(batch: Array) -> Array:
    """Roll the batch by one, so that prompt i receives values from prompt i + 1."""
    return jnp.roll(batch, -1, axis=0)


def explained(found: Array, predicted: Array, before: Array) -> Float[Array, ""]:
    """Compute 1 − Σ w|found − predicted|²/Σ w|found − before|², the share of a change that was predicted.

    It is 0 where nothing changed, and −1 where the values are not finite. With s = |before|² + |found|² of a prompt,
    its weight w is 1/(s + median s). Otherwise a few prompts whose answers explode, as those of random networks do,
    would decide.

    Args:
        found: after the patch. All arguments lead with an axis of prompts; sums run over all axes.
        predicted: what was expected after the patch.
        before: without the patch.
    """

    def size(values: Array) -> Float[Array, " prompt"]:
        return jnp.square(values).reshape(len(values), -1).sum(1)

    answered = size(before) + size(found)
    weight = 1 / (answered + jnp.median(answered) + 1e-30)
    change, error = weight @ size(found - before), weight @ size(found - predicted)
    moved = change > 1e-6 * (weight @ answered)
    return jnp.nan_to_num(jnp.where(moved, 1 - error / jnp.where(moved, change, 1.0), 0.0), nan=-1.0, neginf=-1.0)
