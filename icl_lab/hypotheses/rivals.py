"""References outside the five hypotheses: rivals, which a verdict only names, and decoys, which block it."""

from icl_lab.learners.bayes import matched_moments, tempered_pool_bayes, tempered_population_bayes
from icl_lab.learners.counts import suffix_counts
from icl_lab.learners.decoys import label_mean, lasso, previous_label
from icl_lab.learners.gradient import newton_schulz, newton_with_link
from icl_lab.learners.reference import (
    Reference,
    geometric,
    has_classes,
    has_pool,
    has_real_outcomes,
    is_stream,
)
from icl_lab.learners.rules import gf2_elimination, modular_elimination, ratio_rule
from icl_lab.tasks import BooleanRules, ModularRules, Pool, Task


def is_modular(task: Task) -> bool:
    """Return whether rules are linear modulo p."""
    return isinstance(task, ModularRules)


def has_prime(task: Task) -> bool:
    """Return whether rules are linear modulo a prime p, so that elimination can divide."""
    return isinstance(task, ModularRules) and all(task.modulus % divisor for divisor in range(2, task.modulus))


def is_parity(task: Task) -> bool:
    """Return whether rules are parities of bits."""
    return isinstance(task, BooleanRules) and task.rules == "parity"


# A grid of exponents passes over all latents many times, and large pools are close to populations.
MOST_LATENTS = 512


def has_small_pool(task: Task) -> bool:
    """Return whether the prior is a pool of at most MOST_LATENTS tasks."""
    return isinstance(task.prior, Pool) and int(task.prior.size) <= MOST_LATENTS


def has_small_support(task: Task) -> bool:
    """Return whether the population has at most MOST_LATENTS latents."""
    return 0 < task.support <= MOST_LATENTS


RIVALS = (
    *(
        Reference(
            f"newton_{steps}",
            f"Newton-Schulz, {steps} steps",
            newton_schulz,
            settings=(("steps", steps),),
            grid=lambda s: {"start": geometric(0.25, 1.9, 6)},
            applies=has_real_outcomes,
        )
        for steps in (2, 3)
    ),
    Reference(
        "newton_link_3",
        "Newton on cross-entropy, 3 steps",
        newton_with_link,
        settings=(("steps", 3),),
        grid=lambda s: {"damping": geometric(0.01, 3, 8)},
        applies=has_classes,
    ),
    Reference("gf2_elimination", "elimination over GF(2)", gf2_elimination, applies=is_parity, lapses=True),
    Reference("modular_elimination", "elimination modulo p", modular_elimination, applies=has_prime, lapses=True),
)

DECOYS = (
    Reference(
        "lasso",
        "Lasso",
        lasso,
        grid=lambda s: {"penalty": geometric(0.1, 1.0, 6) * s.variance**0.5 * s.label / s.size**0.5},
        applies=has_real_outcomes,
    ),
    Reference(
        "label_mean",
        "mean label",
        label_mean,
        grid=lambda s: {"pseudo_count": geometric(0.3, 10, 6)} if s.classes else {},
    ),
    Reference("previous_label", "previous label", previous_label, lapses=True),
    Reference(
        "longer_counts",
        "counts of three states",
        suffix_counts,
        settings=(("length", 3),),
        grid=lambda s: {"concentration": geometric(0.05, 10, 8)},
        applies=is_stream,
    ),
    # Near misses of Bayesian inference. They yield to the references they vary unless they are clearly nearer.
    Reference(
        "tempered_pool_bayes",
        "tempered posterior over the pool",
        tempered_pool_bayes,
        grid=lambda s: {"exponent": geometric(0.25, 4, 9)},
        lapses=True,
        applies=has_small_pool,
        yields_to=("pool_bayes", "pool_map"),
    ),
    Reference(
        "tempered_population_bayes",
        "tempered posterior over all rules",
        tempered_population_bayes,
        grid=lambda s: {"exponent": geometric(0.25, 4, 9)},
        lapses=True,
        applies=has_small_support,
        yields_to=("population_bayes", "population_map"),
    ),
    Reference(
        "matched_moments",
        "Gaussian with the pool's moments",
        matched_moments,
        applies=lambda task: has_pool(task) and has_real_outcomes(task),
        yields_to=("population_bayes", "ridge"),
    ),
    Reference("ratio_rule", "multiple of an example", ratio_rule, applies=is_modular, lapses=True),
)
