"""A trained delta-rule network as a learner."""

from typing import Any

from icl_lab.formats import Format
from icl_lab.learners.transformer import network_answers
from icl_lab.models.recurrent import DeltaRuleModel
from icl_lab.outcomes import Outcomes, Real
from icl_lab.prompts import Predictions, Prompts
from icl_lab.pytrees import pytree_dataclass, static


@pytree_dataclass
class RecurrentLearner:
    """What `TransformerLearner` is for transformers; a class of its own, because it has no attention to look at."""

    params: Any
    model: DeltaRuleModel = static()
    format: Format = static()
    outcomes: Outcomes = static(default=Real())

    def __call__(self, prompts: Prompts) -> Predictions:
        return network_answers(self.model, self.params, self.format, self.outcomes, prompts)
