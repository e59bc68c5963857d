"""Learners of parities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Task


def gf2_elimination(task: Task, prompts: Prompts) -> Predictions:
    """The label y = a·b mod 2 of bits b = [x > 0] where the examples determine it, else ½, by Gaussian elimination.

    A query in the row space over GF(2) of the earlier inputs has the sum of their labels; of any other, half of the
    parities a that agree with the examples say 1. So it is the exact posterior predictive of *dense* parities, equal
    prior over all 2^n subsets and no noise (of sparse ones it ignores the sparsity). Examples that contradict earlier
    ones are passed over.

    Answers go through `from_mean`: certain ones keep its least share of the other class.
    """
    bits, labels = (prompts.x > 0).astype(jnp.int32), prompts.y.astype(jnp.int32)
    n = bits.shape[-1]

    def turn(basis: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """One position; basis [n, n + 1]: row p is zero, or its first 1 is in column p and the only one there."""
        b, y = given
        row = (jnp.append(b, 0) + b @ basis) % 2
        rest, said = row[:n], row[n]
        known = ~rest.any()
        pivot = rest.argmax()
        row = row.at[n].set((said + y) % 2)
        grown = ((basis + basis[:, pivot, None] * row) % 2).at[pivot].set(row)
        return jnp.where(known, basis, grown), (said, known)

    def one(bits: Array, labels: Array) -> tuple[Array, Array]:
        return jax.lax.scan(turn, jnp.zeros((n, n + 1), jnp.int32), (bits, labels))[1]

    said, known = jax.vmap(one)(bits, labels)
    return task.outcomes.from_mean(jnp.where(known[..., None], task.outcomes.targets(said), task.outcomes.neutral))
