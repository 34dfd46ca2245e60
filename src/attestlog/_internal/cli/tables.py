"""Tables for people: natural widths; in a terminal, columns that may shrink do, so that the rest fits."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from attestlog._internal.cli.output import Output, Piece, printable

_KEPT_WIDTH: Final = 13
"""Characters that a column which shrinks keeps: enough to tell names and hashes apart."""

_GAP: Final = "  "


def print_table(
    out: Output,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    shrinks: str = "",
) -> None:
    """A table as text. A cell is text, or (text, style); None shows as a dash.

    Columns named in `right` are flushed right. A file or a pipe gets every cell whole.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(cell_len(text) for text in [heading, *(row[position][0] for row in cells)])
        for position, heading in enumerate(headings)
    ]
    if sys.stdout.isatty() and shrinks:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
        position = headings.index(shrinks)
        widths[position] -= max(0, min(excess, widths[position] - _KEPT_WIDTH))
    for row in [[(heading, "bold") for heading in headings], *cells]:
        line: list[Piece] = []
        for (text, style), heading, width in zip(row, headings, widths, strict=True):
            line += [(_fitted(text, width, flush_right=heading in right), style), _GAP]
        out.text(*line[:-1])


def _cell(value: object) -> tuple[str, str]:
    text, style = value if isinstance(value, tuple) else (value, "")
    return printable("–" if text is None else str(text)), style


def _fitted(text: str, width: int, *, flush_right: bool) -> str:
    excess = cell_len(text) - width
    if excess > 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * -excess + text if flush_right else text + " " * -excess
