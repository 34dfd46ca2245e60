"""A log on disk that grows while it is read, as under a live writer, but by the core alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.logs import LogMaker

from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.storage.files.layout import ENTRIES_DIR


class GrowingLog(LogMaker):
    """A LogMaker whose every line is in its segment file at once; nothing but segment files is made."""

    def __init__(self, root: Path, **members: Any) -> None:
        (root / ENTRIES_DIR).mkdir(parents=True)
        super().__init__(root, **members)

    def append_at(self, moment_us: int, *drafts: dict[str, Any]) -> None:
        self.now_us = moment_us
        self.append(*drafts)

    def path_of(self, number: int) -> Path:
        """The segment file that entry `number` belongs in."""
        width = self.settings.segment_entries
        return self.segment(number // width * width)

    def write_raw(self, data: bytes, number: int | None = None) -> None:
        """Bytes at the end of the segment of entry `number`, or of the last entry."""
        with self.path_of(self.head.size - 1 if number is None else number).open("ab") as file:
            file.write(data)

    def stored_lines(self) -> list[bytes]:
        """Read back without the reader."""
        paths = sorted((self.root / ENTRIES_DIR).glob("*.jsonl"))
        return [line for path in paths for line in path.read_bytes().splitlines()]

    def _append(self, drafts: Sequence[EntryDraft], *, batched: bool) -> None:
        start = len(self.lines)
        super()._append(drafts, batched=batched)
        for number, line in enumerate(self.lines[start:], start):
            self.write_raw(line + b"\n", number)
