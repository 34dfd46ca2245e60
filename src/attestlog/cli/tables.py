"""Tables for people: natural widths, cut to the terminal's width only where there is one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from attestlog.cli.output import printable

_UNLIMITED_WIDTH: Final = 100_000
"""Columns of a table that goes to a file or a pipe: never cut, so that grep finds everything."""


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> None:
    """Write a table to stdout. A cell is text, or (text, style); None shows as a dash."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(_cell, row))
    width = None if sys.stdout.isatty() else _UNLIMITED_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    console.print(table)


def _cell(value: object) -> Text:
    if isinstance(value, tuple):
        return Text(printable(str(value[0])), style=value[1])
    return Text(printable("–" if value is None else str(value)))
