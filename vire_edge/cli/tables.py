"""Tables of a page → tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from vire_edge.training.report.document import Table as TextTable

PIPED_WIDTH = 160
"""Columns of text that no terminal shows."""


def print_tables(tables: Iterable[TextTable]) -> None:
    """Print each table under its caption."""
    # A file has room; on a terminal a table folds.
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    for table in tables:
        console.print(f"[bold]{escape(table.caption)}[/bold]")
        console.print(_rich(table))


def _rich(table: TextTable) -> Table:
    drawn = Table(box=SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for column, head in enumerate(table.head):
        words = column in (0, *table.words)
        drawn.add_column(escape(head), justify="left" if words else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn
