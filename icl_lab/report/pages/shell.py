"""What pages of one piece share: head, style, title, what they are about, and where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

from icl_lab.core.files import write_atomically
from icl_lab.report.data import Run
from icl_lab.report.pages.run import STYLESHEET
from icl_lab.report.pages.tables import provenance


def write_page(run: Run, directory: Path, title: str, about: str, parts: Iterable[str]) -> Path:
    """Write `report.html`, self-contained, with the run's provenance at its end; its path.

    Args:
        run: whose results are shown.
        directory: where the page belongs.
        title, about: heading and first paragraph, as plain text.
        parts: HTML of everything between, in order.
    """
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLESHEET.read_text(encoding='utf-8')}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(about)}</p>{''.join(parts)}"
        f"<h2>Provenance</h2>{provenance(run)}</body></html>\n"
    )
    target = directory / "report.html"
    write_atomically(target, page.encode("utf-8"))
    return target
