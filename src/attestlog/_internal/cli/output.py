"""Stdout carries the result and nothing else; everything else goes to stderr: notes, errors, progress bars.

The text may come from a log that an attacker wrote, so `printable` turns every
control character into an escape before a terminal sees it. JSON and exact lines
are written as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

import msgspec
import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Piece = str | tuple[str, str]
"""Text, or (text, style); a style is a colour's name, perhaps after `bold`."""

_KEPT_WIDTH: Final = 13
"""Characters that a column which shrinks keeps: enough to tell names and hashes apart."""

_GAP: Final = "  "

_DELAY_S: Final = 0.5
"""Work that is done sooner shows no bar: it would only flicker."""

_encoder: Final = msgspec.json.Encoder(enc_hook=str)


class Output:
    """The result of one verb, as text for people or as JSON, one object a line."""

    def __init__(self, as_json: bool, stream: TextIO | None = None) -> None:
        """`stream`: where text goes, if not to stdout."""
        self.as_json, self._stream = as_json, stream

    def emit(self, kind: str, members: Mapping[str, Any]) -> None:
        """One JSON object, with its `type`."""
        self.raw(_encode({"type": kind, **members}) + b"\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        sys.stdout.buffer.write(data)

    def text(self, *pieces: Piece) -> None:
        """One line of text."""
        stream = self._stream or sys.stdout
        stream.write(styled(stream, *pieces) + "\n")

    def flush(self) -> None:
        """Let the reader of a pipe have what there is."""
        sys.stdout.flush()


def _encode(value: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:  # the name of a file that is not UTF-8: JSON can only hold it as an escape
        return json.dumps(msgspec.to_builtins(value, enc_hook=str)).encode()


def styled(stream: TextIO, *pieces: Piece) -> str:
    """The pieces joined, made printable; coloured if `stream` is a terminal that wants colours."""
    coloured = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return "".join(_styled(piece, coloured) for piece in pieces)


def _styled(piece: Piece, coloured: bool) -> str:
    text, style = (piece, "") if isinstance(piece, str) else piece
    if not coloured or not style:
        return printable(text)
    *bold, colour = style.split()
    is_bold = bool(bold) or colour == "bold"
    return typer.style(printable(text), fg=colour if colour != "bold" else None, bold=is_bold or None)


def printable(text: str) -> str:
    """`text` with every control, format and unpaired character, line ends included, spelled as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def notice(message: str) -> None:
    """Something the user should know, on stderr."""
    _say("note", "yellow", message)


def hint(advice: str) -> None:
    """What the user may do, on stderr."""
    _say("hint", "cyan", advice)


def failure(code: str, message: str, advice: str | None, evidence: Mapping[str, Any]) -> None:
    """Why the command failed, on stderr, for people."""
    del code, evidence
    _say("error", "bold red", message)
    if advice:
        hint(advice)


def json_failure(code: str, message: str, advice: str | None, evidence: Mapping[str, Any]) -> None:
    """The same as one JSON object; still on stderr, because it is not the result."""
    error = {"type": "error", "code": code, "message": message, "hint": advice, **evidence}
    sys.stderr.write(_encode(error).decode() + "\n")


def _say(what: str, style: str, message: str) -> None:
    sys.stderr.write(styled(sys.stderr, "attestlog: ", (what, style), f": {message}") + "\n")


def print_table(
    out: Output,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    shrinks: str = "",
) -> None:
    """A table as text. A cell is text, or (text, style); None shows as a dash.

    Columns named in `right` are flushed right. In a terminal that is too narrow, column `shrinks` is cut;
    a file or a pipe gets every cell whole.
    """
    from rich.cells import cell_len

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
    from rich.cells import cell_len, set_cell_size

    excess = cell_len(text) - width
    if excess > 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * -excess + text if flush_right else text + " " * -excess


class Bar:
    """A progress bar on stderr: call it with (done, total) inside `with`; it leaves nothing behind.

    It is drawn only where stderr is a terminal, and only once the work takes long.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = time.monotonic()
        self._wanted = sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if not self._wanted or time.monotonic() - self._begun < _DELAY_S:
            return
        if self._progress is None:
            if done >= total:
                return
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._title, total=total)
            self._progress.start()
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
