"""Hand-built transformers as learners, each with the task it is for and the algorithm it computes.

They are ground truth for *mechanism*: what every layer does is known, because somebody put it there. Answers agree with
the algorithm's to 1e-4 of their scale at every position that the format answers.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.outcomes import FLOOR
from icl_lab.core.prompts import Predictions
from icl_lab.formats import Format, Paired, Stream
from icl_lab.learners.bayes import pool_bayes, pool_map, population_bayes
from icl_lab.learners.gradient import gradient_descent, gradient_descent_plus_plus
from icl_lab.learners.kernels import softmax_kernel
from icl_lab.learners.meta import meta_sgd
from icl_lab.learners.neighbours import nearest_neighbours
from icl_lab.learners.reference import Reference, ReferenceLearner
from icl_lab.learners.transformer import TransformerLearner
from icl_lab.models import Model, Params
from icl_lab.models import constructions as built
from icl_lab.tasks import LinearRegression, MarkovChain, Pool, Task, task_dataclass

RATE, CURVATURE, SHARPNESS = 0.4, 0.15, 1.5  # η of gradient steps, γ of GD++, inverse temperature of the kernel
STEPS = 2


@task_dataclass
class SphericalRegression(LinearRegression):
    """Linear regression whose inputs lie on a sphere of radius √(tr Λ), where larger products are smaller distances.

    Example with dimension 2, Λ = I: x = (1, −1) and (√2, 0) are possible inputs, (1, 0) is none.
    """

    def draw_inputs(self, key: Array, latent: Any) -> Array:
        x = super().draw_inputs(key, latent)
        radius = jnp.sqrt(jnp.trace(self.input_covariance()))
        return radius * x / jnp.linalg.norm(x, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True)
class Construction:
    """A transformer built by hand.

    Attributes:
        name: identifier.
        title: for figures and tables.
        hypothesis: "H1" … "H5", the explanation that it embodies. On some tasks others are the same function.
        mechanism: one sentence, which head or layer does what.
        task: a small task that it is for.
        build: task → the transformer as a learner. Other tasks of the same kind do, and other sizes.
        algorithm: task → the learner it equals. Its reference is one of the hypothesis, by the same name.
    """

    name: str
    title: str
    hypothesis: str
    mechanism: str
    task: Task
    build: Callable[[Any], TransformerLearner]
    algorithm: Callable[[Any], ReferenceLearner]


def _learner(task: Task, format: Format, model_and_params: tuple[Model, Params]) -> TransformerLearner:
    model, params = model_and_params
    return TransformerLearner(params, model, format, task.outcomes)


def _algorithm(
    task: Task, name: str, predict: Callable[..., Predictions], settings: Mapping[str, Any], **parameters: Any
) -> ReferenceLearner:
    return ReferenceLearner(task, parameters, Reference(name, name, predict, settings=tuple(settings.items())))


def _learned(task: LinearRegression) -> dict[str, Array]:
    """θ_0, the mean of the task's weights, and two steps of other sizes for every feature."""
    size = task.dimension
    initial = jnp.zeros((size, 1)) + jnp.reshape(jnp.asarray(task.weight_mean, jnp.float32), (-1, 1))
    return {"initial": initial, "rates": jnp.linspace(0.6, 0.2, 2 * size).reshape(2, size)}


def _pool(task: LinearRegression) -> Array:
    """The weights of all pool members."""
    assert isinstance(task.prior, Pool)
    return jax.vmap(task.pool_latent)(jnp.arange(int(task.prior.size)))


REGRESSION = LinearRegression(dimension=3, examples=12, noise=0.5)
POOL = LinearRegression(dimension=3, examples=12, noise=0.5, prior=Pool(8))
CHAIN = MarkovChain(states=3, examples=24)

