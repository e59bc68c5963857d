"""Figures and the report page of a finished run. Reads results.nc and claims.json, never recomputes."""

from icl_lab.report.page import build
from icl_lab.report.terminal import scoreboard_table

__all__ = ["build", "scoreboard_table"]
