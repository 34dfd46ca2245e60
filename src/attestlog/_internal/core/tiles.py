"""Tiles: C2SP tlog-tiles v0.1.0. A tree as files that never change, which any web server can hand out.

    tile/<level>/<index>[.p/<width>]       256 hashes (fewer in a partial tile), 32 bytes each
    tile/entries/<index>[.p/<width>]       256 entries (fewer in a partial bundle): u16 length || entry

An entry of ours is the 32-byte entry_hash and nothing of its content. Hash i
of a tile stands for the subtree of 256^level leaves at index·256 + i; it is
there only once that subtree is complete, so no partial tile is hashed upward.

`TrustedTiles` holds what is read against a checkpoint's root before anyone
else sees it. It reads nothing itself: where tiles come from is for its caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from attestlog._internal.core.checkpoint import SIZE_MAX
from attestlog._internal.core.hashes import EMPTY_ROOT, HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import TILE_HEIGHT, TILE_WIDTH, Span, edge_from_stored, stored_ranges
from attestlog.errors import HashMismatchError, MalformedTileError

LEVEL_MAX: Final = 63
"""As the format; a tree of SIZE_MAX leaves ends at level 7."""

INDEX_MAX: Final = SIZE_MAX >> TILE_HEIGHT
"""The last tile that a tree of SIZE_MAX leaves can have, at level 0."""

TILE_SIZE_BYTES: Final = TILE_WIDTH * HASH_SIZE_BYTES

TILES_KEPT_MAX: Final = 64
"""Trusted tiles kept, those used last, about 1 MB: reading in order needs one a level."""

_LENGTH: Final = HASH_SIZE_BYTES.to_bytes(2, "big")
_ENTRY_SIZE_BYTES: Final = len(_LENGTH) + HASH_SIZE_BYTES
BUNDLE_SIZE_BYTES: Final = TILE_WIDTH * _ENTRY_SIZE_BYTES

_PATH: Final = re.compile(
    r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile's place. Where hashes are read by level, `level` is that of the stored tree."""

    level: int
    index: int
    width: int = TILE_WIDTH


@dataclass(frozen=True, slots=True)
class Bundle:
    """An entry bundle's place."""

    index: int
    width: int = TILE_WIDTH


Fetch = Callable[[Tile], bytes]
"""Reads a tile: as many bytes as its width calls for, or what is refused as malformed."""


# --- paths ---


def format_path(place: Tile | Bundle) -> str:
    """The path below the log's prefix."""
    kind = str(place.level) if isinstance(place, Tile) else "entries"
    groups = [f"{place.index % 1000:03d}"]
    rest = place.index // 1000
    while rest:
        groups.append(f"x{rest % 1000:03d}")
        rest //= 1000
    partial = f".p/{place.width}" if place.width != TILE_WIDTH else ""
    return f"tile/{kind}/{'/'.join(reversed(groups))}{partial}"


def parse_path(path: str) -> Tile | Bundle:
    """Raises MalformedTileError unless `path` is that of a tile or bundle in its one spelling."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedTileError(f"{path[:200]!r} is no path of a tile or an entry bundle")
    kind, groups, partial = match.groups()
    index = int(groups.replace("x", "").replace("/", "")) if len(groups) < 64 else INDEX_MAX + 1
    width = int(partial) if partial else TILE_WIDTH
    place = Bundle(index, width) if kind == "entries" else Tile(int(kind), index, width)
    level = place.level if isinstance(place, Tile) else 0
    is_within = level <= LEVEL_MAX and index <= INDEX_MAX and not (partial and width >= TILE_WIDTH)
    if not is_within or format_path(place) != path:
        raise MalformedTileError(
            f"{path[:200]!r} is no path of a tile or an entry bundle in its one spelling"
        )
    return place


# --- content ---


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """One to 256 hashes, one after the other."""
    return b"".join(hashes)


def decode_tile(data: bytes, width: int) -> list[bytes]:
    """The hashes. Raises MalformedTileError unless there are `width` of them, to the byte."""
    want = _checked(width) * HASH_SIZE_BYTES
    if len(data) != want:
        raise MalformedTileError(
            f"tile has {len(data)} bytes, {width} hashes have {want}", expected=want, found=len(data)
        )
    return [data[at : at + HASH_SIZE_BYTES] for at in range(0, want, HASH_SIZE_BYTES)]


def encode_bundle(entry_hashes: Sequence[bytes]) -> bytes:
    """One to 256 entry_hashes of 32 bytes, each after its length."""
    return b"".join([_LENGTH + entry_hash for entry_hash in entry_hashes])


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entry_hashes. Raises MalformedTileError unless there are `width` of them, 32 bytes each."""
    want = _checked(width) * _ENTRY_SIZE_BYTES
    if len(data) != want:
        raise MalformedTileError(
            f"entry bundle has {len(data)} bytes, {width} entry hashes have {want}",
            expected=want, found=len(data),
        )  # fmt: skip
    found = []
    for at in range(0, want, _ENTRY_SIZE_BYTES):
        if data[at : at + 2] != _LENGTH:
            length = int.from_bytes(data[at : at + 2], "big")
            raise MalformedTileError(f"entry bundle holds an entry of {length} bytes, want {HASH_SIZE_BYTES}")
        found.append(data[at + 2 : at + _ENTRY_SIZE_BYTES])
    return found


