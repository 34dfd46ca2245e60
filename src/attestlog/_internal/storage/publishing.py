"""Publishing a log: its latest checkpoint and every tile and entry bundle that it needs, as static files.

    published = publish_log("audit", "public")

Needs no key and no lock of the log: below a checkpoint nothing changes any
more. Nothing is written that does not lead to the checkpoint's root: the log's
stored tree is held against it tile by tile, and each entry's hash against its
leaf. Only hashes are published, never what an entry says.

What is done again after a crash is what the published checkpoint does not
cover; see `published_folder` and `objects.published` for what each step leaves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint
from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import TILE_HEIGHT, TILE_WIDTH, prove_root
from attestlog._internal.core.report import Progress
from attestlog._internal.core.tiles import (
    Bundle,
    Tile,
    TrustedTiles,
    encode_bundle,
    encode_tile,
    format_path,
    parse_path,
    plan_tiles,
)
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.published_folder import SYNC_THREADS, open_folder
from attestlog._internal.storage.publishing_target import Target
from attestlog._internal.storage.resolve import LogName, is_url, open_source
from attestlog._internal.storage.superseded import Superseded
from attestlog.errors import ConsistencyError, CorruptError, ExistsError, MalformedTileError, NotFoundError

_MARK: Final = b'"entry_hash":"'
_HEX: Final = 64


class Published(Struct, frozen=True, kw_only=True):
    """What a run of `publish_log` came to."""

    path: str
    origin: str
    size: int
    """Entries that the published checkpoint covers."""
    root: str
    """Hex."""
    old_size: int
    """Entries that the one before covered."""
    written: int
    """Files written, the checkpoint apart."""
    found: int
    """Files that were there already, byte for byte."""


class Publishing:
    """A place that a log is published to, again and again. Use `open_publishing`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._superseded: Superseded | None = None

    @property
    def where(self) -> str:
        """A path or URL."""
        return self._target.where

    def publish(
        self,
        log: LogName | LogSource,
        *,
        note: bytes | None = None,
        whole: bool = False,
        progress: Progress | None = None,
    ) -> Published:
        """Publish this checkpoint of the log, by default the latest: see `publish_log`."""
        source, target = open_source(log), self._target
        genesis, note = source.genesis(), note or source.checkpoint()
        if note is None:
            raise CorruptError(f"{source.where} has no checkpoint", path=source.where, repair="checkpoint")
        checkpoint = open_log_checkpoint(note, genesis)
        written, found = target.written, target.found
        trusted = TrustedTiles(checkpoint.size, checkpoint.root, partial(_tile, source))
        before = target.checkpoint()
        old = _continued(before, genesis, checkpoint, trusted)
        _add_files(target, source, trusted, 0 if whole else old, progress or (lambda _done, _total: None))
        target.settle()
        if before != note:
            target.replace_checkpoint(note)
        if self._superseded is not None:
            self._superseded.add(old, checkpoint.size, time.time())
        return Published(
            path=target.where, origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(),
            old_size=old, written=target.written - written, found=target.found - found,
        )  # fmt: skip

    def remove_superseded(self, size: int, after_s: float) -> int:
        """Remove partial files whose full one has been published for `after_s` seconds; how many went.

        `size`: what the published checkpoint covers. The first call lists all there is, later ones nothing.
        Raises StorageError.
        """
        if self._superseded is None:
            self._superseded = Superseded(self._target, size)
        return self._superseded.remove(time.time() - after_s)


def publish_log(
    log: LogName | LogSource,
    where: str | os.PathLike[str],
    *,
    whole: bool = False,
    remove_partials_after_s: float | None = None,
    threads: int = SYNC_THREADS,
    progress: Progress | None = None,
) -> Published:
    """Publish the log's latest checkpoint: what is new since the last time, the checkpoint last.

    `where`: a folder, or `s3://BUCKET/PREFIX`. `whole`: look at every file again, and write those that are
    missing. `remove_partials_after_s`: remove partial files whose full one is published for so many seconds;
    None: they stay. `progress` is called with (entries done, entries in all).

    Raises ConsistencyError if what is published contradicts the log, or a file there differs;
    HashMismatchError or CorruptError if the log's tree and entries do not lead to its checkpoint; what
    opening a checkpoint raises; ConflictError if another publisher was faster; MalformedConfigError and
    MissingExtraError for a URL; StorageError. Then the old checkpoint is still the published one.
    """
    source = open_source(log)
    with open_publishing(where, threads=threads) as publishing:
        done = publishing.publish(source, whole=whole, progress=progress)
        if remove_partials_after_s is not None:
            publishing.remove_superseded(done.size, remove_partials_after_s)
        return done


