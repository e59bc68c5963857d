"""States that each depend on one earlier state, which need not be the last: a graph that weights must learn."""

import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Le
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Predictions, Prompts
from icl_lab.tasks.base import Population, Task, static, task_dataclass
from icl_lab.tasks.sequential import count_predictive


@task_dataclass
class CausalGraph(Task):
    """s_i ~ P[s_{p(i)}] with one parent p(i) < i, the same in all prompts; y_i = s_{i+1} as a stream.

    Example with 2 states, P = [[.9, .1], [.5, .5]] and parents none, 0, 0, none, 3, of which the last is asked for:

        s_0 = 0 → s_1 = 0, s_2 = 1        s_3 = 0 → ? (0 with .9)

    States without a parent are uniform. Of a pair (s_{p(i)}, s_i) the first says which row of P the second was drawn
    from: with every row ~ Dirichlet(α) the answer counts what became of the children of states equal to its parent. A
    Markov chain is the graph p(i) = i − 1.

    Attributes:
        states: number of states S.
        concentration: α.
        parents: p of s_0, s_1, …, s_{N+1} for N examples, −1 for none. Empty: drawn from `graph_seed`, uniformly among
            none and all earlier states for s_1 … s_{N−1}; s_N has none and is the parent of the answer s_{N+1}.
        graph_seed: of the graph.

    Source: Nichani et al. 2024, "How transformers learn causal structure with gradient descent", whose states without a
    parent are drawn from the stationary distribution of P, but for s_N, which is uniform there, too. That is evidence
    about P, and the exact predictive has no closed form with it.
    """

    states: Annotated[int, Ge(2), Le(64)] = static(default=3)
    concentration: Annotated[float, Gt(0)] = 1.0
    parents: tuple[int, ...] = static(default=())
    graph_seed: Annotated[int, Ge(0)] = static(default=0)

    def why_not(self) -> str:
        """What is wrong with `parents`: those of another number of states, or not all earlier."""
        if self.parents and len(self.parents) != self.examples + 2:
            return f"parents: {len(self.parents)} are given; {self.examples} examples have {self.examples + 2} states"
        wrong = [(state, parent) for state, parent in enumerate(self.parents) if not -1 <= parent < state]
        return "".join(f"parents: {p} of state {s} is no earlier state; use −1 for none" for s, p in wrong[:1])

    @property
    def graph(self) -> tuple[int, ...]:
        """Parents of s_0 … s_{N+1}, −1 for none. Raises ValueError for `parents` that make no graph."""
        if why := self.why_not():
            raise ValueError(why)
        return self.parents or _drawn(self.examples, self.graph_seed)

    @property
    def memory(self) -> int:
        """Of the last answer: how far back its parent is; 0 if it has none, or s_0, which is no outcome."""
        return len(self.graph) - 1 - self.graph[-1] if self.graph[-1] > 0 else 0

    def draw_latent(self, key: Array) -> Float[Array, "parent state"]:
        """The transition matrix P."""
        return jax.random.dirichlet(key, self.concentration * jnp.ones(self.states), (self.states,))

    def draw_inputs(self, key: Array, latent: Array) -> Float[Array, "position state"]:
        """The first state; the others follow from the outcomes."""
        first = jax.random.randint(key, (), 0, self.states)
        return jnp.zeros((self.positions, self.states)).at[0].set(self.feed(first))

    def feed(self, y: Array) -> Float[Array, "*batch state"]:
        return jax.nn.one_hot(y, self.states)

    def features(self, x: Array) -> Float[Array, "*batch position state"]:
        """One-hot of the parent of the state that is asked for; zero where it has none."""
        parents = np.array(self.graph[1:])
        return x[..., np.maximum(parents, 0), :] * (parents >= 0)[:, None]

    def outcome(self, latent: Array, x: Array) -> Categorical:
        parent = self.features(x)
        logits = jnp.matmul(parent, jnp.log(jnp.maximum(latent, 1e-30)), precision="highest")
        return Categorical(jnp.where(parent.sum(-1, keepdims=True) > 0, logits, -jnp.log(self.states)))

    def draw_pairs(self, latent: Array, x: Array, key: Array) -> tuple[Array, Array]:
        """State by state by the Gumbel trick, with the noise of `outcome(...).sample`: the same states."""
        noise, logits = jax.random.gumbel(key, (self.positions, self.states)), jnp.log(jnp.maximum(latent, 1e-30))

        def turn(chain: Array, now: tuple[Array, Array, Array]) -> tuple[Array, None]:
            state, parent, noise = now
            scores = jnp.where(parent >= 0, logits[chain[parent]], 0.0)
            return chain.at[state].set(jnp.argmax(scores + noise)), None

        first = jnp.zeros(self.positions + 1, jnp.int32).at[0].set(jnp.argmax(x[0]))
        states = 1 + jnp.arange(self.positions)
        chain, _ = jax.lax.scan(turn, first, (states, jnp.array(self.graph[1:]), noise))
        return self.feed(chain[:-1]), chain[1:]

    def shift_latent(self, latent: Array) -> Array:
        """Every row squared and normalised: twice as sure of the next state."""
        return jax.nn.softmax(2 * jnp.log(jnp.maximum(latent, 1e-30)), axis=-1)

    def rescaled(self, scale: float) -> "CausalGraph":
        """Rows from Dirichlet(α/scale): surer ones."""
        return self.replace(concentration=self.concentration / scale)

    def population_predictive(self, prompts: Prompts) -> Categorical:
        """(C + α)/(n + Sα) from counts C of the children of earlier states equal to the parent of the one asked for."""
        shape = (*prompts.y.shape, prompts.positions)
        return count_predictive(self.features(prompts.x), self.feed(prompts.y), jnp.ones(shape), self.concentration)

    def weighted_predictive(
        self, prompts: Prompts, counts: Float[Array, "batch position example"]
    ) -> Predictions | None:
        """The same from weighted counts."""
        if not isinstance(self.prior, Population):
            return super().weighted_predictive(prompts, counts)
        return count_predictive(self.features(prompts.x), self.feed(prompts.y), counts, self.concentration)


@functools.cache
def _drawn(examples: int, seed: int) -> tuple[int, ...]:
    """Parents of examples + 2 states, as the class says."""
    generator = np.random.default_rng(seed)
    between = [int(generator.integers(-1, state)) for state in range(1, examples)]
    return (-1, *between, -1, examples)
