"""Items with labels that are known from training or told in the prompt: in-weights against in-context learning."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Le
from jaxtyping import Array, Float, Int

from icl_lab.core.prompts import LOG_TWO_PI, SMALLEST_VARIANCE, Categorical, Prompts
from icl_lab.core.streams import stream
from icl_lab.tasks.base import Task, random_order, reordered, static, task_dataclass

NOVEL = 1 << 30  # numbers that novel classes are drawn from


@task_dataclass
class LabelMapping(Task):
    """y_i is the label of the class that item x_i belongs to, in the prompt's map from classes to labels.

    Example with 4 classes, 2 labels and the map 0 → 0, 1 → 1, 2 → 0, 3 → 1:

        an item of class 3 → 1        an item of class 0 → 0        another item of class 3 → ? (1)

    With probability `fixed` the map is class k → k mod L, the same in all prompts, which weights can store; else every
    class gets a random label in each prompt, which only the context tells. Items are x = (μ_k + εη)/√(1 + ε²) with
    μ_k, η ~ N(0, I/D) or μ_k one-hot. With B > 0 a share `bursty` of the prompts hold N/B classes, each B times, and
    ask about one of them; in the others N + 1 classes are drawn independently. Class k has probability ∝ (k + 1)^−α.

    The latent of a prompt says of every position its class and its label. The exact predictive takes an item's class to
    be that of the nearest mean, which ε ≪ 1 makes certain.

    Attributes:
        classes, labels, dimension: K, L and D. One-hot items need D ≥ K; the numbers from K on are novel classes.
        items: "gaussian" or "one_hot".
        spread: ε.
        burstiness: B, a divisor of the number of examples; 0: none.
        bursty: share of bursty prompts.
        zipf: α.
        fixed: probability of the fixed map.
        slice: "training"; or, to tell what a learner relies on: "novel": bursty prompts of classes that training never
            shows, random labels; "swapped": bursty prompts of known classes, label l + 1 in place of l; "no_match":
            known classes with fixed labels, the query's class (if not its label) absent from the context.
        seed: of the means.

    Source: Reddy 2023, "The mechanistic basis of data dependence and abrupt learning in an in-context classification
    task", where fixed = 1; Chan et al. 2022; Singh et al. 2023.
    """

    classes: Annotated[int, Ge(2)] = static(default=64)
    labels: Annotated[int, Ge(2)] = static(default=8)
    dimension: Annotated[int, Ge(1)] = static(default=32)
    items: Literal["gaussian", "one_hot"] = static(default="gaussian")
    spread: Annotated[float, Ge(0)] = 0.1
    burstiness: Annotated[int, Ge(0)] = static(default=1)
    bursty: Annotated[float, Ge(0), Le(1)] = 1.0
    zipf: Annotated[float, Ge(0)] = 0.0
    fixed: Annotated[float, Gt(0), Le(1)] = 1.0
    slice: Literal["training", "novel", "swapped", "no_match"] = static(default="training")
    seed: Annotated[int, Ge(0)] = 0

    def means(self, classes: Int[Array, "*batch"]) -> Float[Array, "*batch feature"]:
        """μ of classes; the same in all prompts."""
        if self.items == "one_hot":
            return jax.nn.one_hot(classes, self.dimension)
        keys = jax.vmap(lambda k: jax.random.fold_in(stream(self.seed, "class means"), k))(jnp.ravel(classes))
        drawn = jax.vmap(lambda key: jax.random.normal(key, (self.dimension,)))(keys) / jnp.sqrt(self.dimension)
        return drawn.reshape(*jnp.shape(classes), self.dimension)

    def fixed_labels(self, classes: Int[Array, "*batch"]) -> Int[Array, "*batch"]:
        """Labels in the fixed map."""
        return classes % self.labels

    def classify(self, x: Float[Array, "*batch feature"]) -> Int[Array, "*batch"]:
        """The known class whose mean is nearest."""
        means = self.means(jnp.arange(self.classes))
        scores = jnp.einsum("...f,kf->...k", x, means, precision="highest") - jnp.square(means).sum(-1) / 2
        return scores.argmax(-1).astype(jnp.int32)

    def _check(self) -> None:
        burst = self.burstiness
        if burst and self.examples % burst:
            raise ValueError(f"burstiness: {burst} does not divide the {self.examples} examples; use a divisor")
        distinct = self.examples // max(burst, 1)
        if self.classes <= distinct:
            raise ValueError(f"classes: {self.classes} are too few for prompts of {distinct} and another one")
        if self.items == "one_hot" and self.dimension < self.classes + (distinct if self.slice == "novel" else 0):
            raise ValueError(f"dimension: {self.dimension} one-hot items are too few for the classes of {self.slice!r}")

    def draw_latent(self, key: Array) -> dict[str, Int[Array, " position"]]:
        """Class and label of every position. Raises ValueError for fields that do not fit together."""
        self._check()
        class_key, label_key, kind_key = jax.random.split(key, 3)
        classes = self._draw_classes(class_key)
        keys = jax.vmap(lambda k: jax.random.fold_in(label_key, k))(classes)
        fresh = jax.vmap(lambda k: jax.random.randint(k, (), 0, self.labels))(keys)
        known = self.fixed_labels(classes)
        if self.slice == "novel":
            labels = fresh
        elif self.slice == "swapped":
            labels = (known + 1) % self.labels
        elif self.slice == "no_match":
            labels = known
        else:
            labels = jnp.where(jax.random.bernoulli(kind_key, self.fixed), known, fresh)
        return {"class": classes.astype(jnp.int32), "label": labels.astype(jnp.int32)}

    def _draw_classes(self, key: Array) -> Int[Array, " position"]:
        some_key, independent_key, order_key, query_key, kind_key = jax.random.split(key, 5)
        distinct = self.examples // max(self.burstiness, 1)
        log_share = -self.zipf * jnp.log(jnp.arange(1, self.classes + 1))
        # Of Gumbel-perturbed scores the first few are a sample without replacement.
        ranked = jax.lax.top_k(log_share + jax.random.gumbel(some_key, (self.classes,)), distinct + 1)[1]
        if self.slice == "novel":
            last = self.dimension if self.items == "one_hot" else NOVEL
            if self.items == "one_hot":
                ranked = jax.random.permutation(some_key, jnp.arange(self.classes, last))
            else:
                ranked = jax.random.randint(some_key, (distinct + 1,), self.classes, last)
        context = jnp.repeat(ranked[:distinct], max(self.burstiness, 1))
        bursts = jnp.append(jax.random.permutation(order_key, context), jax.random.choice(query_key, ranked[:distinct]))
        independent = jax.random.categorical(independent_key, log_share, shape=(self.positions,))
        if self.slice in ("novel", "swapped"):
            return bursts
        if self.slice == "no_match":
            # A context of its own distinct classes, and one more to ask for.
            return jnp.append(bursts[:-1], ranked[distinct])
        if not self.burstiness:
            return independent
        return jnp.where(jax.random.bernoulli(kind_key, self.bursty), bursts, independent)

    def draw_inputs(self, key: Array, latent: Any) -> Float[Array, "position feature"]:
        noise = self.spread * jax.random.normal(key, (self.positions, self.dimension)) / jnp.sqrt(self.dimension)
        return (self.means(latent["class"]) + noise) / jnp.sqrt(1 + jnp.square(self.spread))

    def input_log_prob(self, latent: Any, x: Array, y: Array) -> Array:
        """Log density of the items around the means of their classes; the variance counts as 1e-10 at least."""
        unit = 1 + jnp.square(self.spread)
        variance = jnp.maximum(jnp.square(self.spread) / (unit * self.dimension), SMALLEST_VARIANCE)
        distance = jnp.square(x - self.means(latent["class"]) / jnp.sqrt(unit)).sum(-1)
        return -0.5 * (distance / variance + self.dimension * (jnp.log(variance) + LOG_TWO_PI))

    def outcome(self, latent: Any, x: Float[Array, "position feature"]) -> Categorical:
        """The label of the position whose class has the nearest mean."""
        means = self.means(latent["class"])
        scores = jnp.matmul(x, means.T, precision="highest") - jnp.square(means).sum(-1) / 2
        label = latent["label"][scores.argmax(-1)]
        return Categorical(jnp.log(jnp.maximum(jax.nn.one_hot(label, self.labels), 1e-30)))

    def features(self, x: Array) -> Float[Array, "*batch position feature"]:
        """The item and a constant 1."""
        return jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)

    @property
    def latent_is_by_position(self) -> bool:
        return True

    def reorder(self, key: Array, prompts: Prompts) -> Prompts:
        """A random permutation of the examples, and of the classes and labels that the latent says of them."""
        order = random_order(key, prompts)
        latent = jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, order, axis=1), prompts.latent)
        return reordered(prompts, order).replace(latent=latent)

    def population_predictive(self, prompts: Prompts) -> Categorical:
        """Of training prompts: the mixture of "the map is the fixed one" and "it is the prompt's own" by evidence.

        The first has weight f if every label agrees with it, else 0; the second (1 − f)·L^−c, c the number of classes
        seen. By the second a class seen keeps its label and any other has a uniform one.
        """
        size, positions = self.labels, prompts.positions
        classes = self.classify(prompts.x)
        earlier = jnp.tril(jnp.ones((positions, positions), bool), -1)
        same = (classes[:, :, None] == classes[:, None]) & earlier  # [batch, position, example]
        first = ~same.any(-1)
        seen = jnp.cumsum(first, -1) - first
        wrong = self.fixed_labels(classes) != prompts.y
        agrees = jnp.cumsum(wrong, -1) - wrong == 0
        log_fixed = jnp.where(agrees, jnp.log(self.fixed), -jnp.inf)
        log_own = jnp.log(jnp.maximum(1.0 - self.fixed, 1e-12)) - seen * jnp.log(size)
        recent = positions - 1 - same[..., ::-1].argmax(-1)
        copied = jax.nn.one_hot(jnp.take_along_axis(prompts.y, recent, axis=1), size)
        own = jnp.where(first[..., None], 1 / size, copied)
        share = jax.nn.softmax(jnp.stack([log_fixed, log_own]), axis=0)[..., None]
        mean = share[0] * jax.nn.one_hot(self.fixed_labels(classes), size) + share[1] * own
        return Categorical(jnp.log(jnp.maximum(mean, 1e-30)))