@contextmanager
def open_publishing(where: str | os.PathLike[str], *, threads: int = SYNC_THREADS) -> Iterator[Publishing]:
    """The place at a path or URL. Raises ExistsError if it is a log, and as `publish_log`."""
    if is_url(where):
        from attestlog._internal.storage.objects.published import open_published_bucket

        with open_published_bucket(os.fspath(where)) as bucket:
            yield Publishing(bucket)
        return
    root = Path(where).absolute()
    if layout.is_log(root):
        raise ExistsError(
            f"{root} is a log: publishing into it would mix the two", path=str(root), what="published"
        )
    with open_folder(root, threads=threads) as folder:
        yield Publishing(folder)


def _tile(source: LogSource, tile: Tile) -> bytes:
    first = tile.index * TILE_WIDTH
    return b"".join(source.hashes(tile.level, first, first + tile.width))


def _continued(before: bytes | None, genesis: Genesis, checkpoint: Checkpoint, trusted: TrustedTiles) -> int:
    """The size published before. Raises ConsistencyError unless it is a prefix of what is to be published."""
    if before is None:
        return 0
    old = open_log_checkpoint(before, genesis)
    if old.size > checkpoint.size:
        raise ConsistencyError(
            f"{old.size} entries are published, the log's checkpoint covers {checkpoint.size}",
            expected=old.size, found=checkpoint.size,
        )  # fmt: skip
    found = prove_root(old.size, trusted.hashes)
    if found != old.root:
        raise ConsistencyError(
            f"the {old.size} entries that are published are no prefix of the log",
            expected=old.root.hex(), found=found.hex(),
        )  # fmt: skip
    return old.size


def _add_files(
    published: Target, source: LogSource, trusted: TrustedTiles, old: int, progress: Progress
) -> None:
    """Every tile and bundle at the checkpoint's size that there was not at `old`."""
    size = trusted.size
    start = old // TILE_WIDTH * TILE_WIDTH
    lines = source.lines(start, size)
    for tile in plan_tiles(old, size):
        hashes = trusted.tile(tile.level, tile.index)
        published.add(format_path(tile), encode_tile(hashes))
        if tile.level == 0:
            first = tile.index * TILE_WIDTH
            entry_hashes = _entry_hashes(list(islice(lines, tile.width)), hashes, first)
            published.add(format_path(Bundle(tile.index, tile.width)), encode_bundle(entry_hashes))
            progress(first + tile.width - start, size - start)


class _Hashed(Struct):
    entry_hash: str


_decoder: Final = msgspec.json.Decoder(_Hashed)


def _entry_hashes(lines: Sequence[bytes], leaves: Sequence[bytes], first: int) -> list[bytes]:
    """The entry_hash of each line, held against the leaf it must have; `first` is the first one's number."""
    found = _found(lines)
    if list(map(leaf_hash, found)) != leaves:
        # The first such text in a line may stand in its payload.
        found = list(map(_decoded, lines))
        for number, leaf in enumerate(leaves, first):
            if number - first >= len(found) or leaf_hash(found[number - first]) != leaf:
                raise CorruptError(
                    f"entry {number} is not the one in the stored tree", sequence_number=number, repair="tree"
                )
    return found


def read_published(source: LogSource, path: str) -> bytes:
    """The file that a published log has at this path, of one whose tree and entries are at hand.

    As far as the stored checkpoint covers it. Raises NotFoundError, CorruptError, MalformedCheckpointError.
    """
    try:
        place = parse_path(path)
    except MalformedTileError as error:
        raise NotFoundError(str(error)) from None
    note = source.checkpoint()
    size = 0 if note is None else open_log_checkpoint(note, source.genesis()).size
    first = place.index * TILE_WIDTH
    level = place.level if isinstance(place, Tile) else 0
    if first + place.width > size >> (TILE_HEIGHT * level):
        raise NotFoundError(f"{path} is not covered by the checkpoint")
    hashes = source.hashes(level, first, first + place.width)
    if isinstance(place, Tile):
        return encode_tile(hashes)
    lines = list(source.lines(first, first + place.width))
    return encode_bundle(_entry_hashes(lines, hashes, first))


def _found(lines: Sequence[bytes]) -> list[bytes]:
    """What the first text in each line that looks like it says: decoding is four times the work."""
    places = [line.find(_MARK) + len(_MARK) for line in lines]
    texts = [line[at : at + _HEX] for line, at in zip(lines, places, strict=True)]
    try:
        data = bytes.fromhex(b"".join(texts).decode())
    except ValueError:
        return []
    return [data[at : at + HASH_SIZE_BYTES] for at in range(0, len(data), HASH_SIZE_BYTES)]


def _decoded(line: bytes) -> bytes:
    try:
        return bytes.fromhex(_decoder.decode(line).entry_hash)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return b""
