"""Whether an entry id is used twice in a log.

A log draws ids at random, so that an honest writer repeats one only if its process went back in time (a
machine resumed from an older image). What depends on a repeated id may mean either entry.

Memory is bounded and the work linear: 16 bytes an id are kept up to `KEPT_MAX` ids, then put into a private
temporary file in `PARTS` parts, of which one at a time is looked through. Which part an id is in nobody can
choose: Python's hash of bytes is keyed anew in each process. What cannot be looked for is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import iter_unpack
from typing import IO, Final

from attestlog._internal.core.report import Finding
from attestlog._internal.judging.findings import finding

ID_SIZE_BYTES: Final = 16

KEPT_MAX: Final = 1 << 17
"""Ids in memory: 2 MiB, and 13 MB once they are compared."""

IDS_MAX: Final = 20_000_000
"""Ids compared: 480 MB of temporary file, and 30 MB of memory at the end. Later entries are not looked at."""

PARTS: Final = 64

_END: Final = 2
"""`whence` of `seek`."""


class EntryIds:
    """Takes the ids of entries in the log's order; says at the end which one was there before."""

    def __init__(self, first: int = 0, spill: Callable[[], IO[bytes]] | None = None) -> None:
        """`first`: sequence number of the first entry whose id is added. Earlier ones are not known.

        `spill`: makes the temporary file, unbuffered. Without it no more than `KEPT_MAX` are compared.
        """
        self._first = self._kept_from = first
        self._kept = bytearray()
        self._ranges: list[list[tuple[int, int]]] = [[] for _ in range(PARTS)]
        """For each part, (offset, size) of its pieces in the file."""
        self._file: IO[bytes] | None = None
        self._make_file = spill
        self._stop = first
        """The number after the last id added."""
        self._unread: tuple[int, str] | None = None
        """The first entry whose id is not compared, and why."""

    def add(self, ids: bytes, entries: int) -> None:
        """The ids of the next entries, 16 bytes each."""
        start, self._stop = self._stop, self._stop + entries
        if self._unread is not None:
            return
        if len(ids) != entries * ID_SIZE_BYTES:
            self._unread = start, "they were not given"
            return
        room = self._first + IDS_MAX - start
        if entries > room:
            self._unread = start + room, f"{IDS_MAX} are"
        self._kept += ids[: room * ID_SIZE_BYTES]
        if len(self._kept) > KEPT_MAX * ID_SIZE_BYTES:
            self._spill()

    def settle(self) -> Iterator[Finding]:
        """What was found of all that was added."""
        first, count, entry_id = self._stop, 0, b""
        for number, repeated in self._repeated():
            count += 1
            if number < first:
                first, entry_id = number, repeated
        if count:
            found = _text(entry_id)
            what = f"its entry_id {found} is that of an earlier entry"
            what += f"; so it is in {count} entries, of which this is the first" if count > 1 else ""
            yield finding("entry.id_repeated", what, first, found=found)
        if self._unread is not None:
            number, why = self._unread
            what = f"whether entry ids are used twice was not looked for from this entry on: {why}"
            yield finding("entry.ids_unread", what, number)

    def close(self) -> None:
        """Give back the temporary file."""
        if self._file is not None:
            self._file.close()

    def _repeated(self) -> Iterator[tuple[int, bytes]]:
        if self._file is None:
            ids = [found for (found,) in iter_unpack("16s", self._kept)]
            if len(set(ids)) == len(ids):
                return
            records = ((entry_id, number) for number, entry_id in enumerate(ids, self._first))
            yield from _find_repeated(records, set())
            return
        self._spill()
        for ranges in self._ranges:
            seen: set[bytes] = set()
            for offset, size in ranges:
                try:
                    self._file.seek(offset)
                    data = self._file.read(size)
                    if len(data) != size:
                        raise OSError("it was cut")
                except OSError as error:
                    self._unread = self._first, f"the temporary file cannot be read: {error}"
                    return
                yield from _find_repeated(iter_unpack("<16sQ", data), seen)

    def _spill(self) -> None:
        """Put what is kept into the file."""
        parts = [bytearray() for _ in range(PARTS)]
        for number, (entry_id,) in enumerate(iter_unpack("16s", self._kept), self._kept_from):
            parts[hash(entry_id) % PARTS] += entry_id + number.to_bytes(8, "little")
        try:
            if self._file is None and self._make_file is not None:
                self._file = self._make_file()
            for part, ranges in zip(parts, self._ranges, strict=True):
                self._write(part, ranges)
        except OSError as error:
            if self._unread is None or self._unread[0] > self._kept_from:
                self._unread = self._kept_from, f"a temporary file does not take them: {error}"
        self._kept_from += len(self._kept) // ID_SIZE_BYTES
        self._kept.clear()

    def _write(self, part: bytearray, ranges: list[tuple[int, int]]) -> None:
        if self._file is None:
            raise OSError("there is none")
        offset = self._file.seek(0, _END)
        if self._file.write(part) != len(part):
            raise OSError("no space left")
        ranges.append((offset, len(part)))


def _find_repeated(records: Iterator[tuple[bytes, int]], seen: set[bytes]) -> Iterator[tuple[int, bytes]]:
    for entry_id, number in records:
        if entry_id in seen:
            yield number, entry_id
        seen.add(entry_id)


def _text(entry_id: bytes) -> str:
    digits = entry_id.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
