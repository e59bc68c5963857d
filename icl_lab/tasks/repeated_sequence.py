"""Random sequences that repeat: what an induction head is for."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.tasks.base import Task, static, task_dataclass


@task_dataclass
class RepeatedSequence(Task):
    """s_i = t_{i mod p}: random symbols t with a period p of its own in every prompt; y_i = s_{i+1} as a stream.

    Example with 4 symbols and period 3:

        2 0 3 2 0 3 2 → ? (0)

    The first p symbols cannot be foretold, all later ones can, by looking for the last symbol's earlier place (unless
    it comes twice in a period) and copying what followed. As the period differs, positions alone do not tell where.

    Attributes:
        symbols: number V of symbols.
        shortest, longest: periods, uniform between them.

    Source: Olsson et al. 2022, "In-context learning and induction heads".
    """

    symbols: Annotated[int, Ge(2)] = static(default=16)
    shortest: Annotated[int, Ge(1)] = static(default=8)
    longest: Annotated[int, Ge(1)] = static(default=16)

    def draw_latent(self, key: Array) -> dict[str, Array]:
        """The symbols t and the period p. Raises ValueError where there is no period."""
        if self.shortest > self.longest:
            raise ValueError(f"shortest: {self.shortest} is above the longest period {self.longest}")
        symbol_key, period_key = jax.random.split(key)
        return {
            "symbols": jax.random.randint(symbol_key, (self.longest,), 0, self.symbols),
            "period": jax.random.randint(period_key, (), self.shortest, self.longest + 1),
        }

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position symbol"]:
        """The first symbol; the others follow from the outcomes."""
        return jnp.zeros((self.positions, self.symbols)).at[0].set(self.feed(latent["symbols"][0]))

    def feed(self, y: Array) -> Float[Array, "*batch symbol"]:
        return jax.nn.one_hot(y, self.symbols)

    def outcome(self, latent: Any, x: Array) -> Categorical:
        following = latent["symbols"][(jnp.arange(self.positions) + 1) % latent["period"]]
        return Categorical(jnp.log(jnp.maximum(self.feed(following), 1e-30)))

    def draw_pairs(self, latent: Any, x: Array, key: Array) -> tuple[Array, Array]:
        y = self.outcome(latent, x).log_probs.argmax(-1).astype(jnp.int32)
        return x.at[1:].set(self.feed(y[:-1])), y

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        """Whether the first symbol is the latent's; the others follow from outcomes."""
        same = x[0, latent["symbols"][0]]
        return jnp.zeros(x.shape[:-1]).at[0].set(jnp.log(jnp.maximum(same, 1e-30)))

    def shift_latent(self, latent: Any) -> Any:
        """Half the period: sequences that repeat sooner than any in training."""
        return {**latent, "period": jnp.maximum(latent["period"] // 2, 1)}

    def population_predictive(self, prompts: Prompts) -> Categorical:
        """A sum over periods: s_0..s_i have probability V^−min(i+1, p) if they repeat after p symbols, else 0.

        Given p the next symbol is s_{i+1−p}, uniform while i + 1 < p; and where no period fits, as in no prompt of the
        task's own.
        """
        symbols, index = prompts.x.argmax(-1), jnp.arange(prompts.positions)

        def under(period: Array) -> tuple[Array, Array]:
            back = jnp.maximum(index - period, 0)
            broken = (symbols != symbols[:, back]) & (index >= period)
            fits = jnp.cumsum(broken, axis=1) == 0
            log_weight = jnp.where(fits, -jnp.minimum(index + 1, period) * jnp.log(self.symbols), -jnp.inf)
            copied = self.feed(symbols[:, jnp.maximum(index + 1 - period, 0)])
            return log_weight, jnp.where((index + 1 >= period)[:, None], copied, 1 / self.symbols)

        log_weight, following = jax.vmap(under)(jnp.arange(self.shortest, self.longest + 1))
        known = jnp.isfinite(log_weight).any(0)
        share = jax.nn.softmax(jnp.where(known, log_weight, 0.0), axis=0)[..., None]
        following = jnp.where(known[..., None], following, 1 / self.symbols)
        return Categorical(jnp.log(jnp.maximum((share * following).sum(0), 1e-30)))
