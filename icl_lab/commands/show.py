"""Claims for the terminal: a table, or a line each."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from icl_lab.core.claims import Claim


def claims_table(claims: Sequence[Claim]) -> Table:
    """Return the claims as a table."""
    table = Table(title="claims", title_justify="left")
    for column in ("id", "statement", "expected", "measured"):
        table.add_column(column, justify="left" if column in ("id", "statement") else "right", overflow="fold")
    table.add_column("holds")
    for claim in claims:
        verdict = "-" if claim.holds is None else "yes" if claim.holds else "NO"
        holds = Text(verdict, "bold red" if verdict == "NO" else "")
        holds += Text(" (report)" if claim.gate == "report" else "")
        cells = (claim.id, claim.statement, claim.expected, claim.measured)
        table.add_row(*map(Text, cells), holds)  # as text: what stands in brackets is no markup
    return table


def line(claim: Claim) -> str:
    """Return one line: pass or fail, what was measured, what was expected."""
    verdict = "-   " if claim.holds is None else "pass" if claim.holds else "FAIL"
    return f"{verdict}  {claim.statement}: {claim.measured} (expected {claim.expected})"
