"""What a hypothesis is: a claim, the references that would make it true, and when a simpler one suffices."""

import dataclasses
from collections.abc import Mapping

from icl_lab.learners.reference import Reference


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One explanation of in-context learning.

    Attributes:
        key: "H1" … "H5".
        name: for tables and figures.
        claim: one sentence.
        references: learners that compute what the hypothesis says, on any task they apply to.
        suffices: reference name → name of a simpler reference of another hypothesis. Where both are near, the simpler
            one explains the subject and this one adds nothing: it *coincides* and is not supported by itself.
    """

    key: str
    name: str
    claim: str
    references: tuple[Reference, ...]
    suffices: Mapping[str, str] = dataclasses.field(default_factory=dict)
