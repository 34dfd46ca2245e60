"""What this user signed last of a log, and committed last: so nothing shorter or other is signed after it.

The log's directory cannot say this: who can write there can put back an older copy of all of it. So it
stands in the state directory (see `places`), one file for each genesis hash:

    <state directory>/signed/<genesis hash>

    block 0 to 3   attestlog/last-signed/v1, origin, genesis hash, checkpoint key: a line each; never changed
    block 4, 5     `checkpoint <size> <root>`: of the checkpoint signed last, and of the one before
    block 6        `head <size> <entry_hash>`: of the last commit

A block has 512 bytes: a line of text, spaces and a line end. Records have a checksum at the end of the
line. Whoever writes one holds the log's lock, and writes it in its place: other processes of the user
have the file open, too. A checkpoint is written over the older of the two, and is durable before its
signature is asked for. The head is not flushed until then: what a loss of power takes of it, or tears,
counts as the last checkpoint. It is written after the commit is durable, so it is never ahead.

Specified in docs/spec/last_signed.md.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from attestlog._internal import disk
from attestlog.errors import BusyError, ExistsError, StateError

FOLDER: Final = "signed"
MAGIC: Final = "attestlog/last-signed/v1"

LOCK_WAIT_S: Final = 5.0
"""Whoever makes such a file holds the lock of its folder for the writing of one file."""

_BLOCK_BYTES: Final = 512
"""A sector: what a disk writes whole or not at all."""

_HEADER_BLOCKS: Final = 4
_CHECKPOINT_BLOCKS: Final = (_HEADER_BLOCKS, _HEADER_BLOCKS + 1)
_HEAD_BLOCK: Final = _HEADER_BLOCKS + 2
_SIZE_BYTES: Final = (_HEAD_BLOCK + 1) * _BLOCK_BYTES

_CHECKSUM_CHARACTERS: Final = 16
"""Of SHA-256, in hexadecimal: against torn and stray bytes. Who can write the file can write this, too."""

_NAME: Final = re.compile(r"[0-9a-f]{64}")
_RECORD: Final = re.compile(r"(checkpoint|head) (0|[1-9][0-9]{0,15}) ([0-9a-f]{64}) ([0-9a-f]{16})")


class Signed(NamedTuple):
    """The first entries of a log, and what tells them from others: their root, or the last one's hash."""

    size: int
    hash: str
    """Lower-case hex."""


class Names(NamedTuple):
    """Which log, and which key signs its checkpoints."""

    origin: str
    genesis: str
    key: str
    """The vkey of the Ed25519 checkpoint key."""


