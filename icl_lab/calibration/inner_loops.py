"""Trained delta-rule networks: an inner loop by architecture, whose algorithm can be read off the parameters.

A network whose tokens are (x_i, y_i) and (x_N, 0), with keys K, queries Q, values V and read-out W_o, answers

    ŷ = f(x_N) + Σ_i β (W_o V_y y_i − W_o(A_i K_x x_i)) (K_x x_i)·(Q_x x_N),    f(x) = W_o S_0 Q_x x,

up to the parts of K that read labels and of V that read inputs, which training brings to zero. This gives

    η = β · W_o V_y · tr(K_xᵀQ_x)/d,    θ_0 = Q_xᵀS_0ᵀW_oᵀ,

so the network computes online gradient descent with step η from θ_0, as far as `distilled.apart` finds it near; with
one mini-batch for all examples it takes a single step on all of them. From θ_0 = 0 this is plain gradient descent (H5);
otherwise its start was learned (H3). The judge has references for the single batch step, but none for online steps: for
an online loop, any support of the function verdict is false. The mechanism verdict examines the fast weights of both
kinds, where H5 or H3 is true, depending on the parameters.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from icl_lab.calibration.mechanisms import Known, MechanismRecord, judge_with_ruins, records_with_ruins
from icl_lab.calibration.subjects import KnownSubject
from icl_lab.core.prompts import Predictions
from icl_lab.formats import Paired
from icl_lab.judging.bank import Bank
from icl_lab.learners.answers import answers_of
from icl_lab.learners.recurrent import RecurrentLearner
from icl_lab.models import Params
from icl_lab.models.recurrent import DeltaRuleConfig, DeltaRuleModel, online_gd
from icl_lab.tasks import LinearRegression, Task

FORMAT = Paired()
ZERO = 0.1  # a start below this share of the size √(τ² + μ²) of a weight counts as zero


@dataclasses.dataclass(frozen=True)
class InnerLoop:
    """One kind of delta-rule network with its training task.

    Attributes:
        name, title: for tables.
        online: one step per example; otherwise one step on all.
        mean: of the regression weights in training; at 0 the best start is zero.
    """

    name: str
    title: str
    online: bool
    mean: float


INNER_LOOPS = (
    InnerLoop("batch_from_zero", "one batch step, weights of mean 0", False, 0.0),
    InnerLoop("batch_learned_start", "one batch step, weights of mean 1", False, 1.0),
    InnerLoop("online_from_zero", "online steps, weights of mean 0", True, 0.0),
    InnerLoop("online_learned_start", "online steps, weights of mean 1", True, 1.0),
)


def network(loop: InnerLoop, task: Task) -> DeltaRuleModel:
    """Return the network without parameters: keys as long as inputs, start and step learned."""
    tokens = FORMAT.tokens(task.positions)
    return DeltaRuleModel(
        DeltaRuleConfig(
            channels=FORMAT.channels(task.inputs_size),
            tokens=tokens,
            key_size=task.inputs_size,
            value_size=1,
            mini_batch=1 if loop.online else tokens,
            order="read_write",
        )
    )


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """The algorithm read off the parameters.

    Attributes:
        rate: η, for one example.
        start: θ_0, [feature].
        scale: size of a weight of the task, √(τ² + μ²).
        spread: standard deviation of the features' step sizes over their mean.
    """

    rate: float
    start: np.ndarray
    scale: float
    spread: float = 0.0

    @property
    def hypothesis(self) -> str:
        """H5 from zero, H3 from a learned start."""
        return "H5" if np.sqrt(np.mean(np.square(self.start))) <= ZERO * self.scale else "H3"

    @property
    def mechanism(self) -> tuple[str, ...]:
        """The same; steps of several sizes from zero are preconditioned descent (H5) whose sizes were learned (H3)."""
        return ("H3", "H5") if self.hypothesis == "H5" and self.spread > ZERO else (self.hypothesis,)


def read_off(params: Params, task: LinearRegression) -> Algorithm:
    """Read the algorithm off the parameters by the formulas of the module."""
    weights = {name: np.asarray(value, np.float64) for name, value in params.items()}
    size = task.dimension
    key, query, value = weights["key"][:size], weights["query"][:size], weights["value"][size]
    label = float((value @ weights["readout"])[0])
    sizes = np.diag(key @ query.T)
    rate = float(np.exp(weights["log_beta"])) * label * float(sizes.mean())
    start = query @ weights["initial"].T @ weights["readout"][:, 0]
    scale = float(np.sqrt(np.mean(np.square(task.weight_scale) + np.square(task.weight_mean))))
    return Algorithm(rate, start, scale, float(sizes.std() / abs(sizes.mean())))


def learner_of(loop: InnerLoop, params: Params, task: Task) -> RecurrentLearner:
    """Return the trained network as a learner."""
    return RecurrentLearner(params, network(loop, task), FORMAT, task.outcomes)


def algorithm_learner(loop: InnerLoop, algorithm: Algorithm, task: LinearRegression) -> RecurrentLearner:
    """Return the algorithm as a learner: the same recurrence with weights set by hand."""
    mini_batch = 1 if loop.online else FORMAT.tokens(task.positions)
    start: Float[Array, " feature"] = jnp.asarray(algorithm.start, jnp.float32)
    model, params = online_gd(task.dimension, task.examples, algorithm.rate, mini_batch, start)
    return RecurrentLearner(params, model, FORMAT, task.outcomes)


def known_loop(bank: Bank, loop: InnerLoop, params: Params, name: str) -> KnownSubject:
    """Return a trained network as a subject whose function is the algorithm read off its parameters.

    Args:
        bank: of its task, scored at the positions of paired prompts (`distilled.answered`).
        loop, params: the network.
        name: of the subject.
    """
    task = bank.task
    assert isinstance(task, LinearRegression)
    algorithm = read_off(params, task)
    trained = learner_of(loop, jax.tree.map(jnp.asarray, params), task)
    ideal = algorithm_learner(loop, algorithm, task)

    def answers(learner: RecurrentLearner) -> Predictions:
        return jax.tree.map(np.asarray, answers_of(learner, bank.prompts))

    return KnownSubject(
        kind="inner loop",
        name=name,
        group=f"{algorithm.hypothesis} {'online' if loop.online else 'batch'}",
        answers=functools.partial(answers, trained),
        noises=("none",),
        function=functools.partial(answers, ideal),
    )


def loop_mechanism_records(task: Task, loop: InnerLoop, params: Params, draw: int, key: Array) -> list[MechanismRecord]:
    """Return three records of the mechanism verdict: a trained network, random weights, and a read-out times −3.

    Args:
        task, loop, params: the network and its training task.
        draw: its number among those of its kind.
        key: of prompts and random weights.
    """
    assert isinstance(task, LinearRegression)
    known = Known(read_off(params, task).mechanism)
    learner = learner_of(loop, jax.tree.map(jnp.asarray, params), task)
    turned = dataclasses.replace(learner, params={**learner.params, "readout": -3 * learner.params["readout"]})
    return records_with_ruins(loop.name, draw, known, judge_with_ruins(learner, turned, task, key))
