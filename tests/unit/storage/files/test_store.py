"""The embedded store: what opening reads and trusts, what an interruption leaves, what others do."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.descriptors import open_below
from tests.support.logs import (
    checkpoint_file,
    contents,
    copied,
    create,
    cut_tree,
    draft,
    drafts,
    last_segment,
    torn_files,
    tree_file,
    unremembered,
)
from tests.support.tools import missing, tool

from attestlog._internal import disk
from attestlog._internal.core.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from attestlog._internal.core.note import ED25519 as NOTE_ED25519
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.log import Log
from attestlog._internal.storage.contract import Known
from attestlog._internal.storage.files.layout import list_segments
from attestlog._internal.storage.files.store import FileStore
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    AttestlogError,
    ClosedError,
    CorruptError,
    LockLostError,
    MalformedEntryError,
    MovedError,
    NotFoundError,
    StorageError,
)
from attestlog.testing import MemorySigner, check_log

# --- what opening reads ---


def bytes_read(path: Path) -> int:
    """By the log's data files, over opening and closing: strace would count the interpreter's own."""
    counted = 0
    real = os.pread

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        nonlocal counted
        data = real(descriptor, count, offset)
        counted += len(data)
        return data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", pread)
        FileStore(path).close()
    return counted


def test_opening_after_a_clean_close_reads_no_more_of_a_larger_log(tmp_path: Path) -> None:
    counts = {}
    for size in (100, 20_000):
        log = create(tmp_path / str(size))
        log.append_many(drafts(range(1, size)))
        log.close()
        counts[size] = bytes_read(tmp_path / str(size))
    # The last line (found within the last 64 KiB) and the right edge: at most 255 hashes a tile level.
    assert counts[20_000] < (64 << 10) + 4 * 256 * 32
    assert counts[20_000] < 1.5 * counts[100]


def test_opening_after_a_crash_reads_the_last_segment_only(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=100)
    log.append_many(drafts(range(1, 750)))
    log._store.close()
    for _, segment in list_segments(path)[1:-2]:
        segment.write_bytes(bytes(segment.stat().st_size))  # nobody looks: the verifier would
    assert len(list_segments(path)) == 8
    with FileStore(path).exclusive() as head:
        assert head.size == 750


def test_after_a_crash_without_a_checkpoint_the_entries_are_read_again(tmp_path: Path) -> None:
    """A stored hash that no checkpoint vouches for may never have reached the disk."""
    path = tmp_path / "log"
    log = create(path, segment_entries=20)
    log.append_many(drafts(range(1, 20)))
    checkpoint = checkpoint_file(path).read_bytes()
    log.append_many(drafts(range(20, 90)))
    log._store.close()
    checkpoint_file(path).write_bytes(checkpoint)
    right = tree_file(path).read_bytes()
    with tree_file(path).open("r+b") as file:
        file.seek(45 * 32)
        file.write(bytes(32))
    with Log.open(path) as opened:
        opened.checkpoint()
        assert tree_file(path).read_bytes()[: len(right)] == right
        opened.append(draft(90))
    assert len(check_log(path)) == 91


@pytest.mark.parametrize("harm", ["missing", "short", "wrong", "one wrong", "upper wrong", "no folder"])
@pytest.mark.parametrize("closed", [True, False])
def test_a_tree_that_is_not_the_entries_is_made_again(tmp_path: Path, harm: str, closed: bool) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=200)
    log.append_many(drafts(range(1, 700)))
    log.close() if closed else log._store.close()
    right = {level: tree_file(path, level).read_bytes() for level in (0, 1)}
    lower, upper = tree_file(path, 0), tree_file(path, 1)
    if harm == "missing":
        lower.unlink()
    elif harm == "short":
        lower.write_bytes(right[0][: 650 * 32 + 7])
        upper.unlink()
    elif harm == "wrong":
        lower.write_bytes(bytes(len(right[0])))
    elif harm == "one wrong":
        lower.write_bytes(right[0][: 690 * 32] + bytes(32) + right[0][691 * 32 :])
    elif harm == "upper wrong":
        upper.write_bytes(right[1][:32] + bytes(32))
    else:
        shutil.rmtree(path / "tree")
    with Log.open(path) as opened:
        opened.append(draft(700))
    assert {level: tree_file(path, level).read_bytes()[: len(right[level])] for level in (0, 1)} == right
    check_log(path)


# --- what opening refuses, and leaves as it is ---


def rewritten(path: Path) -> None:
    """Another history of the same length, well made and under the log's own key."""
    other = path.with_name("other")
    log = Log.open(path)
    signer, check_signer = log._writer.in_force.signer()[1], log._writer.holders[0][0]
    vkey = log.genesis.checkpoint_keys[0]
    genesis = last_segment(path).read_bytes().splitlines(keepends=True)[0]
    log._store.close()
    shutil.copytree(path, other)
    last_segment(other).write_bytes(genesis)
    cut_tree(other, 1)
    (leaf,) = open_source(other).hashes(0, 0, 1)
    note = sign_checkpoint(Checkpoint(log.origin, 1, leaf), [(vkey, check_signer.sign)])
    checkpoint_file(other).write_bytes(note)
    unremembered(other)
    forged = Log.open(other, signer=signer, checkpoint_signer=check_signer)
    forged.append_many(drafts(range(1_001, 1_010)))
    forged._store.close()
    shutil.copyfile(last_segment(other), last_segment(path))


