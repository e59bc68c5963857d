"""H4: stored patterns are selected or copied: a pool task from the weights, an example from the prompt."""

from icl_lab.hypotheses.base import Hypothesis
from icl_lab.learners.bayes import pool_map, population_map
from icl_lab.learners.classes import class_lookup, in_context_match
from icl_lab.learners.neighbours import longest_match, nearest_neighbours
from icl_lab.learners.reference import Reference, has_pool, has_support, is_stream
from icl_lab.tasks import LabelMapping, Task


def has_label_maps(task: Task) -> bool:
    """Whether items have classes whose labels can be stored."""
    return isinstance(task, LabelMapping)


RETRIEVAL = Hypothesis(
    key="H4",
    name="retrieval",
    claim="answers are those of one stored task, or copies of examples in the prompt",
    references=(
        Reference("pool_map", "MAP pool member", pool_map, applies=has_pool, lapses=True),
        Reference("population_map", "most probable rule", population_map, applies=has_support, lapses=True),
        Reference(
            "nearest_neighbour", "nearest example", nearest_neighbours, settings=(("neighbours", 1),), lapses=True
        ),
        Reference(
            "three_nearest_neighbours",
            "3 nearest examples",
            nearest_neighbours,
            settings=(("neighbours", 3),),
            lapses=True,
        ),
        Reference("class_lookup", "label from the weights", class_lookup, applies=has_label_maps, lapses=True),
        Reference("in_context_match", "label of the same class", in_context_match, applies=has_label_maps, lapses=True),
        Reference("longest_match", "longest suffix match", longest_match, applies=is_stream, lapses=True),
    ),
)
