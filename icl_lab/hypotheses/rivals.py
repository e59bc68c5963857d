"""References outside the five hypotheses: rivals, which are named when near, and decoys, which block a verdict."""

from icl_lab.learners.decoys import label_mean, lasso, previous_label
from icl_lab.learners.gradient import newton_schulz
from icl_lab.learners.reference import Reference, geometric

RIVALS = tuple(
    Reference(
        f"newton_{steps}",
        f"Newton-Schulz, {steps} steps",
        newton_schulz,
        settings=(("steps", steps),),
        grid=lambda s: {"start": geometric(0.25, 1.9, 6)},
    )
    for steps in (2, 3)
)

DECOYS = (
    Reference(
        "lasso",
        "Lasso",
        lasso,
        grid=lambda s: {"penalty": geometric(0.1, 1.0, 6) * s.variance**0.5 * s.label / s.size**0.5},
    ),
    Reference("label_mean", "mean label", label_mean),
    Reference("previous_label", "previous label", previous_label),
)
