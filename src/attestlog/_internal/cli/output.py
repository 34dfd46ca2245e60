"""Stdout carries the result and nothing else; whatever else there is to say goes to stderr.

What is shown may come from a log that an attacker wrote: no control character
of it reaches a terminal (`printable`) but as an escape. What is asked for as JSON
or as exact lines is given as it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
import typer

from attestlog._internal import disk

Piece = str | tuple[str, str]
"""Text, or (text, style); a style is a colour's name, perhaps after `bold`."""

_encoder: Final = msgspec.json.Encoder(enc_hook=str)


class Output:
    """The result of one verb, as text for people or as JSON, one object a line."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def emit(self, kind: str, members: Mapping[str, Any]) -> None:
        """One JSON object, with its `type`."""
        self.raw(_encode({"type": kind, **members}) + b"\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        sys.stdout.buffer.write(data)

    def text(self, *pieces: Piece) -> None:
        """One line of text."""
        sys.stdout.write(styled(sys.stdout, *pieces) + "\n")

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


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that becomes `path` once it is whole; a device or pipe is written to as it is."""
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    with (
        disk.replacing(path) as descriptor,
        open(descriptor, "w", encoding="utf-8", newline="", closefd=False) as file,
    ):
        yield file
