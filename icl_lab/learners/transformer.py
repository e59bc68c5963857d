"""A trained transformer as a learner."""

from typing import Any

import jax.numpy as jnp

from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.formats import Format
from icl_lab.models import Model
from icl_lab.models.network import Network


@pytree_dataclass
class TransformerLearner:
    """`learner(prompts) -> Predictions`: encode, run the model, read the answers. A pytree, its leaves the parameters.

    Positions that the format does not read hold NaN, so that scoring them by mistake shows.
    """

    params: Any
    model: Model = static()
    format: Format = static()
    outcomes: Outcomes = static(default=Real())

    def __call__(self, prompts: Prompts) -> Predictions:
        return network_answers(self.model, self.params, self.format, self.outcomes, prompts)


def network_answers(model: Network, params: Any, format: Format, outcomes: Outcomes, prompts: Prompts) -> Predictions:
    """What any network answers to prompts in a format; NaN where the format reads nothing.

    Raises:
        TypeError, ValueError: prompts of another kind of task than the network's.
    """
    outcomes.check(prompts.y)
    channels = format.channels(prompts.x.shape[-1], outcomes.size)
    if channels != model.config.channels:
        raise ValueError(
            f"x: inputs of {prompts.x.shape[-1]} features become tokens of {channels} channels; "
            f"this model takes {model.config.channels}"
        )
    positions = prompts.positions
    inputs = format.encode(prompts, outcomes)
    answers = format.read_back(model.apply(params, inputs, read=format.read(positions)))
    natural = jnp.full((*prompts.y.shape, outcomes.size), jnp.nan, answers.dtype)
    return outcomes.from_natural(natural.at[:, format.answers(positions)].set(answers))
