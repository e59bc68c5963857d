"""A trained transformer as a learner."""

from typing import Any

import jax.numpy as jnp

from icl_lab.formats import Format
from icl_lab.models import Model
from icl_lab.outcomes import Outcomes, Real
from icl_lab.prompts import Predictions, Prompts
from icl_lab.pytrees import pytree_dataclass, static


@pytree_dataclass
class TransformerLearner:
    """`learner(prompts) -> Predictions`: encode, run the model, read the answers. A pytree, its leaves the parameters.

    Positions that the format does not read hold NaN, so that scoring them by mistake shows.
    """

    params: Any
    model: Model = static()
    format: Format = static()
    outcomes: Outcomes = static(Real())

    def __call__(self, prompts: Prompts) -> Predictions:
        self.outcomes.check(prompts.y)
        channels = self.format.channels(prompts.x.shape[-1], self.outcomes.size)
        if channels != self.model.config.channels:
            raise ValueError(
                f"x: inputs of {prompts.x.shape[-1]} features become tokens of {channels} channels; "
                f"this model takes {self.model.config.channels}"
            )
        positions = prompts.positions
        inputs = self.format.encode(prompts, self.outcomes)
        answers = self.model.apply(self.params, inputs, read=self.format.read(positions))
        natural = jnp.full((*prompts.y.shape, self.outcomes.size), jnp.nan, answers.dtype)
        return self.outcomes.from_natural(natural.at[:, self.format.answers(positions)].set(answers))