class LastSigned:
    """One log's file, open. Use it under the log's lock: `find` and `make` open it."""

    def __init__(self, path: Path, descriptor: int, names: Names) -> None:
        self.path, self.names = path, names
        self._descriptor, self._begun = descriptor, _checksum_begun(names.genesis)
        self.checkpoint, self._newer = Signed(0, ""), 0
        self.head: Signed | None = None
        """None where it was torn: then nothing is known beyond the checkpoint."""
        self.reread()

    def reread(self) -> None:
        """Take in what other processes of this user wrote. Raises StateError."""
        if self._descriptor < 0:
            self._open_again()
        data = os.pread(self._descriptor, _SIZE_BYTES, 0)
        found = [self._read_record(data, block, "checkpoint") for block in _CHECKPOINT_BLOCKS]
        whole = [(record, place) for place, record in enumerate(found) if record is not None]
        if not whole:
            raise StateError(f"{self.path} is damaged: it has no checkpoint", path=str(self.path))
        self.checkpoint, self._newer = max(whole)
        head = self._read_record(data, _HEAD_BLOCK, "head")
        self.head = head if head is not None and head.size >= self.checkpoint.size else None

    @property
    def acknowledged(self) -> int:
        """How many entries were acknowledged for certain."""
        return max(self.checkpoint.size, self.head.size if self.head is not None else 0)

    def sign(self, size: int, root: bytes, head: Signed) -> None:
        """Keep that a checkpoint of this size and root is about to be signed, durably, and the head with it.

        Raises StorageError: then it MUST NOT be signed.
        """
        new = Signed(size, root.hex())
        if self._descriptor < 0:
            self._open_again()
        place = 1 - self._newer if new != self.checkpoint else self._newer
        try:
            # A crash in here tears the older of the two at the most.
            self._write(_CHECKPOINT_BLOCKS[place], "checkpoint", new)
            self.commit(head)
            os.fdatasync(self._descriptor)
        except OSError as error:
            # The kernel may take pages for clean that never reached the disk: they are written again.
            self.close()
            raise disk.storage_error(error, self.path, "writing") from None
        self.checkpoint, self._newer = new, place

    def commit(self, head: Signed) -> None:
        """Keep that these entries are durable; it is not flushed, and never lowered. Raises OSError."""
        if self._descriptor < 0:
            return  # with the next checkpoint, or not at all
        if self.head is None or head.size > self.head.size:
            self._write(_HEAD_BLOCK, "head", head)
            self.head = head

    def _open_again(self) -> None:
        again = find(self.path.parent.parent, self.names.genesis)
        if again is None:
            raise StateError(f"{self.path} is gone", path=str(self.path))
        self._descriptor, self.checkpoint, self._newer = again._descriptor, again.checkpoint, again._newer
        self.head = None

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, block: int, kind: str, record: Signed) -> None:
        disk.pwrite_all(self._descriptor, _spell_record(kind, record, self._begun), block * _BLOCK_BYTES)

    def _read_record(self, data: bytes, block: int, kind: str) -> Signed | None:
        """None where it was never written, or torn."""
        raw = data[block * _BLOCK_BYTES : (block + 1) * _BLOCK_BYTES]
        match = _RECORD.fullmatch(raw.rstrip(b" \n").decode("ascii", "replace"))
        if match is None or match[1] != kind:
            return None
        record = Signed(int(match[2]), match[3])
        return record if raw == _spell_record(kind, record, self._begun) else None


def find(state_dir: Path, genesis: str, *, writable: bool = True) -> LastSigned | None:
    """The file of this log; None where there is none.

    Raises StateError for one that cannot be used: it is never taken for none.
    """
    path = state_dir / FOLDER / genesis
    try:
        descriptor = _open(path, writable=writable)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        what = "is a link" if is_link else f"cannot be opened: {error.strerror or error}"
        raise StateError(f"{path} {what}", path=str(path), errno=error.errno) from None
    try:
        names = _parse_header(os.pread(descriptor, _HEADER_BLOCKS * _BLOCK_BYTES, 0), path)
        if names.genesis != genesis:
            raise StateError(f"{path} is of the log {names.genesis}", path=str(path))
        return LastSigned(path, descriptor, names)
    except BaseException:
        os.close(descriptor)
        raise


def make(
    state_dir: Path, names: Names, checkpoint: Signed, head: Signed | None, *, is_new_log: bool = False
) -> LastSigned:
    """Begin the file of a log, durably. Raises StorageError: then there is none.

    ExistsError where there is one already; and for a new log, where another log has its origin and
    checkpoint key together: the two would be two histories of one log.
    """
    folder = state_dir / FOLDER
    path = folder / names.genesis
    records = {_CHECKPOINT_BLOCKS[0]: _format_record("checkpoint", checkpoint, names.genesis)}
    if head is not None:
        records[_HEAD_BLOCK] = _format_record("head", head, names.genesis)
    empty = _pad("")
    blocks = [records.get(block, empty) for block in range(_HEADER_BLOCKS, _HEAD_BLOCK + 1)]
    with _exclusive(folder):
        if path.is_symlink() or path.exists():
            raise ExistsError(f"{path} is there already", path=str(path), what="state")
        if is_new_log:
            _check_apart(state_dir, names)
        try:
            # A crash in here leaves the whole file or none.
            disk.replace_file(path, _format_header(names) + b"".join(blocks), 0o600)
        except OSError as error:
            raise disk.storage_error(error, path, "writing") from None
    made = find(state_dir, names.genesis)
    assert made is not None
    return made


