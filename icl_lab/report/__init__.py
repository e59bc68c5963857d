"""Figures and the report page of a finished run. Reads results.nc and claims.json, never recomputes."""

from icl_lab.report.pages.run import build
from icl_lab.report.text.terminal import scoreboard_table

__all__ = ["build", "scoreboard_table"]
