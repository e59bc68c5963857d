"""H2: labels weighted by similarity (Han et al. 2023): averages, normalised or not, and kernel ridge.

Ridge is kernel ridge with the linear kernel. In streams the inputs are contexts, and counts are averages whose kernel
is 1 if the last states match (`context_counts`), or grows with the length of the match (`back_off_counts`).
"""

from icl_lab.hypotheses.base import Hypothesis, Signature
from icl_lab.learners.counts import back_off_counts, context_counts
from icl_lab.learners.kernels import kernel_ridge, linear_kernel, nadaraya_watson, softmax_kernel
from icl_lab.learners.linear import ridge
from icl_lab.learners.reference import Grid, Reference, Scales, geometric, has_real_outcomes, is_stream, step_sizes


def _bandwidth(scales: Scales) -> Grid:
    """Return a grid of bandwidths, and for classes also of pseudo-counts, which keep probabilities above zero."""
    if not scales.classes:
        return {"bandwidth": geometric(0.1 * scales.distance, 3 * scales.distance, 12)}
    return {
        "bandwidth": geometric(0.15 * scales.distance, 2 * scales.distance, 8),
        "pseudo_count": geometric(0.1, 20, 8),
    }


KERNEL_REGRESSION = Hypothesis(
    key="H2",
    name="kernel regression",
    claim="answers are the labels weighted by similarity of the inputs: averages of them, or kernel ridge",
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
            "ridge",
            "ridge",
            ridge,
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
        Reference(
            "context_counts",
            "counts",
            context_counts,
            grid=lambda s: {"concentration": geometric(0.05, 10, 12)},
            applies=is_stream,
        ),
        Reference(
            "back_off_counts",
            "counts with back-off",
            back_off_counts,
            settings=(("length", 2),),
            grid=lambda s: {"strength": geometric(0.2, 30, 10)},
            applies=is_stream,
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
            0.99,  # random heads of linear attention reach .96, because they average labels too
        ),
    ),
)
