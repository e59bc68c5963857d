"""The five hypotheses, and the references that represent them, their rivals and decoys."""

from icl_lab.hypotheses.base import Hypothesis
from icl_lab.hypotheses.bayesian_inference import BAYESIAN_INFERENCE
from icl_lab.hypotheses.implicit_gradient_descent import IMPLICIT_GRADIENT_DESCENT
from icl_lab.hypotheses.kernel_regression import KERNEL_REGRESSION
from icl_lab.hypotheses.meta_learning import META_LEARNING
from icl_lab.hypotheses.retrieval import RETRIEVAL
from icl_lab.hypotheses.rivals import DECOYS, RIVALS
from icl_lab.learners.reference import Reference

HYPOTHESES: tuple[Hypothesis, ...] = (
    BAYESIAN_INFERENCE,
    KERNEL_REGRESSION,
    META_LEARNING,
    RETRIEVAL,
    IMPLICIT_GRADIENT_DESCENT,
)

# Name → (owner, reference). The owner is the key of a hypothesis, "rival" or "decoy".
REFERENCES: dict[str, tuple[str, Reference]] = {
    reference.name: (owner, reference)
    for owner, references in (
        *((hypothesis.key, hypothesis.references) for hypothesis in HYPOTHESES),
        ("rival", RIVALS),
        ("decoy", DECOYS),
    )
    for reference in references
}

__all__ = ["DECOYS", "HYPOTHESES", "REFERENCES", "RIVALS", "Hypothesis", "Reference"]
