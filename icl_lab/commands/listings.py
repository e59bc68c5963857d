"""`icl-lab list`: the rooms' tables, as they are."""

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

from icl_lab.core.errors import InputError

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
    """Read without being run: the first line of each script's docstring.

    Raises:
        InputError: there are none, as where the package is installed without its repository.
    """
    directory = Path(__file__).parents[2] / "experiments"
    if not directory.is_dir():
        raise InputError("experiments: the scripts are in the repository, not in the installed package; run it there")
    rows = []
    for file in sorted(directory.glob("[!_]*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        rows.append((f"experiments/{file.name}", (text.splitlines() or [""])[0]))
    return rows


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
