"""Whether a learner can be asked at all."""

from collections.abc import Callable

from icl_lab.core.prompts import Predictions, Prompts
from icl_lab.formats import why_not
from icl_lab.models.positions import LENGTH_BOUND


def why_unreadable(learner: Callable[[Prompts], Predictions], prompts: Prompts) -> str:
    """ "" if the learner can read the prompts in its format, else why not.

    Tables of positions end with the length of training, and not every format can be changed in every way.
    """
    if why := why_not(getattr(learner, "format", None)):
        return why
    format, model = getattr(learner, "format", None), getattr(learner, "model", None)
    positions = getattr(getattr(model, "config", None), "positions", "none")
    if format is None or model is None or positions not in LENGTH_BOUND:
        return ""
    tokens, most = format.tokens(prompts.positions), model.config.tokens
    return f"{tokens} tokens are more than its table of {most} {positions} positions" if tokens > most else ""
