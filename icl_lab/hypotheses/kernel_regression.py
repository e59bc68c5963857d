"""H2: a similarity-weighted average of the labels (Han et al. 2023), normalised or not, and kernel ridge apart."""

from icl_lab.hypotheses.base import Hypothesis, Signature
from icl_lab.learners.kernels import (
    kernel_ridge,
    linear_kernel,
    linear_kernel_ridge,
    nadaraya_watson,
    softmax_kernel,
)
from icl_lab.learners.reference import Grid, Reference, Scales, geometric, has_real_outcomes, step_sizes


def _bandwidth(scales: Scales) -> Grid:
    """Bandwidths, and with classes a pseudo-count, which keeps shares above zero."""
    if not scales.classes:
        return {"bandwidth": geometric(0.1 * scales.distance, 3 * scales.distance, 12)}
    return {
        "bandwidth": geometric(0.15 * scales.distance, 2 * scales.distance, 8),
        "pseudo_count": geometric(0.1, 20, 8),
    }


KERNEL_REGRESSION = Hypothesis(
    key="H2",
    name="kernel regression",
    claim="answers are averages of the labels weighted by similarity of the inputs",
    references=(
        Reference(
            "nadaraya_watson",
            "Nadaraya-Watson (RBF)",
            nadaraya_watson,
            grid=_bandwidth,
        ),
        Reference(
            "softmax_kernel",
            "softmax kernel",
            softmax_kernel,
            grid=lambda s: {"inverse_temperature": geometric(0.05 / s.variance, 12 / s.variance, 12)},
            lapses=True,
        ),
        Reference(
            "linear_kernel",
            "linear kernel, unnormalised",
            linear_kernel,
            grid=step_sizes("scale"),
            degrees=(("scale", 1),),
        ),
        Reference(
            "linear_kernel_ridge",
            "kernel ridge (linear)",
            linear_kernel_ridge,
            grid=lambda s: {"penalty": geometric(1e-3 * s.variance, 1e2 * s.variance, 16)},
            applies=has_real_outcomes,
        ),
        Reference(
            "kernel_ridge",
            "kernel ridge (RBF)",
            kernel_ridge,
            grid=lambda s: {
                "bandwidth": geometric(0.25 * s.distance, 4 * s.distance, 9),
                "penalty": geometric(1e-3, 3, 8),
            },
        ),
    ),
    mechanisms=(
        Signature(
            "kernel",
            "kernel head",
            "internal",
            "a head's attention to the examples is a kernel of their distance or product to the query",
            "heads",
            "kernel",
            0.95,
        ),
        Signature(
            "average",
            "kernel head",
            "causal",
            "with another prompt's attention the answer is the average of these labels with those weights",
            "heads",
            "averaged",
            0.99,  # random heads of linear attention reach .96: they average labels too, among other things
        ),
    ),
)
