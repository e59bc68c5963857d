"""The same prompts in another format: separators, blank tokens, the two tokens of an example exchanged, other codes.

A change of format loses no information, so the exact learner answers as before; only the movement of the subject is
measured. The changed tokens have no likelihood under training. `stress.readable` says which networks can read them.
"""

from typing import Any

from icl_lab.core.prompts import Prompts
from icl_lab.formats import Format
from icl_lab.formats.changes import blanks, coded, scaled, separated, swapped, unseen
from icl_lab.stress.base import Perturbation, Strength
from icl_lab.stress.scoring import last_only
from icl_lab.tasks import Task


def _has_pairs(task: Task) -> str:
    return (
        f"{type(task).__name__} is a stream: its inputs are its outcomes, and have no order" if task.is_stream else ""
    )


def _has_codes(task: Task) -> str:
    return "real outcomes have no codes" if task.outcomes.linear else ""


def _last(task: Task, prompts: Prompts, key: object, strength: Strength) -> Prompts:
    """Score the last position only: some formats answer no other."""
    return last_only(prompts)


def _changed(
    name: str, title: str, question: str, unit: str, strengths: tuple[float, ...], **rest: Any
) -> Perturbation:
    fixed: dict[str, Any] = {"standard": strengths[-1], "prompts": _last, "aligned": True, "likelihood": False}
    return Perturbation(name, title, question, unit, strengths, **(fixed | rest))


def _swapped(format: Format, strength: Strength) -> Format:
    return swapped(format) if strength else format


def _unseen(format: Format, strength: Strength) -> Format:
    return unseen(format) if strength else format


SEPARATORS = _changed(
    "separators",
    "separators",
    "do separators between the tokens of the prompt move the answer?",
    "separators per example",
    (0.0, 1.0, 2.0),
    format=lambda format, strength: separated(format, int(strength)),
)
SWAPPED = _changed(
    "swapped",
    "label before input",
    "is an example understood when its label comes first?",
    "x before y (0) or y before x (1)",
    (0.0, 1.0),
    format=_swapped,
    applies=_has_pairs,
)
CODES = _changed(
    "label_codes",
    "other label codes",
    "are labels arbitrary names, or do they carry a meaning from training?",
    "places by which the codes are shifted",
    (0.0, 1.0),
    format=lambda format, strength: coded(format, int(strength)),
    applies=_has_codes,
)
SCALED = _changed(
    "scaled_encoding",
    "scaled encoding",
    "does the scale on which inputs are written move the answer?",
    "factor on the inputs (training: 1)",
    (1.0, 2.0, 4.0),
    standard=2.0,
    format=lambda format, strength: scaled(format, strength),
)
BLANKS = _changed(
    "blanks",
    "blank tokens",
    "do blank tokens before the prompt move the answer?",
    "blank tokens",
    (0.0, 1.0, 4.0, 8.0),
    standard=4.0,
    format=lambda format, strength: blanks(format, int(strength)),
)
NEVER_SEEN = _changed(
    "unseen_format",
    "a format never seen",
    "does the subject read a format that neither training nor augmentation showed?",
    "own format (0) or features reversed, halved, between separators (1)",
    (0.0, 1.0),
    format=_unseen,
)

FORMAT_PERTURBATIONS: dict[str, Perturbation] = {
    perturbation.name: perturbation for perturbation in (SEPARATORS, SWAPPED, CODES, SCALED, BLANKS, NEVER_SEEN)
}
