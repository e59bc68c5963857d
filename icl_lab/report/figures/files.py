"""Figures as bytes: reproducibly, and as SVG that can share a page with others."""

from __future__ import annotations

import io
import re

from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """The figure as PNG, without a date: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as SVG with text as outlines, without a date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return buffer.getvalue()


def inline(document: bytes, prefix: str, description: str) -> str:
    """An SVG element to be put into a page: no prologue, ids made unique by `prefix`, scaled by the page."""
    text = document.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*pt"', "", head)
    return f'{head} role="img" aria-label="{_attribute(description)}">{rest}'


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
