"""Names and colours shared by every figure: one fixed colour per hypothesis (Okabe and Ito 2008), greys for decoys."""

from __future__ import annotations

from types import MappingProxyType

HYPOTHESES = MappingProxyType(
    {
        "H1": "Bayesian inference",
        "H2": "kernel regression",
        "H3": "meta-learning",
        "H4": "retrieval",
        "H5": "implicit gradient descent",
    }
)

COLOURS = MappingProxyType(
    {
        "H1": "#0072B2",
        "H2": "#E69F00",
        "H3": "#CC79A7",
        "H4": "#009E73",
        "H5": "#D55E00",
        "rival": "#56B4E9",
        "decoy": "#8C8C8C",
    }
)

INKS = MappingProxyType(  # the same hues, dark enough for text on white
    {
        "H1": "#005C8F",
        "H2": "#8F6200",
        "H3": "#A04D7C",
        "H4": "#00714F",
        "H5": "#AB4A00",
        "rival": "#2378A8",
        "decoy": "#666666",
    }
)

SUBJECT = "#111111"  # the network under study and the exact learner: black, solid and dashed
CONTEXT = "#D3D3D3"  # references that are drawn but not named
MUTED = "#666666"  # secondary text
PASS, FAIL = "#006B4F", "#B03A00"

# What a verdict says of a hypothesis. It coincides where its near references add nothing to a simpler one that is near.
SUPPORTED, COINCIDES, REFUTED, UNDECIDED = STATUSES = ("supported", "coincides", "refuted", "undecided")
UNTESTED = "not tested"  # what the mechanism verdict says of a hypothesis whose circuits cannot be told from chance
UNEXPLAINED = "unexplained"  # the status of a verdict whose nearest reference is itself far
MARKS = MappingProxyType({SUPPORTED: "✔", COINCIDES: "≡", REFUTED: "✘", UNDECIDED: "?", UNTESTED: "–"})
WORDS = MappingProxyType(
    {SUPPORTED: "yes", COINCIDES: "same", REFUTED: "no", UNDECIDED: "open", UNTESTED: "-"}
)  # plain ASCII


def colour_of(group: str) -> str:
    """Colour of a hypothesis ("H1" to "H5"), of "rival" or of "decoy"; of the first named where several are."""
    return COLOURS.get(groups_of(group)[0], COLOURS["decoy"])


def ink_of(group: str) -> str:
    """The colour of `colour_of`, darkened for text."""
    return INKS.get(groups_of(group)[0], INKS["decoy"])


def groups_of(text: str) -> tuple[str, ...]:
    """The groups a reference belongs to: "H1" → ("H1",); "H2, H5" → ("H2", "H5"); "" → ("decoy",)."""
    found = tuple(part for part in text.replace(",", " ").replace("+", " ").split() if part)
    return found or ("decoy",)


def spoken(name: str) -> str:
    """An identifier as words: "in_distribution" → "in distribution"."""
    return name.replace("_", " ")


def number(value: float | int) -> str:
    """Two significant digits without exponents: 0.0021, 0.046, 1.3, 540, 12k, <0.0001."""
    if value != value:
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.0001:
        return "<0.0001" if value > 0 else ">-0.0001"
    if size >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if size >= 10_000:
        return f"{value / 1000:.0f}k"
    if size >= 10:
        return f"{value:.0f}"
    digits = 1
    while size < 10.0 ** (1 - digits):
        digits += 1
    return f"{value:.{digits}f}"


def percent(share: float) -> str:
    """A share as a percentage: "1.3%", "40%"; "" where unknown, ">999%" where it has no meaning any more."""
    if share != share:
        return ""
    if share >= 9.995:
        return ">999%"
    return "<0.1%" if 0 < share < 0.001 else f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def listing(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c" — for sentences."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]
