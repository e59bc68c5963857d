"""What the figures of experiment scripts share: the lab's style, and files that are written whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icl_lab.core.files import write_atomically
from icl_lab.report.figures.files import png, svg
from icl_lab.report.figures.layout import STYLE, plain_log


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the lab's style, without a display."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.style.context(STYLE):
        yield


def plain_ticks(axis: Any) -> None:
    """Plain numbers on a logarithmic axis (`axes.xaxis` or `.yaxis`) within its limits so far."""
    plain_log(axis, *axis.get_view_interval())


def save_figure(figure: Any, folder: Path, name: str) -> Path:
    """Write FOLDER/NAME.png and .svg; the path of the first."""
    write_atomically(folder / f"{name}.svg", svg(figure))
    write_atomically(folder / f"{name}.png", png(figure))
    return folder / f"{name}.png"