def forget(state_dir: Path, genesis: str) -> bool:
    """Remove the file of a log; whether there was one. Raises StorageError."""
    path = state_dir / FOLDER / genesis
    if not _NAME.fullmatch(genesis):
        return False
    try:
        path.unlink()
        disk.fsync_directory(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise disk.storage_error(error, path, "removing") from None
    return True


def list_signed(state_dir: Path) -> Iterator[LastSigned | StateError]:
    """Every file, open only while it is looked at; what cannot be used as the reason why."""
    folder = state_dir / FOLDER
    try:
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise disk.read_error(error, folder) from None
    for name in names:
        try:
            found = find(state_dir, name, writable=False)
        except StateError as error:
            yield error
            continue
        if found is not None:
            found.close()
            yield found


def _check_apart(state_dir: Path, names: Names) -> None:
    for other in list_signed(state_dir):
        if isinstance(other, StateError):
            raise other
        if (other.names.origin, other.names.key) == (names.origin, names.key):
            raise ExistsError(
                f"the checkpoint key of {names.origin} signs another log of that name,"
                f" whose genesis hash is {other.names.genesis}",
                path=str(other.path), what="checkpoint_key",
            )  # fmt: skip


def _open(path: Path, *, writable: bool) -> int:
    flags = os.O_RDWR if writable else os.O_RDONLY
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        what = ""
        if not stat.S_ISREG(status.st_mode):
            what = "is not a regular file"
        elif status.st_uid not in {os.geteuid(), 0}:
            what = "belongs to another user"
        elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            what = f"has mode {stat.S_IMODE(status.st_mode):04o}: others can write it"
        if what:
            raise StateError(f"{path} {what}", path=str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _format_header(names: Names) -> bytes:
    text = "\n".join([MAGIC, *names])
    return _pad(text, _HEADER_BLOCKS)


def _parse_header(data: bytes, path: Path) -> Names:
    lines = data.decode("utf-8", "replace").rstrip(" \n").split("\n")
    if len(lines) != 1 + len(Names._fields) or _format_header(names := Names(*lines[1:])) != data:
        raise StateError(f"{path} does not begin as {MAGIC} does", path=str(path))
    return names


def _format_record(kind: str, record: Signed, genesis: str) -> bytes:
    return _spell_record(kind, record, _checksum_begun(genesis))


def _checksum_begun(genesis: str) -> Any:
    """The hash of what each record of a log's file begins with."""
    return sha256(f"{MAGIC}\n{genesis}\n".encode())


def _spell_record(kind: str, record: Signed, begun: Any) -> bytes:
    text = f"{kind} {record.size} {record.hash}"
    checksum = begun.copy()
    checksum.update(text.encode())
    return f"{text} {checksum.hexdigest()[:_CHECKSUM_CHARACTERS]:<{_BLOCK_BYTES - 2 - len(text)}}\n".encode()


def _pad(text: str, blocks: int = 1) -> bytes:
    data = text.encode()
    size = blocks * _BLOCK_BYTES - 1
    assert len(data) <= size, "an origin has 255 bytes at the most"
    return data.ljust(size) + b"\n"


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    try:
        disk.make_directories(folder, 0o700)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise disk.storage_error(error, folder, "writing") from None
    try:
        if not disk.lock(descriptor, timeout_s=LOCK_WAIT_S):
            raise BusyError(f"{folder} has been locked for {LOCK_WAIT_S:g} s", path=str(folder))
        yield
    finally:
        os.close(descriptor)
