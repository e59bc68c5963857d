"""Markov chains whose transition probabilities must be learned in context."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Le
from jaxtyping import Array, Float, Int

from icl_lab.core.prompts import Categorical, Predictions, Prompts
from icl_lab.tasks.base import Population, Task, static, task_dataclass
from icl_lab.tasks.sequential import count_predictive, sum_before

SWAPS = 8  # of blocks, in another order of the same evidence


@task_dataclass
class MarkovChain(Task):
    """A chain s_0, s_1, …: y_i = s_{i+1} ~ P[s_{i-m+1}, …, s_i], as a stream x_i = one-hot(s_i).

    Example with 2 states, order 1 and P = [[.9, .1], [.5, .5]]:

        s_0 = 0 → y_0 = 0        s_1 = 0 → y_1 = 1        s_2 = 1 → ? (0 or 1, equally likely)

    A prompt of N examples is a chain of N + 2 states, the last one asked for. Outcomes are uniform while fewer than
    `order` states are known.

    Attributes:
        states: number of states k.
        order: number m of past states the next one depends on, 1 to 3.
        rows: "dirichlet": every row of P ~ Dirichlet(α) by itself; "doubly_stochastic": circulant,
            P[c, c'] = w[c' − c mod k] with w ~ Dirichlet(α), for k = 2 all doubly stochastic matrices: the stationary
            distribution is uniform, so counting states tells nothing; "unigram": all rows the same.
        concentration: α.
        initial: the first state is "uniform", or drawn from the chain's "stationary" distribution, of order 1 only. It
            is then evidence about P, which `input_log_prob` counts. The posterior over Dirichlet rows has no closed
            form there.

    Source: Edelman et al. 2024, "The evolution of statistical induction heads"; pools after Park et al. 2024.
    """

    states: Annotated[int, Ge(2), Le(64)] = static(default=3)
    order: Annotated[int, Ge(1), Le(3)] = static(default=1)
    rows: Literal["dirichlet", "doubly_stochastic", "unigram"] = static(default="dirichlet")
    concentration: Annotated[float, Gt(0)] = 1.0
    initial: Literal["uniform", "stationary"] = static(default="uniform")

    @property
    def contexts(self) -> int:
        """Number k^m of contexts."""
        return self.states**self.order

    def draw_latent(self, key: Array) -> Float[Array, "context state"]:
        """The transition matrix P; contexts count with the most recent state as the last digit."""
        drawn = {"dirichlet": self.contexts, "doubly_stochastic": self.contexts // self.states, "unigram": 1}[self.rows]
        weight = jax.random.dirichlet(key, self.concentration * jnp.ones(self.states), (drawn,))
        if self.rows == "doubly_stochastic":
            shift = (jnp.arange(self.states)[None] - jnp.arange(self.states)[:, None]) % self.states
            return weight[:, shift].reshape(self.contexts, self.states)
        return jnp.broadcast_to(weight, (self.contexts, self.states)) if self.rows == "unigram" else weight

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position state"]:
        """The first state; the others follow from the outcomes."""
        if self.initial == "stationary":
            first = jax.random.categorical(key, _log(self.stationary(latent)))
        else:
            first = jax.random.randint(key, (), 0, self.states)
        return jnp.zeros((self.positions, self.states)).at[0].set(self.feed(first))

    def stationary(self, latent: Array) -> Float[Array, " state"]:
        """π = πP of a chain of order 1.

        Raises:
            ValueError: chains of higher order.
        """
        if self.order > 1:
            raise ValueError(f"initial: 'stationary' is for chains of order 1, not {self.order}; use 'uniform'")
        return jnp.linalg.solve(jnp.eye(self.states) - latent.T + 1.0, jnp.ones(self.states))

    def input_log_prob(self, latent: Array, x: Array, y: Array) -> Array:
        """log π of the first state where it is stationary; the others follow from outcomes."""
        if self.initial == "uniform":
            return super().input_log_prob(latent, x, y)
        return jnp.zeros(x.shape[:-1]).at[0].set((x[0] * _log(self.stationary(latent))).sum())

    def feed(self, y: Array) -> Float[Array, "*batch state"]:
        return jax.nn.one_hot(y, self.states)

    def features(self, x: Array) -> Float[Array, "*batch position context"]:
        """One-hot of the last `order` states; zero while fewer are known."""
        context = x
        for back in range(1, self.order):
            earlier = jnp.roll(x, back, axis=-2) * (jnp.arange(x.shape[-2]) >= back)[:, None]
            context = (earlier[..., :, None] * context[..., None, :]).reshape(*x.shape[:-1], -1)
        return context

    def outcome(self, latent: Array, x: Array) -> Categorical:
        context = self.features(x)
        logits = jnp.matmul(context, _log(latent), precision="highest")
        return Categorical(jnp.where(context.sum(-1, keepdims=True) > 0, logits, -jnp.log(self.states)))

    def draw_pairs(self, latent: Array, x: Array, key: Array) -> tuple[Array, Array]:
        """One walk along the chain by the Gumbel trick, with the noise of `outcome(...).sample`: the same chain."""
        noise = jax.random.gumbel(key, (self.positions, self.states))
        logits = _log(latent)

        def turn(carry: tuple[Array, Array], noise: Array) -> tuple[tuple[Array, Array], Array]:
            context, known = carry
            scores = jnp.where(known >= self.order, logits[context], 0.0)
            state = jnp.argmax(scores + noise).astype(jnp.int32)
            return ((context * self.states + state) % self.contexts, known + 1), state

        first = jnp.argmax(x[0]).astype(jnp.int32)
        _, y = jax.lax.scan(turn, (first, jnp.asarray(1)), noise)
        return x.at[1:].set(self.feed(y[:-1])), y

    def shift_latent(self, latent: Array) -> Array:
        """Every row squared and normalised: chains twice as sure of their next state."""
        return jax.nn.softmax(2 * _log(latent), axis=-1)

    @property
    def memory(self) -> int:
        return self.order

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        """Swaps blocks of the chain: first and last states and the counts of all transitions of its order stay.

        Where one context comes three times, … c B c C c …, what lies between can change places: … c C c B c …. Eight
        such swaps at random places, none where no context comes three times; not every chain of the same evidence is
        within their reach. Source: Diaconis and Freedman 1980, "De Finetti's theorem for Markov chains".
        """
        features = self.features(prompts.x)
        context = jnp.where(features.sum(-1) > 0, features.argmax(-1), -1)
        order = jax.vmap(_swap_blocks)(jax.random.split(key, prompts.y.shape[0]), context)
        x = jnp.take_along_axis(prompts.x, order[..., None], axis=1)
        states = x.argmax(-1).astype(prompts.y.dtype)
        return prompts.replace(x=x, y=jnp.concatenate([states[:, 1:], prompts.y[:, -1:]], axis=1))

    def population_predictive(self, prompts: Prompts) -> Categorical | None:
        """The Dirichlet posterior predictive (C + α)/(n + kα) from counts of what followed the context so far.

        Rows tied to one another share their counts: of shifts s' − s in a circulant chain, of states in a unigram one,
        where a stationary first state counts too. None for free rows and a stationary first state.
        """
        if self.initial == "stationary" and self.rows == "dirichlet":
            return None
        context, targets = self.features(prompts.x), jax.nn.one_hot(prompts.y, self.states)
        known = context.sum(-1, keepdims=True) > 0
        shift = (jnp.arange(self.states)[None] - jnp.arange(self.states)[:, None]) % self.states
        roll = jax.nn.one_hot(shift, self.states)  # [state, next state, shift]
        if self.rows == "doubly_stochastic":
            blocks = context.reshape(*context.shape[:-1], -1, self.states).sum(-1)  # all but the most recent state
            seen = jnp.einsum("bps,bpt,stw->bpw", prompts.x, targets, roll)
            counts = sum_before(blocks[..., :, None] * seen[..., None, :] * known[..., None], axis=1)
            counts = jnp.einsum("bpf,bpfw,bps,stw->bpt", blocks, counts, prompts.x, roll)
        elif self.rows == "unigram":
            counts = sum_before(targets * known, axis=1)
            if self.initial == "stationary":
                counts = counts + prompts.x[:, :1]
        else:
            counts = sum_before(context[..., :, None] * targets[..., None, :], axis=1)
            counts = jnp.einsum("bpf,bpft->bpt", context, counts)
        followed = jnp.where(known, counts, 0.0) + self.concentration
        return Categorical(jnp.log(followed) - jnp.log(followed.sum(-1, keepdims=True)))

    def rescaled(self, scale: float) -> "MarkovChain":
        """Rows from Dirichlet(α/scale): surer chains."""
        return self.replace(concentration=self.concentration / scale)

    def weighted_predictive(
        self, prompts: Prompts, counts: Float[Array, "batch position example"]
    ) -> Predictions | None:
        """Of free Dirichlet rows the predictive from weighted counts Σ_j c_ij [context j = context i, y_j]."""
        if not isinstance(self.prior, Population):
            return super().weighted_predictive(prompts, counts)
        if self.rows != "dirichlet" or self.initial == "stationary":
            return None
        return count_predictive(self.features(prompts.x), self.feed(prompts.y), counts, self.concentration)


def _swap_blocks(key: Array, context: Int[Array, " position"]) -> Int[Array, " position"]:
    """An order of positions made by SWAPS swaps of neighbouring blocks that begin after and end with one context.

    Contexts move along with their positions, because they are a function of the context before and the new state.
    """
    place = jnp.arange(context.shape[0])

    def pick(key: Array, allowed: Array) -> Array:
        return jax.random.categorical(key, jnp.where(allowed, 0.0, -jnp.inf))

    def swap(turn: Array, order: Array) -> Array:
        first_key, second_key, third_key = jax.random.split(jax.random.fold_in(key, turn), 3)
        now = context[order]
        later = (now[:, None] == now) & (place > place[:, None]) & (now >= 0)[:, None]
        start = pick(first_key, later.sum(1) >= 2)
        middle = pick(second_key, later[start] & later.any(1))
        end = pick(third_key, later[middle])
        moved = end - middle
        second = (place > start) & (place <= start + moved)
        first = (place > start + moved) & (place <= end)
        taken = jnp.where(second, place - start + middle, jnp.where(first, place - moved, place))
        return jnp.where((later.sum(1) >= 2).any(), order[taken], order)

    return jax.lax.fori_loop(0, SWAPS, swap, place)


def _log(probability: Array) -> Array:
    """Logarithm with a floor, so that 0 · log 0 is 0: draws of a small concentration may round to zero."""
    return jnp.log(jnp.maximum(probability, 1e-30))
