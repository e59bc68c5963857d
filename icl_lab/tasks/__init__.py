"""Task families. A new one is a file and a line in TASKS."""

from icl_lab.tasks.base import Pool, Population, Task, static, task_dataclass
from icl_lab.tasks.boolean_rules import BooleanRules
from icl_lab.tasks.causal_graph import CausalGraph
from icl_lab.tasks.described import Described
from icl_lab.tasks.label_mapping import LabelMapping
from icl_lab.tasks.linear_regression import LinearRegression
from icl_lab.tasks.markov_chain import MarkovChain
from icl_lab.tasks.modular_rules import ModularRules
from icl_lab.tasks.pool import PoolPosterior, pool_posterior
from icl_lab.tasks.recall import Recall
from icl_lab.tasks.repeated_sequence import RepeatedSequence

TASKS: dict[str, type[Task]] = {
    "linear_regression": LinearRegression,
    "markov_chain": MarkovChain,
    "boolean_rules": BooleanRules,
    "label_mapping": LabelMapping,
    "modular_rules": ModularRules,
    "repeated_sequence": RepeatedSequence,
    "causal_graph": CausalGraph,
    "described": Described,
    "recall": Recall,
}

__all__ = [
    "TASKS",
    "BooleanRules",
    "CausalGraph",
    "Described",
    "LabelMapping",
    "LinearRegression",
    "MarkovChain",
    "ModularRules",
    "Pool",
    "PoolPosterior",
    "Population",
    "Recall",
    "RepeatedSequence",
    "Task",
    "pool_posterior",
    "static",
    "task_dataclass",
]
