"""Snapshot hashes: one spelling of a tree, links as links, nothing hashed that changes meanwhile."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from tests.support.descriptors import open_below

from attestlog._internal import snapshots
from attestlog._internal.core.snapshot import HEADER, ROOT, Kind, Node, TreeHasher, format_node
from attestlog._internal.snapshots import snapshot_hash, verify_snapshot
from attestlog.errors import HashMismatchError, SnapshotError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    (root / "a").mkdir(parents=True)
    (root / "a" / "x").write_bytes(b"one")
    (root / "a.b").write_bytes(b"two")
    (root / "link").symlink_to("a/x")
    for path, mode in ((root, 0o755), (root / "a", 0o750), (root / "a/x", 0o644), (root / "a.b", 0o600)):
        path.chmod(mode)
    return root


def hexed(data: bytes) -> str:
    return sha256(data).hexdigest()


def test_the_manifest_is_the_one_of_the_document(tree: Path) -> None:
    lines = [
        b"attestlog/snapshot/v1\n",
        b"d 0755 - - .\n",
        b"d 0750 - - a\n",
        b"f 0644 3 %s a/x\n" % hexed(b"one").encode(),
        b"f 0600 3 %s a.b\n" % hexed(b"two").encode(),
        b"l - 3 %s link\n" % hexed(b"a/x").encode(),
    ]
    assert snapshot_hash(tree) == hexed(b"".join(lines))


def test_bytes_and_files_hash_as_sha256sum_does(tree: Path) -> None:
    assert snapshot_hash(b"one") == snapshot_hash(tree / "a" / "x") == hexed(b"one")
    assert snapshot_hash(tree / "link") == hexed(b"one"), "the path itself may be a link"


def test_it_is_the_same_wherever_the_tree_stands_and_whoever_reads_it(tree: Path, tmp_path: Path) -> None:
    before = snapshot_hash(tree)
    moved = tree.rename(tmp_path / "elsewhere")
    os.utime(moved / "a.b", (1, 1))
    alias = tmp_path / "alias"
    alias.symlink_to(moved)
    assert snapshot_hash(moved) == snapshot_hash(str(alias)) == before
    verify_snapshot(moved, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "a" / "x").write_bytes(b"onf"),
        lambda root: (root / "a" / "x").chmod(0o666),
        lambda root: (root / "a").chmod(0o755),
        lambda root: (root / "a" / "y").touch(),
        lambda root: (root / "a.b").rename(root / "a.c"),
        lambda root: (root / "a.b").unlink(),
        lambda root: ((root / "link").unlink(), (root / "link").symlink_to("a.b")),
        lambda root: ((root / "link").unlink(), (root / "link").write_bytes(b"a/x")),
        lambda root: (root / "empty").mkdir(),
    ],
)
def test_any_change_is_seen(tree: Path, change: object) -> None:
    before = snapshot_hash(tree)
    assert callable(change)
    change(tree)
    with pytest.raises(HashMismatchError) as caught:
        verify_snapshot(tree, before)
    assert caught.value.expected == before
    assert caught.value.found == snapshot_hash(tree)


def test_names_have_one_spelling() -> None:
    node = Node(Kind.LINK, b"a b/%\n\xff.txt", size_bytes=1, content_hash="00")
    assert format_node(node) == b"l - 1 00 a%20b/%25%0A%FF.txt\n"


def test_names_that_are_not_utf_8(tree: Path) -> None:
    before = snapshot_hash(tree)
    os.close(os.open(os.fsencode(tree) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    assert snapshot_hash(tree) != before


def test_nodes_out_of_order_are_refused() -> None:
    hasher = TreeHasher()
    with pytest.raises(ValueError, match="first node"):
        hasher.add(Node(Kind.DIRECTORY, b"a"))
    hasher.add(Node(Kind.DIRECTORY, ROOT))
    hasher.add(Node(Kind.DIRECTORY, b"a"))
    hasher.add(Node(Kind.FILE, b"a/z"))
    hasher.add(Node(Kind.FILE, b"a-"))  # after what is in a, although "-" sorts before "/"
    with pytest.raises(ValueError, match="out of order"):
        hasher.add(Node(Kind.FILE, b"a-"))
    assert TreeHasher().hexdigest() == hexed(HEADER)


def test_a_link_is_not_followed_out_of_the_tree(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("a")
    (tree / "out").symlink_to(outside)
    before = snapshot_hash(tree)
    outside.write_text("b")
    assert snapshot_hash(tree) == before


def test_pipes_and_what_is_not_there_are_refused(tree: Path) -> None:
    with pytest.raises(SnapshotError, match="No such file"):
        snapshot_hash(tree / "nothing")
    os.mkfifo(tree / "a" / "pipe")
    with pytest.raises(SnapshotError, match="neither file"):
        snapshot_hash(tree)
    with pytest.raises(SnapshotError, match="neither file"):
        snapshot_hash(tree / "a" / "pipe")


def test_a_file_that_changes_while_it_is_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, path = os.read, tree / "a" / "x"

    def read(descriptor: int, count: int) -> bytes:
        block = real(descriptor, count)
        path.chmod(0o600)
        return block

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(SnapshotError, match="changed while"):
        snapshot_hash(tree / "a" / "x")


def test_a_directory_that_changes_while_it_is_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = snapshots._read_file

    def read(descriptor: int, path: str) -> tuple[int, str, int]:
        (tree / "new").touch()
        return real(descriptor, path)

    os.utime(tree, (1, 1))  # a clock of files ticks a few hundred times a second: "now" may be what it was
    monkeypatch.setattr(snapshots, "_read_file", read)
    with pytest.raises(SnapshotError, match="changed while"):
        snapshot_hash(tree)


@pytest.mark.parametrize("deep, fits", [(snapshots.DEPTH_MAX - 1, True), (snapshots.DEPTH_MAX, False)])
def test_depth_has_a_limit(tmp_path: Path, deep: int, fits: bool) -> None:
    here = tmp_path
    for _ in range(deep):
        here /= "d"
    here.mkdir(parents=True)
    if fits:
        assert len(snapshot_hash(tmp_path)) == 64
    else:
        with pytest.raises(SnapshotError, match="nested deeper"):
            snapshot_hash(tmp_path)
    assert open_below(tmp_path) == [], "every descriptor was closed"


def test_large_files_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "large"
    data = os.urandom(3 * snapshots.BLOCK_BYTES + 17)
    path.write_bytes(data)
    assert snapshot_hash(path) == hexed(data)
