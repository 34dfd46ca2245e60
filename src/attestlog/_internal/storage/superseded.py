"""Partial files of a published log that nobody needs any more, because the full one is published.

A checkpoint needs a partial tile only as long as the full one is not there:
readers take the first hashes of the full one then (`published`), as C2SP
tlog-tiles says. They stay for some time, for readers who hold an older checkpoint and do not.

What goes is a partial file of a tile that the published checkpoint covers whole.
Nothing depends on it: what a killed publisher leaves, the next one finds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from attestlog._internal.core.merkle import TILE_HEIGHT, TILE_WIDTH
from attestlog._internal.core.tiles import Bundle, Tile, format_path, parse_path, tile_width
from attestlog._internal.storage.publishing_target import Target
from attestlog.errors import MalformedTileError

Place = Tile | Bundle


class _Due(NamedTuple):
    since_s: float
    """When the full file was published."""
    names: list[str]


class Superseded:
    """The partial files of one published log, as far as its listing and this publisher know them."""

    def __init__(self, target: Target, size: int) -> None:
        """Lists everything there is; `size` is what the published checkpoint covers. Raises StorageError."""
        self._target = target
        self._open: dict[Place, list[str]] = {}
        """Partial files by the place of the full one, which is not published yet."""
        full_s: dict[Place, float] = {}
        for listed in target.names():
            try:
                place = parse_path(listed.name)
            except MalformedTileError:
                continue  # nobody's, or somebody's who put it here
            full = _full(place)
            if place == full:
                full_s[full] = listed.modified_s
            else:
                self._open.setdefault(full, []).append(listed.name)
        # Only what is there full goes, whatever the checkpoint covers.
        whole = [place for place in self._open if place in full_s and _is_whole(place, size)]
        self._due = deque(sorted(_Due(full_s[place], self._open.pop(place)) for place in whole))

    def add(self, old: int, size: int, now_s: float) -> None:
        """The checkpoint at `size` has been published, after the one at `old`, with all that it needs."""
        for place in [place for place in self._open if _is_whole(place, size)]:
            self._due.append(_Due(now_s, self._open.pop(place)))
        for partial in _partials(old, size):
            names = self._open.setdefault(_full(partial), [])
            name = format_path(partial)
            if name not in names:
                names.append(name)

    def remove(self, before_s: float) -> int:
        """Remove what was superseded before this time; how many files. Raises StorageError."""
        count = 0
        while self._due and self._due[0].since_s <= before_s:
            # A failure, or a kill, leaves some of them: to this publisher they are still due.
            self._target.remove(self._due[0].names)
            count += len(self._due.popleft().names)
        return count


def _full(place: Place) -> Place:
    return Tile(place.level, place.index) if isinstance(place, Tile) else Bundle(place.index)


def _is_whole(place: Place, size: int) -> bool:
    """Whether a tree of `size` has all of this full tile or bundle."""
    return tile_width(place.level if isinstance(place, Tile) else 0, place.index, size) == place.width


def _partials(old: int, size: int) -> Iterator[Place]:
    """Those that publishing at `size` added: the last tile of each level that grew, where it is not full."""
    level = 0
    while hashes := size >> TILE_HEIGHT * level:
        width = hashes % TILE_WIDTH
        if width and hashes > old >> TILE_HEIGHT * level:
            index = hashes // TILE_WIDTH
            yield Tile(level, index, width)
            if level == 0:
                yield Bundle(index, width)
        level += 1
