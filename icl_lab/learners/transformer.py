"""A trained transformer as a learner."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from icl_lab.formats import Format
from icl_lab.models import Model
from icl_lab.prompts import Point, Prompts


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TransformerLearner:
    """`learner(prompts) -> Point`: encode, run the model, read the answers. A pytree whose leaves are the parameters.

    Positions that the format does not read hold NaN, so that scoring them by mistake shows.
    """

    params: Any
    model: Model = dataclasses.field(metadata={"static": True})
    format: Format = dataclasses.field(metadata={"static": True})

    def __call__(self, prompts: Prompts) -> Point:
        positions = prompts.positions
        outputs = self.model.apply(self.params, self.format.encode(prompts), read=self.format.read(positions))
        mean = jnp.full(prompts.y.shape, jnp.nan, outputs.dtype)
        return Point(mean.at[:, self.format.answers(positions)].set(outputs[..., 0]))
