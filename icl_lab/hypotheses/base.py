"""What a hypothesis is: a claim, the references that compute what it says, and its signatures inside a network.

References decide the *function* verdict, from behaviour. Signatures decide the *mechanism* verdict, from inside.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from icl_lab.learners.reference import Reference

Kind = Literal["internal", "causal", "condition"]
FAST_WEIGHTS = "fast weights"  # name of the circuit of gradient steps in a recurrent network, and of its measurement


@dataclasses.dataclass(frozen=True)
class Signature:
    """One thing that must be found inside a network that works as the hypothesis says.

    Attributes:
        name: identifier, unique within the hypothesis.
        mechanism: the circuit it belongs to; a hypothesis may have several ("copying", "from the weights").
        kind: "internal" if it is read inside the network; "causal" if it is seen in the answers after a patch;
            "condition" if it must hold but is no evidence (learned steps differ from plain ones).
        statement: one sentence.
        measurement: the row of `mechanisms.measurements.MEASUREMENTS` that measures it.
        statistic: name of the number in that row.
        above: the signature is there if the number is larger. Fixed in advance.
    """

    name: str
    mechanism: str
    kind: Kind
    statement: str
    measurement: str
    statistic: str
    above: float


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One explanation of in-context learning.

    Attributes:
        key: "H1" … "H5".
        name: for tables and figures.
        claim: one sentence.
        references: learners that compute what the hypothesis says, on the tasks they apply to.
        suffices: reference name → name of a simpler reference of another hypothesis. If both are near, the simpler one
            explains the subject: this one *coincides* with it and is no support by itself.
        mechanisms: signatures of all circuits that would make the hypothesis true.
    """

    key: str
    name: str
    claim: str
    references: tuple[Reference, ...]
    suffices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mechanisms: tuple[Signature, ...] = ()


def steps_in_fast_weights(start: str, suffix: str) -> tuple[Signature, ...]:
    """Return the signatures of gradient steps in fast weights from `start`; their statistics end in `suffix`."""
    rows: tuple[tuple[str, Kind, str, str, float], ...] = (
        (
            "downhill in fast weights",
            "condition",
            "no step goes up the gradient, to 1% of the largest",
            "downhill",
            -0.01,
        ),
        (
            "fast iterates",
            "internal",
            f"after each example the state holds the weights of steps from {start}",
            "iterates",
            0.99,
        ),
        (
            "other keys",
            "causal",
            "with another prompt's keys and queries the answer is what these residuals write along those inputs",
            "keys",
            0.99,
        ),
        (
            "other start",
            "causal",
            "of several steps: from another prompt's last state the answer is that of the steps from its weights",
            "start",
            0.99,
        ),
    )
    return tuple(
        Signature(name, FAST_WEIGHTS, kind, statement, FAST_WEIGHTS, statistic + suffix, above)
        for name, kind, statement, statistic, above in rows
    )
