"""Learners that infer a rule by algebra instead of statistics: parities over GF(2), and linear rules modulo p.

Answers go through `from_mean`: a certain answer keeps the smallest share that it gives to other classes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from icl_lab.core.compiling import exact
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.tasks import Pool, Task
from icl_lab.tasks.modular_rules import ModularRules


def gf2_elimination(task: Task, prompts: Prompts) -> Predictions:
    """Solve for the label y = a·b mod 2 of bits b = [x > 0] by Gaussian elimination; ½ where it is undetermined.

    A query in the row space of the earlier inputs over GF(2) has the sum of their labels. For any other query, half of
    the parities a that agree with the examples say 1. So this is the exact posterior predictive for *dense* parities
    (uniform over all 2^n subsets) without noise; for sparse ones it ignores the sparsity. Examples that contradict
    earlier ones are ignored.
    """
    bits, labels = (prompts.x > 0).astype(jnp.int32), prompts.y.astype(jnp.int32)
    n = bits.shape[-1]

    def turn(basis: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """Process one position. Row p of the basis [n, n + 1] is zero, or has the only 1 of column p as its first 1."""
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

    return _answer(task, *jax.vmap(one)(bits, labels))


def ratio_rule(task: ModularRules, prompts: Prompts) -> Predictions:
    """Answer c·z_j for the most recent example j with c·n_j = n_i for some c, the smallest; neutral if there is none.

    Numbers n_i = (x₁, x₂) and outcomes z_i are modulo p. Source: an algorithm found in transformers by He et al. 2024.
    """
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
    """Answer Σ_j c_j z_j where n_i = Σ_j c_j n_j combines earlier examples, by Gaussian elimination modulo p.

    Neutral where there is no such combination: then every class is the answer of equally many rules that agree with
    the examples. So this is the exact posterior predictive of the whole population without noise. Examples that
    contradict earlier ones are ignored. Source: an algorithm found in transformers by He et al. 2024.

    Raises:
        ValueError: the modulus is not prime.
    """
    p = task.modulus
    if any(p % divisor == 0 for divisor in range(2, p)):
        raise ValueError(f"modulus: {p} is not prime, and elimination divides; use a prime")
    inverse = jnp.array([0] + [pow(number, -1, p) for number in range(1, p)])

    def turn(basis: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        """Process one position. Row r of the basis [2, 3] is zero, or starts with the only 1 of column r."""
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


def rules_of(task: ModularRules) -> Int[Array, "rule 2"]:
    """Return the rules that prompts are drawn from: the pool's, or all p² without a pool."""
    if isinstance(task.prior, Pool):
        return jax.vmap(task.pool_latent)(jnp.arange(task.prior.size))
    return task.latent_at(jnp.arange(task.support))


def outcomes_of(
    task: ModularRules, rules: Int[Array, "rule 2"], queries: Float[Array, "query feature"]
) -> Int[Array, "query rule class"]:
    """Return the one-hot outcome of every rule for every query."""
    return jax.nn.one_hot((task.numbers(queries) @ rules.T) % task.modulus, task.modulus, dtype=jnp.int32)


@exact
def rule_of_thumb(task: ModularRules, rules: Int[Array, "rule 2"], prompts: Prompts) -> Int[Array, " prompt"]:
    """Return the last answer of a learner that compares numbers and outcomes but cannot add or multiply.

    It knows four kinds k of rules: about both numbers, about the first or the second, about none. If the numbers that
    count are equal, so are two outcomes; if just one of them differs, so do the outcomes. Over the kinds that no two
    examples contradict, it answers the class z that maximises

        Σ_k #{rules of kind k that map the query's pair to z} · [k and the examples allow z],

    and among several such classes the one of most rules.
    """
    numbers, z = task.numbers(prompts.x), prompts.y[:, :-1]
    shared = numbers[:, :, None] == numbers[:, None]  # [prompt, position, position, number]
    alike = z[:, :, None] == z[:, None]
    shown = jax.nn.one_hot(z, task.modulus, dtype=bool)  # [prompt, example, class]
    outcomes = outcomes_of(task, rules, prompts.x[:, -1])

    def votes(counts: Bool[Array, "2"]) -> Int[Array, "prompt class"]:
        """Count the rules of one kind, given by which of the two numbers count, for every class that is allowed."""
        same = (shared | ~counts).sum(-1)
        equal, differs = same == 2, same == 1
        contradicted = (equal[:, :-1, :-1] & ~alike) | (differs[:, :-1, :-1] & alike)
        must = (equal[:, :-1, -1, None] & shown).any(1)
        must_not = (differs[:, :-1, -1, None] & shown).any(1)
        allowed = ~must_not & (must | ~must.any(-1, keepdims=True)) & ~contradicted.any((1, 2))[:, None]
        return (outcomes * ((rules != 0) == counts).all(-1)[:, None]).sum(1) * allowed

    found = jax.lax.map(votes, jnp.array([[True, True], [True, False], [False, True], [False, False]])).sum(0)
    return ((1 + len(rules)) * found + outcomes.sum(1)).argmax(-1)


def _answer(task: Task, said: Int[Array, "batch position"], known: Bool[Array, "batch position"]) -> Predictions:
    """The class said where it is known, neutral elsewhere."""
    outcomes = task.outcomes
    return outcomes.from_mean(jnp.where(known[..., None], outcomes.targets(said), outcomes.neutral))
