"""Constants of the rule that turns distances into a verdict: applied by the judge, shown by the report."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Constants of the verdict rule (`icl_lab.judging.judge`). Ratios are of distances.

    Attributes:
        near: largest ratio to the nearest reference at which a reference is near.
        floor: distance in nats below which differences do not count.
        precision: the same in units of the zero predictor's distance: the resolution of a parameter grid.
        remainder: largest unexplained share of the zero predictor's distance.
        reject: smallest ratio to the nearest reference at which a reference is rejected.
        nearer: ratio above which a variation of a reference is nearer than the reference.
    """

    near: float = 3.0
    floor: float = 0.002
    precision: float = 1e-5
    remainder: float = 0.02
    reject: float = 4.0
    nearer: float = 1.5


THRESHOLDS = Thresholds()