@pytest.mark.parametrize("tree", ["kept", "missing", "short"])
def test_entries_that_are_not_what_the_checkpoint_signed(tmp_path: Path, tree: str) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 10)))
    log.close()
    rewritten(path)
    if tree == "missing":
        tree_file(path).unlink()
    elif tree == "short":
        cut_tree(path, 5)
    before = contents(path)
    with pytest.raises(CorruptError, match="not those its checkpoint signed") as caught:
        FileStore(path)
    assert caught.value.repair == "entries"
    assert contents(path) == before, "the tree is evidence, and is kept"


def other_checkpoint(path: Path, harm: str) -> bytes:
    """A checkpoint that the log must not believe."""
    log = Log.open(path)
    with log._store.exclusive() as head:
        checkpoint = Checkpoint(log.origin, head.size, head.edge.root())
    vkey, sign = log.genesis.checkpoint_keys[0], log._writer.holders[0][0].sign
    log._store.close()
    stranger = MemorySigner("Ed25519")
    raw: Any = stranger.public_key.key
    foreign = VerifierKey(log.origin, NOTE_ED25519, raw.public_bytes_raw())
    if harm == "another key":
        return sign_checkpoint(checkpoint, [(foreign, stranger.sign)])
    if harm == "another root":
        return sign_checkpoint(Checkpoint(log.origin, 5, bytes(32)), [(vkey, sign)])
    if harm == "larger":
        return sign_checkpoint(Checkpoint(log.origin, 11, checkpoint.root), [(vkey, sign)])
    if harm == "another origin":
        return sign_checkpoint(Checkpoint("example.com/else", 10, checkpoint.root), [(vkey, sign)])
    good = checkpoint_file(path).read_bytes()
    return {
        "bad signature": good[:-10] + b"AAAAAAAA=\n",
        "larger, not signed": good.replace(b"\n10\n", b"\n11\n"),
        "empty": b"",
        "garbage": b"\xff\x00",
    }[harm]


@pytest.mark.parametrize(
    "harm",
    [
        "another key", "another root", "larger", "another origin", "bad signature", "larger, not signed",
        "empty", "garbage",
    ],
)  # fmt: skip
@pytest.mark.parametrize("crashed", [True, False])
def test_a_checkpoint_that_is_not_this_logs(tmp_path: Path, harm: str, crashed: bool) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 10)))
    log.close()
    checkpoint_file(path).write_bytes(other_checkpoint(path, harm))
    if crashed:
        cut_tree(path, 8)
    before = contents(path)
    with pytest.raises(CorruptError) as caught:
        Log.open(path)
    assert caught.value.repair in {"checkpoint", "entries"}
    assert contents(path) == before


def test_without_a_checkpoint_the_entries_speak(tmp_path: Path) -> None:
    """To those who read or repair it. Nobody signs in it: the next entry would launder a cut tail."""
    path = tmp_path / "log"
    log = create(path, segment_entries=4)
    receipts = log.append_many(drafts(range(1, 10)))
    log.close()
    note = checkpoint_file(path).read_bytes()
    checkpoint_file(path).unlink()
    before = contents(path)
    with pytest.raises(CorruptError, match="has no checkpoint"):
        Log.open(path)
    assert contents(path) == before
    FileStore(path).close()
    checkpoint_file(path).write_bytes(note)
    with Log.open(path) as opened:
        receipts.append(opened.append(draft(10)))
    check_log(path, receipts)


