"""Learners of linear rules modulo p that use no statistics, after the algorithms found by He et al. 2024.

Numbers n_i = (x₁, x₂), outcomes z_i, all modulo p. Answers go through `from_mean`: certain ones keep its least share of
the other classes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks.modular_rules import ModularRules


def ratio_rule(task: ModularRules, prompts: Prompts) -> Predictions:
    """c·z_j of the most recent example j with c·n_j = n_i for some c, the smallest; neutral where there is none."""
    p, n = task.modulus, task.numbers(prompts.x)
    factor = jnp.arange(p)
    multiples = factor[:, None, None, None] * n % p  # [factor, batch, example, 2]
    match = (multiples[:, :, None] == n[:, :, None]).all(-1)  # [factor, batch, position, example]
    earlier = jnp.tril(jnp.ones((prompts.positions, prompts.positions), bool), -1)
    found = match.any(0) & earlier
    recent = prompts.positions - 1 - found[..., ::-1].argmax(-1)
    chosen = jnp.take_along_axis(match.argmax(0), recent[..., None], axis=-1)[..., 0]
    said = chosen * jnp.take_along_axis(prompts.y, recent, axis=1) % p
    return _answer(task, said, found.any(-1))


def modular_elimination(task: ModularRules, prompts: Prompts) -> Predictions:
    """Σ_j c_j z_j where n_i = Σ_j c_j n_j is a combination of earlier examples, by Gaussian elimination modulo p.

    Neutral where it is none: then every class is the answer of equally many rules that agree with the examples. So it
    is the exact posterior predictive of the whole population without noise. Examples that contradict earlier ones are
    passed over.

    Raises:
        ValueError: the modulus is not prime.
    """
    p = task.modulus
    if any(p % divisor == 0 for divisor in range(2, p)):
        raise ValueError(f"modulus: {p} is not prime, and elimination divides; use a prime")
    inverse = jnp.array([0] + [pow(number, -1, p) for number in range(1, p)])

    def turn(basis: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """One position; basis [2, 3]: row r is zero, or its first number other than 0 is a 1 in column r.

        No other row has one in that column.
        """
        numbers, z = given
        combined = numbers @ basis % p
        rest, said = (numbers - combined[:2]) % p, combined[2]
        known = ~rest.any()
        pivot = (rest > 0).argmax()
        row = jnp.append(rest, z - said) * inverse[rest[pivot]] % p
        grown = ((basis - basis[:, pivot, None] * row) % p).at[pivot].set(row)
        return jnp.where(known, basis, grown), (said, known)

    def one(numbers: Array, z: Array) -> tuple[Array, Array]:
        return jax.lax.scan(turn, jnp.zeros((2, 3), jnp.int32), (numbers, z))[1]

    return _answer(task, *jax.vmap(one)(task.numbers(prompts.x), prompts.y))


def _answer(
    task: ModularRules, said: Int[Array, "batch position"], known: Bool[Array, "batch position"]
) -> Predictions:
    """The class said where it is known, else neutral."""
    outcomes = task.outcomes
    return outcomes.from_mean(jnp.where(known[..., None], outcomes.targets(said), outcomes.neutral))
