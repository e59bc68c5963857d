"""H3: pretraining installed an inner optimiser and its starting point (Finn et al. 2017; Kirsch et al. 2022)."""

from icl_lab.hypotheses.base import FAST_WEIGHTS, Hypothesis, Signature, steps_in_fast_weights
from icl_lab.learners.meta import MetaParameters, delta_rule, meta_sgd, train_delta_rule, train_meta_sgd
from icl_lab.learners.reference import Reference, geometric, is_stream
from icl_lab.tasks import Task

# (number of steps, causal). A single step is the same with and without a causal mask.
FORMS = ((1, False), (2, False), (5, False), (2, True), (5, True))


def _name(steps: int, causal: bool) -> str:
    return f"meta_sgd_{steps}" + ("_causal" if causal else "")


def _learn(task: Task) -> dict[str, MetaParameters]:
    """Learn starting points and step sizes of all forms on the task, in one program."""
    return {_name(*form): found for form, found in zip(FORMS, train_meta_sgd(task, FORMS), strict=True)}


def _meta_sgd(steps: int, causal: bool) -> Reference:
    return Reference(
        _name(steps, causal),
        f"Meta-SGD, {steps} step{'s' if steps > 1 else ''}" + (", causal" if causal else ""),
        meta_sgd,
        settings=(("steps", steps), ("causal", causal)),
        grid=lambda s: {"scale": geometric(0.5, 2.0, 7)},
        degrees=(("scale", steps),),
        prepare=_learn,
    )


META_LEARNING = Hypothesis(
    key="H3",
    name="meta-learning",
    claim="answers come from gradient steps with a learned starting point and learned step sizes",
    references=(
        *(_meta_sgd(steps, causal) for steps, causal in FORMS),
        Reference(
            "delta_rule",
            "delta rule, learned steps",
            delta_rule,
            grid=lambda s: {"scale": geometric(0.25, 4.0, 7)},
            prepare=lambda task: {"delta_rule": train_delta_rule(task)},
            applies=is_stream,
        ),
    ),
    # With θ₀ = 0 and A = ηI these are plain gradient descent of the same form.
    suffices={
        "meta_sgd_1": "gd_1",
        "meta_sgd_2": "gd_2",
        "meta_sgd_5": "gd_5",
        "meta_sgd_2_causal": "gd_2_causal",
        "meta_sgd_5_causal": "gd_5_causal",
    },
    mechanisms=(
        Signature(
            "learned",
            "inner loop",
            "condition",
            "the start or the steps differ from zero and one size",
            "descent",
            "departure",
            0.1,
        ),
        Signature(
            "downhill",
            "inner loop",
            "condition",
            "all steps go down the gradient",
            "descent",
            "downhill",
            0.0,
        ),
        Signature(
            "iterates",
            "inner loop",
            "internal",
            "after each layer the examples hold residuals y − f_k(x) of steps from a learned start, beyond x and y",
            "descent",
            "iterates",
            0.99,
        ),
        Signature(
            "remaining steps",
            "inner loop",
            "causal",
            "with another prompt's residuals the answer is what the remaining steps make of them",
            "descent",
            "remaining steps",
            0.99,
        ),
        Signature(
            "one step",
            "inner loop",
            "causal",
            "of a single step: with another prompt's attention the answer is the step on those inputs and these labels",
            "descent",
            "pattern",
            0.99,
        ),
        Signature(
            "learned fast steps",
            FAST_WEIGHTS,
            "condition",
            "the start or the steps differ from zero and one size",
            "fast weights",
            "departure",
            0.1,
        ),
        *steps_in_fast_weights("a learned start", ""),
    ),
)