@pytest.mark.parametrize("missing", [0, 4, 8])
def test_a_segment_that_is_missing(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=4)
    log.append_many(drafts(range(1, 10)))
    log.close()
    (path / "entries" / f"{missing:012d}.jsonl").unlink()
    before = contents(path)
    with pytest.raises(CorruptError) as caught:
        FileStore(path)
    assert caught.value.sequence_number == missing
    assert contents(path) == before


@pytest.mark.parametrize("segment", [0, 4])
def test_an_earlier_segment_without_its_end(tmp_path: Path, segment: int) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=4)
    log.append_many(drafts(range(1, 10)))
    log._store.close()
    earlier = path / "entries" / f"{segment:012d}.jsonl"
    os.truncate(earlier, earlier.stat().st_size - 5)
    tree_file(path).unlink()
    before = contents(path)
    with pytest.raises(CorruptError) as caught:
        Log.open(path)
    assert caught.value.sequence_number is not None
    assert segment <= caught.value.sequence_number <= segment + 3
    assert contents(path) == before


def test_an_entry_0_that_is_no_genesis(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    for line in (
        b"",
        b"{}\n",
        b"garbage",
        last_segment(path).read_bytes().replace(b"attestlog.genesis", b"attestlog.genesas"),
    ):
        last_segment(path).write_bytes(line)
        with pytest.raises(MalformedEntryError):
            FileStore(path)


@pytest.mark.parametrize("what", ["entries", "lock", "all"])
def test_parts_that_are_missing(tmp_path: Path, what: str) -> None:
    path = tmp_path / "log"
    create(path).close()
    if what == "all":
        shutil.rmtree(path)
    elif what == "entries":
        shutil.rmtree(path / what)
    else:
        (path / what).unlink()
    with pytest.raises(NotFoundError):
        Log.open(path)


def test_what_cannot_be_read_is_said_in_our_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 10)))
    log._store.close()

    def fail(descriptor: int, count: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    before = open_below(tmp_path)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(CorruptError, match="Input/output error"):
        Log.open(path)
    assert open_below(tmp_path) == before


# --- while it is open ---


def test_the_directory_renamed_while_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    receipt = log.append(draft(1))
    path.rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(LockLostError):
            log.append(draft(2))
    (tmp_path / "moved").rename(path)
    log.append(draft(3))
    log.close()
    assert len(check_log(path, [receipt])) == 3


def test_another_log_put_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append(draft(1))
    path.rename(tmp_path / "moved")
    create(path).close()
    before = contents(path)
    with pytest.raises(LockLostError):
        log.append(draft(2))
    with pytest.raises(LockLostError):
        log.close()
    assert contents(path) == before


def test_the_tree_deleted_while_open(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=300)
    log.append_many(drafts(range(1, 500)))
    shutil.rmtree(path / "tree")
    receipt = log.append(draft(500))
    with contextlib.suppress(StorageError):
        log.close()
    with Log.open(path):
        pass
    check_log(path, [receipt])


def test_a_read_only_directory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    command = [tool("mount"), "--bind", str(path), str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        missing("mounting is not permitted: run as root")
    try:
        subprocess.run([tool("mount"), "-o", "remount,ro,bind", path], check=True)
        with pytest.raises(StorageError) as caught:
            Log.open(path)
        assert caught.value.code == "storage.denied"
    finally:
        subprocess.run([tool("umount"), path], check=True)
    Log.open(path).close()


# --- interruptions ---


@pytest.mark.parametrize("name", ["write", "fdatasync", "pwrite", "fsync", "replace"])
@pytest.mark.parametrize("before", [True, False])
def test_a_signal_handler_that_raises_anywhere_leaves_a_log_that_goes_on(
    tmp_path: Path, name: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same process, without opening again: what the file holds is taken in."""
    path = tmp_path / "log"
    log = create(path, segment_entries=4)
    kept = [log.append(draft(0))]
    for nth in range(1, 7):
        interrupt_nth(log, name, nth, before, monkeypatch)
        kept.append(log.append(draft(nth * 100 + 99)))
        log.checkpoint()
    log.close()
    entries = check_log(path, kept)
    numbers = [(entry.action_payload or {}).get("number") for entry in entries[1:]]
    assert len(numbers) == len(set(numbers))
    assert numbers == sorted(numbers)  # type: ignore[type-var]


def interrupt_nth(log: Log, name: str, nth: int, before: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = getattr(os, name)
    calls = 0

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and before:
            raise KeyboardInterrupt
        outcome = real(*arguments, **options)
        if calls == nth:
            raise KeyboardInterrupt
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(os, name, call)
        with contextlib.suppress(KeyboardInterrupt):
            for number in range(3):
                log.append(draft(nth * 100 + number))
            log.checkpoint()
            log.append_many(drafts(range(nth * 100 + 10, nth * 100 + 14)))


def test_traced_line_by_line_an_interruption_keeps_the_head_right(tmp_path: Path) -> None:
    """An exception before each line of the commit in turn, as a debugger's or a profiler's might come."""
    path = tmp_path / "log"
    log = create(path, segment_entries=4)
    code = FileStore.commit.__code__
    lines = sorted(
        {line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno}
    )
    kept = []
    for number, line in enumerate(lines):

        def trace(frame: Any, event: str, argument: object, line: int = line) -> Any:
            if frame.f_code is code and event == "line" and frame.f_lineno == line:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace if frame.f_code is code or event == "call" else None

        sys.settrace(trace)
        try:
            log.append(draft(2 * number))
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        kept.append(log.append(draft(2 * number + 1)))
    log.close()
    check_log(path, kept)


# --- segments and trees ---


def test_a_segment_whose_name_is_not_durable_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=2)
    log.append(draft(1))
    log.checkpoint()
    real = disk.fsync_directory
    synced: list[str] = []

    def fsync_directory(folder: Path) -> None:
        synced.append(folder.name)
        if synced.count("entries") == 1 and folder.name == "entries":
            raise OSError(5, "Input/output error")
        real(folder)

    monkeypatch.setattr(disk, "fsync_directory", fsync_directory)
    with pytest.raises(StorageError, match="creating"):
        log.append(draft(2))
    assert len(list_segments(path)) == 1
    receipt = log.append(draft(3))
    assert synced.count("entries") == 2, "synced anew, because it was made anew"
    log.close()
    check_log(path, [receipt])


def test_a_segment_another_process_made_is_synced_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made it may have died before its name was durable."""
    path = tmp_path / "log"
    log = create(path, segment_entries=2)
    log.append(draft(1))
    log.checkpoint()
    (path / "entries" / "000000000002.jsonl").touch()
    synced: list[str] = []
    monkeypatch.setattr(disk, "fsync_directory", lambda folder: synced.append(folder.name))
    log.append(draft(2))
    assert synced == ["entries"]
    log._store.close()
    synced.clear()
    FileStore(path).close()
    assert synced == ["entries"]


class Remembers(Known):
    """Somebody who knows how many entries were acknowledged."""

    def __init__(self, size: int) -> None:
        self.size = size

    def acknowledged(self) -> int:
        """See `Known`."""
        return self.size


@pytest.mark.parametrize("known", [3, 2])
def test_what_is_known_to_be_acknowledged_is_not_set_aside(tmp_path: Path, known: int) -> None:
    """Whoever cuts the last entry, with its hash, leaves what looks like a crash."""
    path = tmp_path / "log"
    log = create(path)
    log.append(draft(1))
    log.checkpoint()
    log.append(draft(2))
    log._store.close()
    segment = last_segment(path)
    segment.write_bytes(segment.read_bytes()[:-20])
    cut_tree(path, 2)
    before = contents(path)
    if known == 2:
        FileStore(path, known=Remembers(2)).close()
        assert len(torn_files(path)) == 1
        return
    with pytest.raises(CorruptError, match="entry 2 of 3 committed is damaged"):
        FileStore(path, known=Remembers(3))
    assert contents(path) == before


def test_a_log_that_has_moved_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "log"
    create(path).close()
    (path / "moved").write_text("/srv/audit\n\x1b[2J")
    with pytest.raises(MovedError, match=r"moved to /srv/audit\?\?\[2J$"):
        Log.open(path)
    (path / "moved").unlink()
    os.mkfifo(path / "moved")
    with pytest.raises(StorageError, match="moved cannot be read"):
        Log.open(path)


def test_opening_while_a_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=8)
    receipts = []
    for number in range(1, 40):
        receipts.append(log.append(draft(2 * number)))
        with Log.open(path, clock=log._writer.clock) as other:
            receipts.append(other.append(draft(2 * number + 1)))
    log.close()
    assert torn_files(path) == []
    check_log(path, receipts)


def test_a_segment_made_larger_than_any_disk(tmp_path: Path) -> None:
    """What is set aside takes no more room than it took before."""
    path = tmp_path / "log"
    log = create(path)
    receipts = [log.append(draft(1))]
    log.close()
    os.truncate(last_segment(unremembered(path)), 1 << 40)
    with Log.open(path, clock=log._writer.clock) as again:
        assert "set aside" in again.recovered[0]
        receipts.append(again.append(draft(2)))
    (torn,) = torn_files(path)
    assert torn.stat().st_size > 1 << 39
    assert torn.stat().st_blocks * 512 < 1 << 20
    check_log(path, receipts)


@pytest.mark.parametrize("name", ["entries/000000000000.jsonl", "tree/0", "lock"])
def test_what_a_link_leads_to_is_not_written(tmp_path: Path, name: str) -> None:
    path, elsewhere = tmp_path / "log", tmp_path / "elsewhere"
    create(path).close()
    (path / name).rename(elsewhere)
    (path / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(StorageError, match="symbolic link"):
        Log.open(path)
    assert elsewhere.read_bytes() == before


@pytest.mark.parametrize("name", ["entries/000000000000.jsonl", "tree/0", "lock", "checkpoint"])
def test_a_pipe_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "log"
    create(path).close()
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(StorageError, match="not a regular file"):
        Log.open(path)


def test_rebuilding_the_tree(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=100)
    log.append_many(drafts(range(1, 650)))
    log.close()
    right = [tree_file(path, level).read_bytes() for level in (0, 1)]
    with tree_file(path).open("r+b") as file:  # where opening has no reason to look
        file.seek(10 * 32)
        file.write(bytes(64))
    store = FileStore(path)
    with store.exclusive():
        store.rebuild_tree()
    store.close()
    assert [tree_file(path, level).read_bytes() for level in (0, 1)] == right
    check_log(path)


def test_rebuilding_refuses_damaged_entries_and_keeps_the_evidence(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path, segment_entries=100)
    log.append_many(drafts(range(1, 250)))
    log.close()
    store = FileStore(path)
    segment = list_segments(path)[0][1]
    segment.write_bytes(segment.read_bytes().replace(b'"prev_entry_hash":"', b'"prev_entry_hash":"0', 1))
    before = contents(path)
    with store.exclusive(), pytest.raises(CorruptError):
        store.rebuild_tree()
    store.close()
    assert contents(path) == before


def test_an_older_copy_put_in_its_place_while_open(tmp_path: Path) -> None:
    """Only what is still open can know: to whoever opens it next, an older copy looks like a whole log."""
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 5)))
    log.checkpoint()
    old = copied(path, "old")
    log.append_many(drafts(range(5, 9)))
    log.checkpoint()
    for name in ("checkpoint", "tree/0", "entries/000000000000.jsonl"):
        shutil.copyfile(old / name, path / name)
    with pytest.raises(CorruptError):
        log.append(draft(9))
    with pytest.raises(ClosedError):
        log.checkpoint()