def verify_bundle(entry_hashes: Sequence[bytes], leaves: Sequence[bytes], start: int) -> None:
    """Raises HashMismatchError unless these are the entries under these leaf hashes, `start` the first."""
    for number, (entry_hash, leaf) in enumerate(zip(entry_hashes, leaves, strict=True), start):
        if leaf_hash(entry_hash) != leaf:
            raise HashMismatchError(
                f"the bundle's entry {number} is not the one in the tree",
                sequence_number=number, expected=leaf.hex(), found=leaf_hash(entry_hash).hex(),
            )  # fmt: skip


def _checked(width: int) -> int:
    if not 1 <= width <= TILE_WIDTH:
        raise MalformedTileError(f"width is {width}, want 1 to {TILE_WIDTH}")
    return width


# --- which tiles there are ---


def tile_width(level: int, index: int, size: int) -> int:
    """How many hashes tile (level, index) has in a tree of `size`: 0 where there is no such tile."""
    hashes = size >> TILE_HEIGHT * level
    return max(0, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def plan_tiles(old: int, size: int) -> Iterator[Tile]:
    """The tiles at `size` that there were not at `old`, highest level first, each level from the left."""
    for level in reversed(range(_levels(size))):
        before, after = (count >> TILE_HEIGHT * level for count in (old, size))
        if after > before:
            for index in range(before >> TILE_HEIGHT, (after - 1 >> TILE_HEIGHT) + 1):
                yield Tile(level, index, tile_width(level, index, size))


def _levels(size: int) -> int:
    """How many levels have a tile."""
    return -(-size.bit_length() // TILE_HEIGHT)


# --- tiles held against a checkpoint ---


class TrustedTiles:
    """The tiles of the tree with this size and root; any other is refused before it is seen."""

    def __init__(self, size: int, root: bytes, fetch: Fetch) -> None:
        self.size = size
        self._root, self._fetch = root, fetch
        self._edge: dict[int, list[bytes]] | None = None
        self._kept: dict[tuple[int, int], list[bytes]] = {}

    def tile(self, level: int, index: int) -> list[bytes]:
        """The hashes of one tile.

        Raises HashMismatchError if it does not lead to the root, MalformedTileError, and what `fetch` does.
        """
        edge = self.edge()
        width = tile_width(level, index, self.size)
        if width < TILE_WIDTH:
            if not width:
                raise IndexError(f"a tree of {self.size} has no tile {level}/{index}")
            return edge[level]
        # Upwards until a tile that is trusted already, then down again: each is held against its parent.
        missing: list[Tile] = []
        while (level, index) not in self._kept and tile_width(level, index, self.size) == TILE_WIDTH:
            missing.append(Tile(level, index))
            level, index = level + 1, index >> TILE_HEIGHT
        above = self._kept.pop((level, index), None)
        if above is None:
            above = edge[level]
        else:
            self._kept[level, index] = above  # the last to be dropped again
        for tile in reversed(missing):
            above = self._descend(tile, above[tile.index % TILE_WIDTH])
        return above

    def hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        """Stored hashes [start, stop) of one tile: what proofs are made from (`merkle.Hashes`)."""
        index = start >> TILE_HEIGHT
        first = index * TILE_WIDTH
        return self.tile(level, index)[start - first : stop - first]

    def edge(self) -> dict[int, list[bytes]]:
        """The partial tiles, by level: together they are the tree's right edge, and lead to its root.

        Raises as `tile`.
        """
        if self._edge is None:
            edge: dict[int, list[bytes]] = {}
            for level in range(_levels(self.size)):
                index = self.size >> TILE_HEIGHT * (level + 1)
                if width := tile_width(level, index, self.size):
                    edge[level] = decode_tile(self._fetch(Tile(level, index, width)), width)
            found = _edge_root(self.size, edge)
            if found != self._root:
                raise HashMismatchError(
                    f"the tiles at the right edge do not lead to the root at {self.size}",
                    expected=self._root.hex(), found=found.hex(),
                )  # fmt: skip
            self._edge = edge
        return self._edge

    def _descend(self, tile: Tile, want: bytes) -> list[bytes]:
        hashes = decode_tile(self._fetch(tile), TILE_WIDTH)
        found = Span().extended(hashes).root()
        if found != want:
            raise HashMismatchError(
                f"{format_path(tile)} does not lead to the root at {self.size}",
                path=format_path(tile), expected=want.hex(), found=found.hex(),
            )  # fmt: skip
        while len(self._kept) >= TILES_KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[tile.level, tile.index] = hashes
        return hashes


def _edge_root(size: int, edge: dict[int, list[bytes]]) -> bytes:
    """The root that the partial tiles of a tree of `size` lead to."""
    if not size:
        return EMPTY_ROOT
    runs = []
    for level, start, stop in stored_ranges(size):
        first = size >> TILE_HEIGHT * (level + 1) << TILE_HEIGHT
        runs.append(edge[level][start - first : stop - first])
    return edge_from_stored(size, runs).root()
