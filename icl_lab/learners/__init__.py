"""Learners: everything that answers a prompt, `learner(prompts) -> Predictions`."""

from icl_lab.learners.transformer import TransformerLearner

__all__ = ["TransformerLearner"]
