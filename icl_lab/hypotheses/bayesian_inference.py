"""H1: the prompt updates a posterior over latent tasks (Xie et al. 2021; Raventós et al. 2023; Panwar et al. 2023).

The prior is the training prior, so these references have no free parameters. Ridge and counts with another penalty or
pseudo-count are predictives of priors that were never trained on. They belong to H2 (`kernel_regression`), which needs
no prior. At the penalty of the training prior they are the same function, and both hypotheses are supported.
"""

from icl_lab.hypotheses.base import Hypothesis, Signature
from icl_lab.learners.bayes import pool_bayes, population_bayes
from icl_lab.learners.reference import Reference, has_pool, has_population_predictive

BAYESIAN_INFERENCE = Hypothesis(
    key="H1",
    name="Bayesian inference",
    claim="answers follow the posterior predictive of the training prior over tasks",
    references=(
        Reference("pool_bayes", "pool Bayes (dMMSE)", pool_bayes, applies=has_pool, lapses=True),
        Reference(
            "population_bayes", "population Bayes", population_bayes, applies=has_population_predictive, lapses=True
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
