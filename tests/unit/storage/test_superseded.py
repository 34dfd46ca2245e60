"""Partial files that nobody needs any more: which go, when, and that none goes that a checkpoint needs."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.logs import LogMaker, drafts
from tests.support.published import check_published, published_files

from attestlog._internal.core.tiles import Bundle, Tile, format_path, plan_tiles
from attestlog._internal.storage.published_folder import PublishedFolder
from attestlog._internal.storage.publishing import open_publishing, publish_log
from attestlog._internal.storage.publishing_target import Listed
from attestlog._internal.storage.superseded import Superseded


def needed(size: int) -> set[str]:
    """What the checkpoint at this size needs."""
    tiles = list(plan_tiles(0, size))
    bundles = [Bundle(tile.index, tile.width) for tile in tiles if tile.level == 0]
    return {*map(format_path, tiles), *map(format_path, bundles)}


class Names:
    """A target of names alone."""

    where, written, found = "names", 0, 0

    def __init__(self) -> None:
        self.there: dict[str, float] = {}
        self.partials = 0

    def publish(self, old: int, size: int, now_s: float) -> None:
        for tile in plan_tiles(old, size):
            self._put(tile, now_s)
            if tile.level == 0:
                self._put(Bundle(tile.index, tile.width), now_s)

    def _put(self, place: Tile | Bundle, now_s: float) -> None:
        self.there[format_path(place)] = now_s
        self.partials += place.width < 256

    def checkpoint(self) -> bytes | None:
        raise AssertionError("nobody asks")

    def add(self, name: str, data: bytes) -> None:
        raise AssertionError("nobody adds")

    def settle(self) -> None:
        raise AssertionError("nobody adds")

    def replace_checkpoint(self, note: bytes) -> None:
        raise AssertionError("nobody publishes")

    def names(self) -> Iterator[Listed]:
        return iter([Listed(name, since_s) for name, since_s in self.there.items()])

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            del self.there[name]
        self.partials -= len(names)


def test_a_hundred_thousand_checkpoints_leave_few_partial_files() -> None:
    """One entry and one checkpoint a second, and partial files that are kept for an hour."""
    target, kept_s, size, most = Names(), 3_600, 0, 0
    superseded = Superseded(target, 0)
    for now_s in range(100_000):
        target.publish(size, size + 1, now_s)
        superseded.add(size, size + 1, now_s)
        size += 1
        superseded.remove(now_s - kept_s)
        most = max(most, target.partials)
        if now_s % 9_973 == 0:
            # A reader of a partial file whose full one is there reads that.
            assert needed(size) <= set(target.there)
    assert most <= 2 * (kept_s + 2 * 256) + 2 * 256
    superseded.remove(now_s)
    assert target.partials <= 2 * 256 + 2 * 256
    assert needed(size) <= set(target.there)
    full = [name for name in target.there if ".p/" not in name]
    assert len(full) == 2 * (size // 256) + size // 65_536


def test_the_next_publisher_finds_what_the_one_before_left() -> None:
    target = Names()
    for size in range(1, 700):
        target.publish(size - 1, size, now_s=size)
    target.there |= {"tile/0/notes.txt": 0.0, "tile/0/999.p/7": 0.0}  # somebody's, and of no full tile
    superseded = Superseded(target, 699)
    # Tile 0 became full at 256, tile 1 at 512: each with its bundle, of 255 partial ones.
    assert superseded.remove(255) == 0
    assert superseded.remove(256) == 2 * 255
    assert superseded.remove(511) == 0
    assert superseded.remove(512) == 2 * 255
    assert superseded.remove(10_000) == 0
    assert needed(699) <= set(target.there)
    assert {"tile/0/notes.txt", "tile/0/999.p/7", "tile/0/002.p/1"} <= set(target.there)


def test_nothing_goes_that_the_checkpoint_does_not_cover_whole() -> None:
    """A publisher was killed before its checkpoint: the full tile is there, and the old checkpoint counts."""
    target = Names()
    target.publish(0, 200, now_s=1)
    target.publish(200, 300, now_s=2)
    superseded = Superseded(target, 200)
    assert superseded.remove(10_000) == 0
    superseded.add(200, 300, now_s=20_000)
    assert superseded.remove(19_999) == 0
    assert superseded.remove(20_000) == 2
    assert set(target.there) == needed(300)


def test_a_folder(tmp_path: Path) -> None:
    log, public = LogMaker(tmp_path / "log"), tmp_path / "public"
    for size in (3, 255, 300, 600):
        log.append(*drafts(range(len(log.lines), size)))
        log.lay_out()
        publish_log(log.root, public)
    before = published_files(public)
    publish_log(log.root, public, remove_partials_after_s=3_600)
    assert published_files(public) == before
    for path in public.rglob("*"):
        os.utime(path, (1_000, 1_000))
    publish_log(log.root, public, remove_partials_after_s=3_600)
    # tile/1/000 is not full: its partial files stay, whatever their age.
    assert set(published_files(public)) == {*needed(600), "tile/1/000.p/1", "checkpoint"}
    assert not (public / "tile/0/000.p").exists()
    assert check_published(public, log.checkpoint_key.verifier) is not None


def test_a_publisher_that_goes_on_lists_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, public = LogMaker(tmp_path / "log"), tmp_path / "public"
    listings: list[PublishedFolder] = []
    names = PublishedFolder.names

    def counted(folder: PublishedFolder) -> Iterator[Listed]:
        listings.append(folder)
        return names(folder)

    monkeypatch.setattr(PublishedFolder, "names", counted)
    with open_publishing(public) as publishing:
        for size in (3, 255, 300, 511, 600, 700):
            log.append(*drafts(range(len(log.lines), size)))
            log.lay_out()
            done = publishing.publish(log.root)
            publishing.remove_superseded(done.size, 0)
    assert len(listings) == 1
    assert set(published_files(public)) == {
        *needed(700), "tile/0/002.p/88", "tile/entries/002.p/88", "tile/1/000.p/1", "checkpoint",
    }  # fmt: skip


def test_partial_files_of_every_level_are_remembered() -> None:
    """As a listing finds them: whatever steps a log grows in."""
    remembered, size = Names(), 0
    superseded = Superseded(remembered, 0)
    for step in (3, 252, 45, 400, 66_000, 1, 65_536, 256, 300_000):
        remembered.publish(size, size + step, now_s=0)
        superseded.add(size, size + step, now_s=0)
        size += step
    listed = Names()
    listed.there = dict(remembered.there)
    superseded.remove(1)
    Superseded(listed, size).remove(1)
    assert set(remembered.there) == set(listed.there)
