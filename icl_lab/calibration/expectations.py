"""Theoretical expectations of probes: pairs of references that each must distinguish, and pairs that it must not.

They follow from algebra and were written down before any measurement. The first reference of a pair is fitted to the
task, the second one to the first, so that a probe cannot distinguish them by their parameters. An expectation holds
wherever both references and the probe apply.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Expectation:
    """The expected result of a probe on a pair of references.

    Attributes:
        probe: name in the battery.
        first, second: names of references.
        told: whether the probe must distinguish the two, or must not.
        reason: in a line.
    """

    probe: str
    first: str
    second: str
    told: bool
    reason: str


def must(probe: str, first: str, second: str, reason: str) -> Expectation:
    return Expectation(probe, first, second, True, reason)


def must_not(probe: str, first: str, second: str, reason: str) -> Expectation:
    return Expectation(probe, first, second, False, reason)


EXPECTATIONS: tuple[Expectation, ...] = (
    must(
        "influence", "nadaraya_watson", "ridge", "a smoother's influences are positive and sum to 1; ridge's are signed"
    ),
    must("influence", "longest_match", "context_counts", "copying has one example's influence, counts spread it"),
    must("interaction", "gd_1", "ridge", "influences of one step do not depend on the other examples; ridge's turn"),
    must_not("interaction", "gd_1", "preconditioned_gd_1", "one step again, along other axes: no interaction"),
    must("label_linearity", "pool_bayes", "ridge", "posterior weights depend on the labels; ridge is linear in them"),
    must_not("label_linearity", "gd_1", "ridge", "both are linear in the labels"),
    must_not("label_linearity", "nadaraya_watson", "ridge", "both are linear in the labels"),
    must(
        "label_noise", "pool_bayes", "ridge", "a posterior follows noise to other members; a linear answer averages it"
    ),
    must_not("label_noise", "gd_1", "ridge", "noise that cancels leaves linear answers where they were"),
    must("duplication", "gd_1", "ridge", "m copies weigh m times as much in one step; in ridge they saturate"),
    must("duplication", "nearest_neighbour", "ridge", "the copied label weighs 1 however often it is there"),
    must("spectral_filter", "gd_1", "ridge", "the gain of one step is η·s; ridge's s/(s + λ) saturates"),
    must("spectral_filter", "pool_bayes", "ridge", "the pool's members are all it can answer, whatever the eigenvalue"),
    must("orthogonal_query", "nadaraya_watson", "ridge", "a smoother answers a mean of labels, ridge 0"),
    must_not("orthogonal_query", "gd_1", "ridge", "both answer 0 outside the span of the examples"),
    must("input_shifts", "gd_1", "ridge", "twice the inputs: four times the step, about as much from ridge"),
    must("input_shifts", "nearest_neighbour", "ridge", "the nearest example ignores the scale, and not a stretch"),
    must("implied_weights", "nadaraya_watson", "ridge", "a smoother is no linear function of the query"),
    must("implied_weights", "gd_1", "ridge", "one step and ridge point elsewhere where inputs are not isotropic"),
    must("task_interpolation", "pool_map", "ridge", "retrieval snaps to one of two tasks, ridge lies between"),
    must("task_interpolation", "pool_map", "context_counts", "retrieval snaps to one of two tasks, counts lie between"),
    must("label_copying", "nearest_neighbour", "ridge", "its answer is a label of the prompt"),
    must("label_copying", "longest_match", "context_counts", "its answer is a state of the prompt, up to the lapse"),
    must("pool_snapping", "pool_map", "ridge", "retrieval answers a stored task where none was shown"),
    must("pool_snapping", "pool_map", "context_counts", "retrieval answers a stored chain where none was shown"),
    must("order_variance", "gd_2_causal", "gd_2", "causal steps give early examples gradients of fewer examples"),
    must_not("order_variance", "pool_bayes", "ridge", "both are functions of the set of examples"),
    must("order_variance", "longest_match", "context_counts", "the last match decides; counts have no order"),
    must_not("order_variance", "pool_bayes", "context_counts", "both are functions of the transition counts"),
    must_not("order_variance", "population_bayes", "nadaraya_watson", "both are functions of the set of examples"),
    must("joint_probability", "longest_match", "context_counts", "copying the last match is no exchangeable model"),
    must_not("joint_probability", "pool_bayes", "context_counts", "both are predictives of one prior each"),
    must("joint_probability", "population_bayes", "nadaraya_watson", "a smoother's predictives come from no prior"),
    must(
        "martingale", "population_bayes", "nadaraya_watson", "a smoother believes another thing after its own outcome"
    ),
    must("implied_prior", "longest_match", "context_counts", "copying repeats itself: rollouts end apart"),
    must("implied_prior", "population_bayes", "nadaraya_watson", "a smoother forgets what it said: rollouts stay near"),
)
"""Pairs that are the same function by algebra (`equivalences`) must not be told by any probe; they are not listed."""
