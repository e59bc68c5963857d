"""H1: the prompt updates a posterior over latent tasks (Xie et al. 2021; Raventós et al. 2023; Panwar et al. 2023)."""

from icl_lab.hypotheses.base import Hypothesis, Signature
from icl_lab.learners.bayes import pool_bayes, population_bayes
from icl_lab.learners.counts import back_off_counts, context_counts
from icl_lab.learners.linear import ridge
from icl_lab.learners.reference import (
    Reference,
    geometric,
    has_pool,
    has_population_predictive,
    has_real_outcomes,
    is_stream,
)

BAYESIAN_INFERENCE = Hypothesis(
    key="H1",
    name="Bayesian inference",
    claim="answers follow the posterior predictive of a prior over tasks",
    references=(
        Reference("pool_bayes", "pool Bayes (dMMSE)", pool_bayes, applies=has_pool, lapses=True),
        Reference(
            "population_bayes", "population Bayes", population_bayes, applies=has_population_predictive, lapses=True
        ),
        Reference(
            "ridge",
            "ridge",
            ridge,
            grid=lambda s: {"penalty": geometric(1e-3 * s.variance, 1e2 * s.variance, 16)},
            applies=has_real_outcomes,
        ),
        Reference(
            "context_counts",
            "Dirichlet counts",
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
            "posterior",
            "posterior over the pool",
            "internal",
            "the posterior mean of the pool's latents is read off one attention layer",
            "pool",
            "posterior",
            0.95,
        ),
        Signature(
            "other posterior",
            "posterior over the pool",
            "causal",
            "with another prompt's value of it the answer is the predictive of the posterior there",
            "pool",
            "posterior moves",
            0.95,
        ),
        Signature(
            "counts",
            "counting",
            "internal",
            "the posterior predictive of the counts is read off one attention layer",
            "counts",
            "predictive",
            0.95,
        ),
        Signature(
            "other counts",
            "counting",
            "causal",
            "with another prompt's value of it the answer is the predictive of the counts there",
            "counts",
            "predictive moves",
            0.95,
        ),
    ),
)
