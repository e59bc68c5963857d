"""A trained recurrent network as a learner."""

from typing import Any

from icl_lab.core.outcomes import Outcomes, Real
from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.core.pytrees import pytree_dataclass, static
from icl_lab.formats import Format
from icl_lab.learners.transformer import TransformerLearner, network_answers
from icl_lab.models import Model
from icl_lab.models.network import Network


@pytree_dataclass
class RecurrentLearner:
    """What `TransformerLearner` is for transformers; a class of its own, because it has no attention to look at."""

    params: Any
    model: Network = static()
    format: Format = static()
    outcomes: Outcomes = static(default=Real())

    def __call__(self, prompts: Prompts) -> Predictions:
        return network_answers(self.model, self.params, self.format, self.outcomes, prompts)


def network_learner(
    model: Network, params: Any, format: Format, outcomes: Outcomes
) -> TransformerLearner | RecurrentLearner:
    """A network with its parameters as a learner of its class."""
    if isinstance(model, Model):
        return TransformerLearner(params, model, format, outcomes)
    return RecurrentLearner(params, model, format, outcomes)
