"""Whether a learner can be asked at all."""

from collections.abc import Callable

from icl_lab.models.positions import LENGTH_BOUND
from icl_lab.prompts import Predictions, Prompts


def why_unreadable(learner: Callable[[Prompts], Predictions], prompts: Prompts) -> str:
    """ "" if the learner can read the prompts, else why not: tables of positions end with the length of training."""
    format, model = getattr(learner, "format", None), getattr(learner, "model", None)
    positions = getattr(getattr(model, "config", None), "positions", "none")
    if format is None or model is None or positions not in LENGTH_BOUND:
        return ""
    tokens, most = format.tokens(prompts.positions), model.config.tokens
    return f"{tokens} tokens are more than its table of {most} {positions} positions" if tokens > most else ""
