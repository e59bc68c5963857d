"""Pairs of key and value, and a query that asks for the value of one: where in the prompt, and which of two."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Le
from jaxtyping import Array, Float

from icl_lab.core.prompts import Categorical, Prompts
from icl_lab.tasks.base import Task, random_order, reordered, static, task_dataclass


@task_dataclass
class Recall(Task):
    """y_N is the value of that pair among (x_0, y_0), …, (x_{N−1}, y_{N−1}) whose key the query x_N repeats.

    Example with keys a, b, c, d and values 0, 1, 2:

        a → 1, d → 0, b → 2; d → ? (0)

    Keys are one-hot and differ, values are uniform. The demand, which pair is asked for, is position j with probability

        w_j ∝ 1 + s e^{−j/λ} + t e^{−(N−1−j)/λ},

    uniform for s = t = 0. With `conflict` the key asked for stands at two places, any two equally likely, with a value
    and then another one; the later is right with probability P, the earlier else, and the demand does not count.

    A latent says of every position its key and its value.

    Attributes:
        symbols, labels: numbers K ≥ N of keys and V of values.
        start, end, reach: s, t and λ.
        conflict, latest: whether two pairs contradict each other, and P.

    Source: Liu et al. 2023, "Lost in the middle", for the question.
    """

    symbols: Annotated[int, Ge(2)] = static(default=16)
    labels: Annotated[int, Ge(2)] = static(default=4)
    start: Annotated[float, Ge(0)] = 0.0
    end: Annotated[float, Ge(0)] = 0.0
    reach: Annotated[float, Gt(0)] = 2.0
    conflict: bool = static(default=False)
    latest: Annotated[float, Ge(0), Le(1)] = 1.0

    def demand(self) -> Float[Array, " example"]:
        """w, the probability of every position to be asked for."""
        place = jnp.arange(self.examples)
        near_start, near_end = (jnp.exp(-distance / self.reach) for distance in (place, place[::-1]))
        weight = 1 + self.start * near_start + self.end * near_end
        return weight / weight.sum()

    def draw_latent(self, key: Array) -> dict[str, Array]:
        """Key and value of every position. Raises ValueError for fields that do not fit together."""
        least = 2 if self.conflict else 1
        if not least <= self.examples <= self.symbols:
            raise ValueError(f"examples: {self.examples} pairs should be {least} to symbols = {self.symbols}")
        key_key, value_key, asked_key, other_key, right_key = jax.random.split(key, 5)
        keys = jax.random.permutation(key_key, self.symbols)[: self.examples]
        values = jax.random.randint(value_key, (self.examples,), 0, self.labels)
        if not self.conflict:
            asked = jax.random.categorical(asked_key, jnp.log(self.demand()))
        else:
            early, late = jnp.sort(jax.random.permutation(asked_key, self.examples)[:2])
            keys = keys.at[late].set(keys[early])
            other = values[early] + jax.random.randint(other_key, (), 1, self.labels)
            values = values.at[late].set(other % self.labels)
            asked = jnp.where(jax.random.bernoulli(right_key, self.latest), late, early)
        return {"key": jnp.append(keys, keys[asked]), "value": jnp.append(values, values[asked])}

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position key"]:
        return jax.nn.one_hot(latent["key"], self.symbols)

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        """Whether every key is the latent's."""
        return jnp.log(jnp.where(x.argmax(-1) == latent["key"], 1.0, 1e-30))

    def outcome(self, latent: Any, x: Array) -> Categorical:
        return Categorical(jnp.log(jnp.maximum(jax.nn.one_hot(latent["value"], self.labels), 1e-30)))

    @property
    def can_reorder(self) -> bool:
        return not self.conflict

    @property
    def inputs_are_free(self) -> bool:
        """A key that stands elsewhere has another value."""
        return False

    @property
    def latent_is_by_position(self) -> bool:
        return True

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        """A random permutation of the pairs, also in the latent. Raises TypeError where the later of two counts."""
        if self.conflict:
            raise TypeError("reorder: which of two pairs came later is what Recall with conflict asks for")
        order = random_order(key, prompts)
        latent = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, order, axis=1), prompts.latent)
        return reordered(prompts, order).replace(latent=latent)

    def population_predictive(self, prompts: Prompts) -> Categorical:
        """Uniform for a key not seen before; the query's is copied, P from its latest and 1 − P from its earliest pair.

        With conflict a key that comes again before the query has any value but its first. Which of the two is right is
        independent of all that is seen, so its posterior is P wherever they stand.
        """
        positions, keys = prompts.positions, prompts.x.argmax(-1)
        same = (keys[:, :, None] == keys[:, None]) & jnp.tril(jnp.ones((positions, positions), bool), -1)
        target = jax.nn.one_hot(prompts.y, self.labels)

        def at(place: Array) -> Float[Array, "batch position value"]:
            return jnp.take_along_axis(target, place[..., None], axis=1)

        first, last = at(same.argmax(-1)), at(positions - 1 - same[..., ::-1].argmax(-1))
        share = self.latest if self.conflict else 1.0
        query = (jnp.arange(positions) == positions - 1)[:, None]
        again = jnp.where(query, share * last + (1 - share) * first, (1 - first) / (self.labels - 1))
        mean = jnp.where(same.any(-1)[..., None], again, 1 / self.labels)
        return Categorical(jnp.log(jnp.maximum(mean, 1e-30)))
