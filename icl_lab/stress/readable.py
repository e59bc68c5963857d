"""Whether a learner can read prompts in its format."""

from collections.abc import Callable

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.formats import why_not
from icl_lab.models.positions import LENGTH_BOUND


def why_unreadable(learner: Callable[[Prompts], Predictions], prompts: Prompts) -> str:
    """Return "" if the learner can read the prompts in its format, else the reason why not.

    Position tables end at the training length, and not every format supports every change.
    """
    if why := why_not(getattr(learner, "format", None)):
        return why
    format, model = getattr(learner, "format", None), getattr(learner, "model", None)
    positions = getattr(getattr(model, "config", None), "positions", "none")
    if format is None or model is None or positions not in LENGTH_BOUND:
        return ""
    tokens, most = format.tokens(prompts.positions), model.config.tokens
    return f"{tokens} tokens are more than its table of {most} {positions} positions" if tokens > most else ""