@pytest.mark.parametrize("harm", ["leaf", "new leaf", "upper"])
def test_no_checkpoint_is_signed_over_a_tree_that_was_tampered_with(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "log"
    log = create(path)
    log.append_many(drafts(range(1, 600)))
    last = log.checkpoint()
    log.append(draft(600))
    level, index = {"leaf": (0, 599), "new leaf": (0, 600), "upper": (1, 0)}[harm]
    with tree_file(path, level).open("r+b") as file:
        file.seek(index * 32)
        file.write(bytes(32))
    log.append(draft(601))
    for close in (log.checkpoint, log.close):
        with pytest.raises(AttestlogError):
            close()
    assert checkpoint_file(path).read_bytes() == last
    with Log.open(path):
        pass
    check_log(path)


def test_a_checkpoint_put_back_or_swapped_between(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = create(path)
    older = log.checkpoint()
    log.append(draft(1))
    log.checkpoint()
    # An older genuine one is a prefix all the same: nothing is contradicted.
    checkpoint_file(path).write_bytes(older)
    log.append(draft(2))
    newest = log.checkpoint()
    assert open_checkpoint(newest, log.genesis.checkpoint_keys).size == 3
    checkpoint_file(path).write_bytes(other_checkpoint_in(log))
    log.append(draft(3))
    swapped = checkpoint_file(path).read_bytes()
    with pytest.raises(AttestlogError):
        log.checkpoint()
    assert checkpoint_file(path).read_bytes() == swapped
    checkpoint_file(path).write_bytes(newest)
    log.close()
    check_log(path)


def other_checkpoint_in(log: Log) -> bytes:
    """One of the log's own key over another tree."""
    holder = log._writer.holders[0][0]
    return sign_checkpoint(
        Checkpoint(log.origin, 2, bytes(32)), [(log.genesis.checkpoint_keys[0], holder.sign)]
    )