CONSTRUCTIONS: dict[str, Construction] = {
    row.name: row
    for row in (
        Construction(
            "one_step_gd",
            "GD, 1 step",
            "H5",
            "the head of layer 0 adds (η/N) Σ y_i x_i·x_q to the query, one gradient step from zero",
            REGRESSION,
            lambda task: _learner(task, Paired(), built.one_step_gd(task.inputs_size, task.examples, RATE)),
            lambda task: _algorithm(task, "gd_1", gradient_descent, {"steps": 1, "causal": False}, rate=RATE),
        ),
        Construction(
            "two_step_gd",
            "GD, 2 steps",
            "H5",
            "each layer takes one gradient step on all examples: its head moves every token's residual",
            REGRESSION,
            lambda task: _learner(task, Paired(), built.one_step_gd(task.inputs_size, task.examples, RATE, STEPS)),
            lambda task: _algorithm(task, "gd_2", gradient_descent, {"steps": STEPS, "causal": False}, rate=RATE),
        ),
        Construction(
            "gd_plus_plus",
            "GD++, 2 steps",
            "H5",
            "each layer takes one gradient step and moves all inputs by −γ XᵀX x, which whitens them",
            REGRESSION,
            lambda task: _learner(
                task,
                Paired(),
                built.one_step_gd(task.inputs_size, task.examples, RATE, STEPS, CURVATURE / task.examples),
            ),
            lambda task: _algorithm(
                task,
                "gd_plus_plus_2",
                gradient_descent_plus_plus,
                {"steps": STEPS, "causal": False},
                rate=RATE,
                curvature=CURVATURE,
            ),
        ),
        Construction(
            "causal_gd",
            "GD, 2 steps, causal",
            "H5",
            "layer 0 takes the query out of the keys; layers 1 and 2 take one step each, in which example j sees 0..j",
            REGRESSION,
            lambda task: _learner(task, Paired(), built.causal_gd(task.inputs_size, task.examples, RATE, STEPS)),
            lambda task: _algorithm(task, "gd_2_causal", gradient_descent, {"steps": STEPS, "causal": True}, rate=RATE),
        ),
        Construction(
            "learned_descent",
            "Meta-SGD, 2 steps",
            "H3",
            "the embedding subtracts θ_0·x from all labels, and each layer takes a step of its own sizes",
            REGRESSION.replace(weight_mean=1.0),
            lambda task: _learner(
                task,
                Paired(),
                built.learned_descent(task.examples, _learned(task)["initial"][:, 0], _learned(task)["rates"]),
            ),
            lambda task: _algorithm(task, "meta_sgd_2", meta_sgd, {"steps": 2, "causal": False}, **_learned(task)),
        ),
        Construction(
            "softmax_kernel",
            "softmax kernel",
            "H2",
            "the head of layer 0 averages labels with weights softmax(β x_i·x_q)",
            REGRESSION,
            lambda task: _learner(task, Paired(), built.softmax_kernel(task.inputs_size, task.examples, SHARPNESS)),
            lambda task: _algorithm(task, "softmax_kernel", softmax_kernel, {}, inverse_temperature=SHARPNESS),
        ),
        Construction(
            "nearest_example",
            "nearest example",
            "H4",
            "the head of layer 0 attends to the nearest example alone and copies its label",
            SphericalRegression(dimension=3, examples=12, noise=0.5),
            lambda task: _learner(task, Paired(), built.nearest_example(task.inputs_size, task.examples)),
            lambda task: _algorithm(task, "nearest_neighbour", nearest_neighbours, {"neighbours": 1}),
        ),
        Construction(
            "most_recent_match",
            "most recent match",
            "H4",
            "layer 0 is a previous-token head; the head of layer 1 copies the latest token that follows the same state",
            CHAIN,
            lambda task: _learner(task, Stream(), built.most_recent_match(task.inputs_size, task.positions, FLOOR)),
            lambda task: _algorithm(task, "nearest_neighbour", nearest_neighbours, {"neighbours": 1}),
        ),
        Construction(
            "bigram_counts",
            "bigram counts",
            "H1",
            "layer 0 is a previous-token head; the head of layer 1 averages all tokens that follow the same state, and "
            "the prior, which the first token holds; the last MLP takes logarithms",
            CHAIN,
            lambda task: _learner(
                task, Stream(), built.bigram_counts(task.inputs_size, task.positions, float(task.concentration))
            ),
            lambda task: _algorithm(task, "population_bayes", population_bayes, {}),
        ),
        Construction(
            "pool_posterior",
            "pool Bayes",
            "H1",
            "MLP 0 squares the residuals of all members, layer 1 averages them over examples, the head of layer 2 "
            "attends to the members with their posterior, and MLP 2 multiplies the mean of their weights with x_q",
            POOL,
            lambda task: _learner(task, Paired(), built.pool_posterior(_pool(task), task.examples, float(task.noise))),
            lambda task: _algorithm(task, "pool_bayes", pool_bayes, {}),
        ),
        Construction(
            "pool_retrieval",
            "MAP pool member",
            "H4",
            "as pool Bayes, but the head of layer 2 attends to the most probable member alone",
            POOL,
            lambda task: _learner(task, Paired(), built.pool_retrieval(_pool(task), task.examples, float(task.noise))),
            lambda task: _algorithm(task, "pool_map", pool_map, {}),
        ),
    )
}
