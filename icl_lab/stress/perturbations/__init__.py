"""The table of stress tests. To add one, write a file with a `Perturbation` and add a line here."""

from icl_lab.stress.base import Perturbation
from icl_lab.stress.perturbations.conflict import CONFLICT
from icl_lab.stress.perturbations.description import DESCRIPTION_PERTURBATIONS
from icl_lab.stress.perturbations.formats import FORMAT_PERTURBATIONS
from icl_lab.stress.perturbations.imbalance import IMBALANCE
from icl_lab.stress.perturbations.label_noise import LABEL_NOISE
from icl_lab.stress.perturbations.length import LENGTH
from icl_lab.stress.perturbations.order import ORDER
from icl_lab.stress.perturbations.prior import BETWEEN, INPUTS, PRIOR, UNSEEN
from icl_lab.stress.perturbations.recency import RECENCY
from icl_lab.stress.perturbations.switch import DISTRACTORS, SWITCH

PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation
    for perturbation in (
        ORDER,
        RECENCY,
        CONFLICT,
        LABEL_NOISE,
        IMBALANCE,
        DISTRACTORS,
        SWITCH,
        PRIOR,
        INPUTS,
        UNSEEN,
        BETWEEN,
        LENGTH,
        *FORMAT_PERTURBATIONS.values(),
        *DESCRIPTION_PERTURBATIONS.values(),
    )
}

__all__ = ["PERTURBATIONS"]
