"""Pages from templates, in which every text is escaped; figures lie inline, and nothing is fetched from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from icl_lab.core.files import write_atomically
from icl_lab.report.data import Run
from icl_lab.report.figures.files import inline, png, svg
from icl_lab.report.figures.layout import Drawing, LeftOut
from icl_lab.report.pages.tables import claims_table, provenance

TEMPLATES = Environment(
    loader=PackageLoader("icl_lab.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Picture:
    """A figure on a page: its SVG and how to read it, or the reason why it is missing."""

    name: str
    reading: str
    document: Markup | None = None
    missing: str = ""


def picture(figures: Path, name: str, draw: Callable[[], Drawing | LeftOut], reading: str) -> Picture:
    """Draw a figure, write it as PNG and SVG, and return it for the page."""
    drawn = draw()
    if isinstance(drawn, LeftOut):
        for suffix in ("png", "svg"):  # a picture of earlier results must not stay beside a page that lacks it
            (figures / f"{name}.{suffix}").unlink(missing_ok=True)
        return Picture(name, reading, missing=drawn.reason)
    document = svg(drawn.figure)
    write_atomically(figures / f"{name}.png", png(drawn.figure))
    write_atomically(figures / f"{name}.svg", document)
    return Picture(name, reading, Markup(inline(document, name, drawn.takeaway)))


def write_page(template: str, run: Run, directory: Path, **values: Any) -> Path:
    """Write `report.html` from a template, with the claims and the provenance of the run; return its path."""
    shared = {"claims": claims_table(run), "provenance": provenance(run)}
    page = TEMPLATES.get_template(template).render(**shared, **values)
    target = directory / "report.html"
    write_atomically(target, page.encode("utf-8"))
    return target
