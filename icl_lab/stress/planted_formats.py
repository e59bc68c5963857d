"""Learners that read tokens in a wrong layout and are exact otherwise: controls of changes of format."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.formats import Format
from icl_lab.stress.biased import SHARES, Bias
from icl_lab.tasks import Task


@pytree_dataclass
class FormatReader:
    """Mean target (1 − s)·r + s·m at the last position, s = `share`; the others are not answered (NaN).

    r is the exact answer to the prompt read in its own format: separators and blanks are ignored, codes and scale are
    known, so no change of format moves it. m is the exact answer to the *last* tokens, as many as a prompt had in
    training, read in the format of training: a separator is an input or a label of zeros, and answers are given in the
    codes of training.

    Attributes:
        task: the training task.
        share: s.
        trained: the format of training.
        format: the format of the prompts.
    """

    task: Task
    share: Any
    trained: Format = static()
    format: Format = static()

    __no_type_check__ = True  # fields may be traced

    def __call__(self, prompts: Prompts) -> Predictions:
        outcomes = self.task.outcomes
        tokens = self.format.encode(prompts, outcomes)
        window = tokens[:, tokens.shape[1] - self.trained.tokens(prompts.positions) :]
        right = self._mean(self.format.decode(tokens, outcomes))
        wrong = self.format.read_back(self._mean(self.trained.decode(window, outcomes)))
        mean = right + self.share * (wrong - right)
        return outcomes.from_mean(mean.at[:, :-1].set(jnp.nan))

    def _mean(self, prompts: Prompts) -> Array:
        exact = self.task.posterior_predictive(prompts)
        if exact is None:
            raise TypeError(f"posterior_predictive: {type(self.task).__name__} has none")
        return exact.mean_target()


def misreading(trained: Format, format: Format) -> Bias:
    """Return the family of readers of a changed format, for `stress.strength.fit_strength`."""

    def answers(task: Task, prompts: Prompts, strength: Array | float) -> Predictions:
        return FormatReader(task, strength, trained, format)(prompts)

    return Bias("misreading", "reads by the layout of training", "share of the answer", answers, SHARES)
