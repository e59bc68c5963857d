"""Probes: measurements on a learner. They return numbers, never a verdict."""

from icl_lab.probes.attention import mean_attention
from icl_lab.probes.behaviour import alignment, label_influence, label_nonlinearity, query_sensitivity

# Name → one line, for `icl-lab list probes`.
PROBES: dict[str, str] = {
    "label_influence": "how far the answer follows when one label changes: signs, sum, one-hot or spread",
    "label_nonlinearity": "departure of the answer from being affine in the labels",
    "query_sensitivity": "∂ŷ/∂x of the query, compared with every reference's by cosine",
    "mean_attention": "attention pattern of every layer and head, averaged over prompts",
}

__all__ = ["PROBES", "alignment", "label_influence", "label_nonlinearity", "mean_attention", "query_sensitivity"]
