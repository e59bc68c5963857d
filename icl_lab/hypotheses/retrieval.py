"""H4: stored patterns are selected or copied: a pool task from the weights, an example from the prompt."""

from icl_lab.hypotheses.base import Hypothesis, Signature
from icl_lab.learners.bayes import pool_map, population_map
from icl_lab.learners.classes import class_lookup, in_context_match
from icl_lab.learners.neighbours import longest_match, nearest_neighbours
from icl_lab.learners.reference import Reference, has_pool, has_support, is_stream
from icl_lab.tasks import LabelMapping, Task


def has_label_maps(task: Task) -> bool:
    """Return whether items have classes whose labels can be stored."""
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
    mechanisms=(
        Signature(
            "one place",
            "copying",
            "internal",
            "a head attends from the query to the latest of the nearest examples alone",
            "heads",
            "copied mass",
            0.9,
        ),
        Signature(
            "other place",
            "copying",
            "causal",
            "with another prompt's attention the answer is the label that stands where that one looks",
            "heads",
            "copied label",
            0.95,
        ),
        Signature(
            "stored task",
            "from the weights",
            "internal",
            "the most probable pool member's latent, not a mean of members, is read off one attention layer",
            "pool",
            "retrieved",
            0.95,
        ),
        Signature(
            "other task",
            "from the weights",
            "causal",
            "with another prompt's value of it the answer is that of the member most probable there",
            "pool",
            "retrieved moves",
            0.95,
        ),
    ),
)
