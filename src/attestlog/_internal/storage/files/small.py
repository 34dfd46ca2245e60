"""The small readings of a log's directory: log.toml, the first line, the checkpoint."""

from __future__ import annotations

from pathlib import Path

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint
from attestlog._internal.storage.files import layout
from attestlog.errors import AttestlogError, CorruptError


def first_line(root: Path) -> bytes:
    """Entry 0, without its line end. Raises StorageError."""
    path = root / layout.ENTRIES_DIR / layout.segment_name(0)
    try:
        with path.open("rb") as file:
            return file.readline(LINE_SIZE_MAX_BYTES).removesuffix(b"\n")
    except OSError as error:
        raise disk.storage_error(error, path, "reading") from None


def open_stored_checkpoint(root: Path, data: bytes | None, genesis: Genesis) -> Checkpoint | None:
    """The checkpoint in these bytes, verified. Raises CorruptError if it is not this log's."""
    if data is None:
        return None
    path = root / layout.CHECKPOINT_FILE
    try:
        return open_log_checkpoint(data, genesis)
    except AttestlogError as error:
        raise CorruptError(f"{path} is damaged: {error}", path=str(path), repair="checkpoint") from None
