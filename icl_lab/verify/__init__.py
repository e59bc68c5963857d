"""Closed forms and constructions, each checked by a computation that shares nothing with the one it checks."""

import jax

from icl_lab.core.claims import Claim
from icl_lab.core.errors import InputError
from icl_lab.verify import bayes, built, descent, one_layer

LARGEST = 512


def run(dimension: int = 5, examples: int = 20, noise_variance: float = 0.0) -> list[Claim]:
    """All checks, one claim each. About a minute on two cores; nothing is written or printed.

    Args:
        dimension, examples, noise_variance: d, N and σ² at which the minimum of one linear-attention layer is checked,
            beside the published settings.

    Raises:
        InputError: sizes that no machine would finish.
    """
    for name, value in (("dimension", dimension), ("examples", examples)):
        if not 1 <= value <= LARGEST:
            raise InputError(f"--{name}: {value} should be between 1 and {LARGEST}")
    with jax.default_matmul_precision("highest"):  # some checks run operation by operation
        return [
            *one_layer.von_oswald(),
            *one_layer.global_minimum(dimension, examples, noise_variance),
            *bayes.population(),
            *bayes.pools(),
            *descent.limits(),
            *descent.equivalences(),
            *descent.recursions(),
            *built.transformers(),
        ]
