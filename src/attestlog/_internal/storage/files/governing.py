"""Entries that may change the rules in force: found by their bytes, and kept together in `rules.jsonl`.

A writer must know which keys and which policy are in force without reading
the whole log. `rules.jsonl` is derived: a line that says up to which size of
the log it is complete, then the governing entries as they are stored. What it
holds is compared with the stored tree, what it lacks is searched for, and
without it all is. Nothing here decides whether an entry governs, or holds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from attestlog._internal import disk
from attestlog._internal.core.canonical import INTEGER_MAX
from attestlog._internal.core.checkpoint import SIZE_MAX
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, Hex64, decode_line
from attestlog._internal.core.hashes import hex_hash, leaf_hash
from attestlog._internal.core.reserved import may_govern
from attestlog._internal.storage.contract import Kept
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.segments import BLOCK_BYTES
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import AttestlogError


class _Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format_version: Literal[1] = 1
    sha256: Hex64
    """Of all bytes after this line: the file is not synced, and a power cut may leave half of it."""
    size: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]


def read_governing(root: Path) -> Iterator[bytes]:
    """See `LogSource.governing`. Raises StorageError."""
    tree = TreeFiles(root)
    try:
        governing = GoverningLines(root, tree.read)
        kept = governing.kept(SIZE_MAX) or Kept(0, [])
        yield from kept.lines
        yield from governing.since(kept.size, SIZE_MAX)
    finally:
        tree.close()


def format_rules_file(kept: Kept) -> bytes:
    """The bytes of `rules.jsonl`."""
    lines = b"".join(line + b"\n" for line in kept.lines)
    return msgspec.json.encode(_Header(sha256=hex_hash(lines), size=kept.size)) + b"\n" + lines


def parse_rules_file(data: bytes) -> Kept | None:
    """None for anything but what `format_rules_file` writes."""
    first, _, lines = data.partition(b"\n")
    try:
        header = msgspec.json.decode(first, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    kept = Kept(header.size, lines.splitlines())
    return kept if format_rules_file(kept) == data else None


class GoverningLines:
    """Where the store puts what may govern among the entries it takes in, and the log finds it."""

    def __init__(self, root: Path, hashes: Callable[[int, int, int], Sequence[bytes]]) -> None:
        """`hashes`: see `Store.hashes`."""
        self._root, self._hashes = root, hashes
        self._start = self._stop = 0
        self._lines: list[bytes] = []

    def take_in(self, start: int, stop: int, lines: Iterable[bytes]) -> None:
        """What may govern among the entries [start, stop), which were read."""
        if start != self._stop:
            self._start, self._lines = start, []
        self._stop = stop
        self._lines += lines

    def since(self, start: int, stop: int) -> list[bytes]:
        """What may govern among the entries [start, stop), and perhaps some lines before.

        Raises StorageError.
        """
        if self._start <= start and self._stop == stop:
            found, self._lines, self._start = self._lines, [], stop
            return found
        try:
            segments = layout.list_segments(self._root)
            # A segment is passed over if the one after it starts no later than what is wanted.
            passed = sum(first <= start for first, _ in segments[1:])
            return [line for _, path in segments[passed:] for line in _search(path)]
        except OSError as error:
            raise disk.read_error(error, self._root / layout.ENTRIES_DIR) from None

    def kept(self, size: int) -> Kept | None:
        """What `rules.jsonl` has of the first `size` entries; None if it is missing or wrong."""
        try:
            kept = parse_rules_file((self._root / layout.RULES_FILE).read_bytes())
            if kept is None or kept.size > size:
                return None
            for line in kept.lines:
                entry = decode_line(line)
                number = entry.sequence_number
                (stored,) = self._hashes(0, number, number + 1)
                if number >= kept.size or stored != leaf_hash(bytes.fromhex(entry.entry_hash)):
                    return None
        except (OSError, AttestlogError, ValueError):
            return None
        return kept

    def keep(self, kept: Kept) -> None:
        """Write `rules.jsonl`; that it cannot be written loses nothing.

        Not synced: after a power cut it is the old one, the new one, or found wrong and made again.
        """
        with contextlib.suppress(OSError):
            disk.replace_file(self._root / layout.RULES_FILE, format_rules_file(kept), durable=False)


def _search(path: Path) -> Iterator[bytes]:
    """The complete lines of a segment that may govern; whole blocks without a mark are passed over."""
    with path.open("rb", buffering=0) as file:
        rest = b""
        while block := os.read(file.fileno(), BLOCK_BYTES):
            whole, end, rest = (rest + block).rpartition(b"\n")
            if end and may_govern(whole):
                yield from filter(may_govern, whole.split(b"\n"))
            if len(rest) > LINE_SIZE_MAX_BYTES:  # no entry; its last piece will not decode either
                rest = b""
