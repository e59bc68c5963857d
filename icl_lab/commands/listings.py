"""`icl-lab list`: the rooms' tables, as they are."""

import ast
import inspect
from collections.abc import Callable

from icl_lab.config.shipped import shipped_experiments

Rows = list[tuple[str, str]]


def show(what: str) -> None:
    """Print one table: a name and a line for each entry."""
    rows = LISTINGS[what]()
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {text}")


def _tasks() -> Rows:
    from icl_lab.tasks import TASKS

    return [(name, _first_line(kind)) for name, kind in TASKS.items()]


def _learners() -> Rows:
    from icl_lab.hypotheses import REFERENCES

    return [(name, f"{reference.title} ({owner})") for name, (owner, reference) in REFERENCES.items()]


def _hypotheses() -> Rows:
    from icl_lab.hypotheses import HYPOTHESES

    return [(hypothesis.key, f"{hypothesis.name}: {hypothesis.claim}") for hypothesis in HYPOTHESES]


def _probes() -> Rows:
    from icl_lab.probes import PROBES

    return list(PROBES.items())


def _stress() -> Rows:
    from icl_lab.stress.perturbations import PERTURBATIONS

    return [(name, f"{perturbation.title}: {perturbation.question}") for name, perturbation in PERTURBATIONS.items()]


def _sites() -> Rows:
    from icl_lab.models.sites import SITES

    return [(f"LAYER.{site}", " ".join(axes)) for site, axes in SITES.items()]


def _experiments() -> Rows:
    """Names of the scripts and the first line of each docstring, read without running it."""
    texts = {name: file.read_text(encoding="utf-8") for name, file in shipped_experiments().items()}
    return [(name, (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]) for name, text in texts.items()]


def _first_line(documented: object) -> str:
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ")


LISTINGS: dict[str, Callable[[], Rows]] = {
    "tasks": _tasks,
    "learners": _learners,
    "hypotheses": _hypotheses,
    "probes": _probes,
    "stress": _stress,
    "sites": _sites,
    "experiments": _experiments,
}
