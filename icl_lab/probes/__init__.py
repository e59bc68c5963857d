"""Probes: measurements on a learner, which return numbers and never a verdict."""

from icl_lab.probes.behaviour.battery import BATTERY, Probe
from icl_lab.probes.behaviour.responses import alignment, label_influence, label_nonlinearity, query_sensitivity
from icl_lab.probes.inside.attention import induction_scores, mean_attention, prefix_matching, previous_token
from icl_lab.probes.inside.listing import INTERNAL

# Name → one line, for `icl-lab list probes`.
PROBES: dict[str, str] = {
    **{name: probe.question for name, probe in BATTERY.items()},
    **INTERNAL,
    "duel": "of two learners, whom a third follows on the prompts of a large sample where they disagree most",
    "sufficient_statistics": "what a read-out may look for: Xᵀy or counts, label sums, weights, posterior, rule",
    "label_influence": "how far the answer follows when one label changes: signs, sum, one-hot or spread",
    "label_nonlinearity": "departure of the answer from being affine in the labels",
    "query_sensitivity": "∂ŷ/∂x of the query, compared with every reference's by cosine",
    "mean_attention": "attention pattern of every layer and head, averaged over prompts",
    "induction_scores": "of every head of a stream: attention to what followed the same token, and to the token before",
}

__all__ = [
    "BATTERY",
    "INTERNAL",
    "PROBES",
    "Probe",
    "alignment",
    "induction_scores",
    "label_influence",
    "label_nonlinearity",
    "mean_attention",
    "prefix_matching",
    "previous_token",
    "query_sensitivity",
]
