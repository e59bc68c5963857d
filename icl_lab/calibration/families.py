"""The tasks that a calibration uses, one for each family."""

from collections.abc import Callable

from icl_lab.tasks import BooleanRules, LinearRegression, MarkovChain, Pool, Task

FAMILIES: dict[str, Callable[[int], Task]] = {
    "linear_regression": lambda seed: LinearRegression(dimension=5, examples=12, noise=0.5, prior=Pool(32, seed=seed)),
    "markov_chain": lambda seed: MarkovChain(states=3, examples=46, prior=Pool(16, seed=seed)),
    "boolean_rules": lambda seed: BooleanRules(bits=4, examples=15, noise=0.05),
}
"""Name → (seed of the pool) → task. A chain of 46 examples has 48 states."""
