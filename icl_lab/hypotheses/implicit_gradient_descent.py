"""H5: the forward pass applies gradient steps to an implicit model (von Oswald 2022; Akyürek 2022; Ahn 2023)."""

from icl_lab.hypotheses.base import Hypothesis, Signature, steps_in_fast_weights
from icl_lab.learners.gradient import (
    gradient_descent,
    gradient_descent_plus_plus,
    preconditioned_descent,
)
from icl_lab.learners.reference import Reference, geometric, has_real_outcomes, step_sizes


def _descent(steps: int, causal: bool) -> Reference:
    return Reference(
        f"gd_{steps}" + ("_causal" if causal else ""),
        f"GD, {steps} step{'s' if steps > 1 else ''}" + (", causal" if causal else ""),
        gradient_descent,
        settings=(("steps", steps), ("causal", causal)),
        grid=step_sizes("rate"),
        degrees=(("rate", steps),),
    )


def _plus_plus(causal: bool) -> Reference:
    return Reference(
        "gd_plus_plus_2" + ("_causal" if causal else ""),
        "GD++, 2 steps" + (", causal" if causal else ""),
        gradient_descent_plus_plus,
        settings=(("steps", 2), ("causal", causal)),
        grid=lambda s: {
            "rate": geometric(0.1 / s.variance, 2.5 / s.variance, 10),
            "curvature": geometric(0.05 / s.variance, 0.8 / s.variance, 8),
        },
        degrees=(("rate", 2), ("curvature", 2)),
        applies=has_real_outcomes,
    )


def _preconditioned(steps: int, causal: bool) -> Reference:
    return Reference(
        f"preconditioned_gd_{steps}" + ("_causal" if causal else ""),
        f"preconditioned GD, {steps} step{'s' if steps > 1 else ''}" + (", causal" if causal else ""),
        preconditioned_descent,
        settings=(("steps", steps), ("causal", causal)),
        grid=lambda s: {"rate": geometric(0.1 / s.variance, 3 / s.variance, 8), "damping": geometric(0.03, 3, 4)},
        degrees=(("rate", steps),),
        applies=has_real_outcomes,
    )


IMPLICIT_GRADIENT_DESCENT = Hypothesis(
    key="H5",
    name="implicit gradient descent",
    claim="answers come from a few gradient steps from zero on the examples, one per layer",
    references=(
        _descent(1, False),
        _descent(2, False),
        _descent(5, False),
        _descent(2, True),
        _descent(5, True),
        _plus_plus(False),
        _plus_plus(True),
        _preconditioned(1, False),
        _preconditioned(2, True),
    ),
    mechanisms=(
        Signature(
            "weights",
            "one step in one head",
            "internal",
            "the head's weights are those of one gradient step, scale apart",
            "weights",
            "cosine",
            0.99,
        ),
        Signature(
            "halfway",
            "one step in one head",
            "internal",
            "halfway from these weights to the construction the loss is the same to 1%",
            "weights",
            "halfway",
            -0.01,
        ),
        Signature(
            "pattern",
            "one step in one head",
            "causal",
            "with another prompt's attention the answer is the step on those inputs and these labels",
            "descent",
            "pattern from zero",
            0.99,
        ),
        Signature(
            "downhill",
            "one step in one head",
            "condition",
            "the step goes down the gradient",
            "descent",
            "downhill from zero",
            0.0,
        ),
        Signature(
            "all downhill",
            "one step per layer",
            "condition",
            "all steps go down the gradient",
            "descent",
            "downhill from zero",
            0.0,
        ),
        Signature(
            "iterates",
            "one step per layer",
            "internal",
            "after each layer the examples hold their residuals y − f_k(x) of steps from zero, beyond x and y",
            "descent",
            "iterates from zero",
            0.99,
        ),
        Signature(
            "remaining steps",
            "one step per layer",
            "causal",
            "with another prompt's residuals the answer is what the remaining steps make of them",
            "descent",
            "remaining steps from zero",
            0.99,
        ),
        *steps_in_fast_weights("zero", " from zero"),
    ),
)
