"""The stored tree: hashes in flat files, evidence of what was committed."""

import os
from pathlib import Path

import pytest

from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Grown, Span
from attestlog._internal.storage.files import tree as tree_module
from attestlog._internal.storage.files.tree import TreeFiles
from attestlog.errors import CorruptError


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(32)) for number in range(count)]


def stored(root: Path, count: int) -> TreeFiles:
    grown: list[Grown] = []
    Span().extended(leaves(count), grown)
    tree = TreeFiles(root, writable=True)
    tree.write(0, leaves(count), grown)
    return tree


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000, 65_536, 65_537])
def test_what_is_written_is_read_and_covers_its_entries(tmp_path: Path, count: int) -> None:
    tree = stored(tmp_path, count)
    assert (tree.size(), tree.covered()) == (count, count)
    assert tree.size(1) == count >> 8
    assert tree.size(2) == count >> 16
    assert tree.edge(count).root() == Span().extended(leaves(count)).root()
    assert tree.read(0, count - 1, count) == leaves(count)[-1:]
    tree.close()


def test_batch_by_batch_is_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    stored(tmp_path / "whole", 700).close()
    parts, edge, at = TreeFiles(tmp_path / "parts", writable=True), Span(), 0
    for count in (1, 254, 3, 256, 100, 86):
        grown: list[Grown] = []
        some = leaves(700)[at : at + count]
        edge = edge.extended(some, grown)
        parts.write(at, some, grown)
        at += count
    parts.close()
    for level in "01":
        assert (tmp_path / "parts/tree" / level).read_bytes() == (
            tmp_path / "whole/tree" / level
        ).read_bytes()


def test_an_empty_directory_and_none_at_all(tmp_path: Path) -> None:
    tree = TreeFiles(tmp_path, writable=True)
    assert (tree.size(), tree.covered(), tree.edge(0).size) == (0, 0, 0)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".0.new").write_bytes(bytes(64))
    (tmp_path / "tree" / "²").write_bytes(bytes(64))
    assert (tree.size(), tree.covered()) == (0, 0)


def test_missing_hashes_are_named(tmp_path: Path) -> None:
    tree = stored(tmp_path, 300)
    os.truncate(tmp_path / "tree" / "0", 299 * 32 + 31)
    assert (tree.size(), tree.covered()) == (299, 299)
    with pytest.raises(CorruptError, match="ends before hash 300") as caught:
        tree.edge(300)
    assert caught.value.repair == "tree"
    with pytest.raises(CorruptError):
        tree.read(2, 0, 1)
    (tmp_path / "tree" / "0").unlink()
    tree.close()
    assert (tree.size(), tree.covered()) == (0, 256), "one hash of level 1 speaks for 256 entries"
    tree.close()


def test_only_what_was_written_here_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    folders: list[Path] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(tree_module, "fsync_directory", folders.append)
    tree = stored(tmp_path, 300)
    tree.sync()
    assert (len(synced), folders) == (2, [tmp_path / "tree", tmp_path])
    tree.sync()
    assert (len(synced), len(folders)) == (4, 2), "names are durable once they are"
    tree.close()
