"""The loss of a batch of prompts and its gradient, in pieces that fit the cache."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from icl_lab.core.outcomes import Outcomes
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.formats import Format
from icl_lab.models import Params
from icl_lab.models.network import Network
from icl_lab.training.augmentation import answering, changed_formats, encode_in, read_in
from icl_lab.training.settings import TrainingSettings

CACHE_FLOATS = 2**16


class Asked(NamedTuple):
    """Which tokens answer which positions, as slices with explicit bounds."""

    tokens: slice
    positions: slice


class Piece(NamedTuple):
    """What the loss needs of some prompts: tokens, what should be answered, and the weights in the batch mean.

    Targets are the outcomes asked for, or a teacher's answers there; `choice` is the format of every prompt where there
    are several.
    """

    inputs: Float[Array, "batch token channel"]
    targets: Shaped[Array, "batch answer"] | Predictions
    weights: Float[Array, "batch answer"]
    choice: Any = None


def asked(format: Format, settings: TrainingSettings, positions: int) -> Asked:
    """Tokens and positions the loss looks at: all a format answers, or the last of them."""
    tokens = range(*format.read(positions).indices(format.tokens(positions)))
    answers = range(*format.answers(positions).indices(positions))
    first = len(tokens) - 1 if settings.loss == "last" else 0
    return Asked(_slice(tokens[first:]), _slice(answers[first:]))


def _asked_anywhere(settings: TrainingSettings, positions: int) -> Asked:
    """All tokens, since formats answer at different ones, and all positions or the last."""
    return Asked(slice(0, None), slice(positions - 1 if settings.loss == "last" else 0, positions))


def _slice(indices: range) -> slice:
    return slice(indices.start, indices[-1] + 1, indices.step)


def micro_batch(settings: TrainingSettings, model: Network, tokens: int) -> int:
    """Prompts per piece: as set, else the whole batch on accelerators and what fits the cache on a CPU.

    There it is the largest divisor of the batch whose residual stream, tokens · width per prompt, stays below 2^16
    floats (a quarter megabyte; the widest activation is four times that).
    """
    if settings.micro_batch is not None:
        return settings.micro_batch
    if jax.default_backend() != "cpu":
        return settings.batch
    fits = [n for n in range(1, settings.batch + 1) if settings.batch % n == 0]
    return max(n for n in fits if n == 1 or n * tokens * model.config.width <= CACHE_FLOATS)


def taught(teacher: Callable[[Prompts], Predictions], prompts: Prompts) -> Predictions:
    """The teacher's answers, [batch, position]: references are worked out exactly, whatever the training precision."""
    with jax.default_matmul_precision("highest"):
        return teacher(prompts).answer()


def loss_and_gradient(
    model: Network,
    format: Format,
    outcomes: Outcomes,
    settings: TrainingSettings,
    params: Params,
    prompts: Prompts,
    lesson: Predictions | None = None,
    choice: Int[Array, " batch"] | None = None,
) -> tuple[Float[Array, ""], Params]:
    """Mean loss over scored answers, and its gradient.

    The loss is that of `Predictions.loss`: squared error, or cross-entropy in nats. With a `lesson`, the answers of a
    teacher to the prompts, it is (ŷ − teacher's mean)², or KL(teacher ‖ model) in nats: 0 for a perfect student.
    `choice` says in which of `settings.formats` each prompt is written; None: in the format itself.
    """
    positions = prompts.positions
    formats = () if choice is None else changed_formats(format, settings.formats)
    ask = _asked_anywhere(settings, positions) if formats else asked(format, settings, positions)
    scored = prompts.scored[:, ask.positions].astype(jnp.float32)
    if formats:
        scored = scored * (jnp.asarray(answering(formats, positions))[choice] >= 0)[:, ask.positions]
    inputs = format.encode(prompts, outcomes) if choice is None else encode_in(formats, prompts, outcomes, choice)
    wanted = prompts.y if lesson is None else lesson
    targets = jax.tree.map(lambda leaf: leaf[:, ask.positions], wanted)
    batch = Piece(inputs, targets, scored / scored.sum(), choice)

    def natural(params: Params, piece: Piece) -> Array:
        found = model.apply(params, piece.inputs, read=ask.tokens)
        if formats:
            return read_in(formats, found, piece.choice, positions)[:, ask.positions]
        return format.read_back(found)

    def loss(params: Params, piece: Piece) -> Array:
        answers = outcomes.from_natural(natural(params, piece))
        return (piece.weights * _error(answers, piece.targets)).sum()

    gradient_of = jax.value_and_grad(loss)
    size = micro_batch(settings, model, inputs.shape[1])
    if size == settings.batch:
        return gradient_of(params, batch)
    pieces = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), batch)
    start = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradient_of, params, jax.tree.map(lambda a: a[0], pieces)))
    total, _ = jax.lax.scan(lambda sums, piece: (_add(sums, gradient_of(params, piece)), None), start, pieces)
    return total


def _error(answers: Predictions, targets: Array | Predictions) -> Array:
    """Loss of every answer; of real outcomes the divergence in a unit of ½ is the squared error."""
    return targets.divergence(answers, jnp.asarray(0.5)) if isinstance(targets, Predictions) else answers.loss(targets)


def _add(a: tuple, b: tuple) -> tuple:
    return jax.tree.map(jnp.add, a, b)
