"""Weights set by hand, whose mechanism is known: ground truth for probes and verdicts.

Every builder returns (Model, Params) of the ordinary architecture: the same configuration could have been trained.
"""

from icl_lab.models.constructions.causal_descent import causal_gd as causal_gd
from icl_lab.models.constructions.gradient_descent import one_layer_config as one_layer_config
from icl_lab.models.constructions.gradient_descent import one_step_gd as one_step_gd
from icl_lab.models.constructions.induction_head import bigram_counts as bigram_counts
from icl_lab.models.constructions.learned_descent import learned_descent as learned_descent
from icl_lab.models.constructions.most_recent_match import most_recent_match as most_recent_match
from icl_lab.models.constructions.pool_posterior import pool_posterior as pool_posterior
from icl_lab.models.constructions.pool_posterior import pool_retrieval as pool_retrieval
from icl_lab.models.constructions.softmax_kernel import nearest_example as nearest_example
from icl_lab.models.constructions.softmax_kernel import softmax_kernel as softmax_kernel
