"""Closed segments elsewhere: nothing is lost on the way, and what is not there is said, never passed over."""

import errno
import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import draft, drafts

import attestlog
from attestlog import Verdict
from attestlog._internal.core.genesis import Settings
from attestlog._internal.storage.files.archive import (
    State,
    archive_segments,
    placed_segments,
    restore_segments,
)
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import ConflictError, CorruptError, ErasureRefusedError, FullError, NotFoundError

SEGMENT_ENTRIES = 8
SIZE = 44  # five full segments and a half: 0, 8, 16, 24, 32, 40


@pytest.fixture
def log(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    settings = Settings(segment_entries=SEGMENT_ENTRIES)
    with attestlog.create(root, origin="example.com/archived", settings=settings) as writer:
        writer.append_many([draft(number, actor_id=f"agent-{number % 3}") for number in range(1, SIZE)])
    return root


@pytest.fixture
def away(tmp_path: Path) -> Path:
    folder = tmp_path / "away"
    folder.mkdir()
    return folder


def segment(root: Path, first: int) -> Path:
    return root / "entries" / f"{first:012d}.jsonl"


def verify(root: Path, **options: Any) -> attestlog.Report:
    return attestlog.verify(root, state_dir=root.with_name("state"), **options)


def states(root: Path) -> list[State]:
    return [placed.state for placed in placed_segments(root)]


def test_what_was_moved_is_read_queried_verified_and_appended_to_as_before(log: Path, away: Path) -> None:
    lines = list(open_source(log).lines())
    before = list(attestlog.query_log(log, actor_id="agent-1"))
    moved = archive_segments(log, away)
    assert [placed.first for placed in moved] == [8, 16, 24]
    assert states(log) == [State.HERE, *[State.MOVED] * 3, *[State.HERE] * 2]
    assert sorted(path.name for path in away.iterdir()) == [segment(log, first).name for first in (8, 16, 24)]
    assert list(open_source(log).lines()) == lines
    assert list(attestlog.query_log(log, actor_id="agent-1")) == before
    assert (verify(log).verdict, verify(log).size) == (Verdict.VERIFIED, SIZE)
    with attestlog.open(log) as writer:
        assert writer.append(**draft(SIZE)).sequence_number == SIZE
    assert verify(log).verdict == Verdict.VERIFIED


def test_what_cannot_be_reached_is_said_and_the_rest_is_held_against_the_checkpoint(
    log: Path, away: Path
) -> None:
    archive_segments(log, away)
    away.rename(away.with_name("unplugged"))
    report = attestlog.verify(log, remember=False)
    assert report.verdict == Verdict.UNKNOWN
    assert [(found.code, found.sequence_number) for found in report.findings] == [
        ("segment.absent", 8), ("segment.absent", 16), ("segment.absent", 24),
    ]  # fmt: skip
    assert report.findings[0].message.startswith(f"entries 8 to 15 are not here, but in {away}/")
    assert (report.size, report.checkpoint_size) == (SIZE, SIZE)
    assert states(log) == [State.HERE, *[State.ABSENT] * 3, *[State.HERE] * 2]
    reader = open_source(log)
    assert reader.entry(5).sequence_number == 5
    assert reader.entry(40).sequence_number == 40
    with pytest.raises(NotFoundError, match="was archived, and is not where it was put"):
        reader.entry(20)
    with pytest.raises(NotFoundError, match="was archived, and is not where it was put"):
        list(attestlog.query_log(log))
    with attestlog.open(log) as writer:
        assert writer.append_many(drafts(range(20)))[0].sequence_number == SIZE
    assert attestlog.verify(log, remember=False).checkpoint_size == SIZE + 20


@pytest.mark.parametrize("first", [0, 32])
def test_tampering_is_found_beside_what_is_absent(log: Path, away: Path, first: int) -> None:
    archive_segments(log, away)
    away.rename(away.with_name("unplugged"))
    path = segment(log, first)
    path.write_bytes(path.read_bytes().replace(b"execute_a", b"EXECUTE_a", 1))
    assert attestlog.verify(log, remember=False).verdict == Verdict.TAMPERED


def test_a_wrong_stored_hash_for_what_is_absent_is_no_tampering(log: Path, away: Path) -> None:
    archive_segments(log, away)
    away.rename(away.with_name("unplugged"))
    with (log / "tree/0").open("r+b") as tree:
        tree.seek(20 * 32)
        tree.write(bytes(32))
    report = attestlog.verify(log, remember=False)
    assert report.verdict == Verdict.UNKNOWN
    assert "resume.tree" in [found.code for found in report.findings]
    (log / "tree/0").unlink()
    report = attestlog.verify(log, remember=False)
    assert (report.verdict, report.root) == (Verdict.UNKNOWN, None)


def test_a_remembered_log_is_verified_from_where_it_is_there(log: Path, away: Path) -> None:
    assert verify(log).verdict == Verdict.VERIFIED
    archive_segments(log, away)
    away.rename(away.with_name("unplugged"))
    with attestlog.open(log) as writer:
        writer.append(**draft(SIZE))
    assert verify(log).verdict == Verdict.UNKNOWN
    assert verify(log, start=SIZE).verdict == Verdict.VERIFIED


def test_compressed_segments_come_back_by_any_gunzip_or_by_restoring(log: Path, away: Path) -> None:
    before = {first: segment(log, first).read_bytes() for first in (8, 16, 24)}
    archive_segments(log, away, compress=True)
    assert states(log)[1:4] == [State.COMPRESSED] * 3
    assert verify(log).verdict == Verdict.UNKNOWN
    packed = away / (segment(log, 8).name + ".gz")
    assert gzip.decompress(packed.read_bytes()) == before[8]
    assert packed.stat().st_size < len(before[8]) / 2
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    assert states(log)[1:4] == [State.MOVED, *[State.COMPRESSED] * 2]
    assert [placed.first for placed in restore_segments(log, [17])] == [16]
    assert states(log)[1:4] == [State.MOVED, State.HERE, State.COMPRESSED]
    restore_segments(log)
    assert states(log) == [State.HERE] * 6
    assert {first: segment(log, first).read_bytes() for first in before} == before
    assert not any(segment(log, first).is_symlink() for first in before)
    assert verify(log).verdict == Verdict.VERIFIED
    assert restore_segments(log) == []


@pytest.mark.parametrize("compress", [False, True])
def test_what_changed_elsewhere_is_not_taken_back(log: Path, away: Path, compress: bool) -> None:
    archive_segments(log, away, compress=compress)
    (copy,) = away.glob(segment(log, 16).name + "*")
    data = gzip.decompress(copy.read_bytes()) if compress else copy.read_bytes()
    for wrong in (data.replace(b"execute_a", b"EXECUTE_a", 1), data[:-200], data + data[:300], b""):
        copy.write_bytes(gzip.compress(wrong) if compress else wrong)
        with pytest.raises(CorruptError) as caught:
            restore_segments(log, [16])
        assert 16 <= (caught.value.sequence_number or 0) <= 24
        assert segment(log, 16).is_symlink()
        assert verify(log).verdict == (Verdict.UNKNOWN if compress else Verdict.TAMPERED)
    if compress:
        copy.write_bytes(copy.read_bytes()[:-4])
        with pytest.raises(CorruptError, match="cannot be decompressed"):
            restore_segments(log, [16])
    copy.unlink()
    with pytest.raises(NotFoundError, match="is not at"):
        restore_segments(log, [16])


def test_a_damaged_segment_is_not_moved(log: Path, away: Path) -> None:
    segment(log, 16).write_bytes(segment(log, 16).read_bytes().replace(b"execute_a", b"EXECUTE_a", 1))
    with pytest.raises(CorruptError, match="is not entry 16 as the stored tree has it"):
        archive_segments(log, away)
    assert states(log) == [State.HERE, State.MOVED, *[State.HERE] * 4]


def test_the_first_the_newest_and_those_that_change_the_rules_stay(log: Path, away: Path) -> None:
    with attestlog.open(log) as writer:
        writer.append_many(drafts(range(SIZE, 60)))
        writer.rotate_key()
        writer.append_many(drafts(range(61, 90)))
    assert [placed.first for placed in archive_segments(log, away, keep=4)] == [8, 16, 24, 32, 40, 48]
    assert [placed.first for placed in archive_segments(log, away)] == [64, 72]
    assert segment(log, 56).is_file()
    assert not segment(log, 56).is_symlink()
    away.rename(away.with_name("unplugged"))
    report = attestlog.verify(log, remember=False)
    assert {found.code for found in report.findings} == {"segment.absent"}


def test_nothing_is_moved_that_no_checkpoint_covers(log: Path, away: Path) -> None:
    (log / "checkpoint").unlink()
    with pytest.raises(ConflictError, match="the checkpoint covers 0 entries, the segment ends at 16"):
        archive_segments(log, away)
    assert list(away.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(log: Path, away: Path) -> None:
    with pytest.raises(NotFoundError, match="is not a directory"):
        archive_segments(log, away / "unmounted")


def test_a_segment_that_changes_while_it_is_copied_stays(
    log: Path, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def erased_meanwhile(path: Path, target: Path) -> Path:
        if target.parent == away:
            os.utime(segment(log, 8), (1, 1))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", erased_meanwhile)
    with pytest.raises(ConflictError, match="changed while it was copied"):
        archive_segments(log, away)
    assert states(log) == [State.HERE] * 6


def test_a_payload_in_an_archived_segment_is_not_erased_before_it_is_back(log: Path, away: Path) -> None:
    archive_segments(log, away)
    with attestlog.open(log) as writer:
        with pytest.raises(ErasureRefusedError, match="its segment is archived"):
            writer.erase(17, reason="asked for", actor_id="officer-1")
        restore_segments(log, [17])
        writer.erase(17, reason="asked for", actor_id="officer-1")
    assert open_source(log).entry(17).action_payload is None
    assert verify(log).verdict == Verdict.VERIFIED


@pytest.mark.parametrize("compress", [False, True])
def test_every_new_name_is_durable_and_stands_for_durable_bytes(
    log: Path, away: Path, compress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, Path]] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(descriptor: int) -> None:
        events.append(("synced", Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def recorded_replace(path: Path, target: Path) -> None:
        events.append(("link" if path.is_symlink() else "file", path))
        replace(path, target)
        events.append(("renamed", target.parent))

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    archive_segments(log, away, compress=compress)
    restore_segments(log)
    assert [kind for kind, _ in events].count("renamed") == 3 * 4  # a copy and a link, a copy and its place
    for place, (kind, path) in enumerate(events):
        if kind == "file" and not path.name.endswith(".restored"):
            assert ("synced", path) in events[:place]
        if kind == "renamed":
            assert ("synced", path) in events[place:]


def test_a_folder_that_is_full_leaves_everything_as_it_was(
    log: Path, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FullError, match=r"archiving .* failed: No space left on device"):
            archive_segments(log, away)
    assert list(away.iterdir()) == []
    assert states(log) == [State.HERE] * 6


class CutError(BaseException):
    """The process ends here."""


@contextmanager
def cut_at(step: int, *, after: bool) -> Iterator[None]:
    """Let the process end at the n-th step that changes a name or makes something durable."""
    steps = count()

    def ending(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            is_last = next(steps) == step
            if is_last and not after:
                raise CutError
            try:
                return call(*arguments, **options)
            finally:
                if is_last:
                    raise CutError

        return called

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "symlink", "unlink"):
            patch.setattr(os, name, ending(getattr(os, name)))
        yield


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("compress", [False, True])
def test_ended_at_any_step_nothing_is_lost_and_it_can_be_done_again(
    log: Path, away: Path, compress: bool, after: bool
) -> None:
    before = {first: segment(log, first).read_bytes() for first in (8, 16, 24)}
    ended = 0
    for step in range(100):
        try:
            with cut_at(step, after=after):
                archive_segments(log, away, compress=compress)
                restore_segments(log)
        except CutError:
            ended += 1
        restore_segments(log)
        assert {first: segment(log, first).read_bytes() for first in before} == before
        assert attestlog.verify(log, remember=False).verdict == Verdict.VERIFIED
        if ended == step:  # it came to its end
            break
    assert 30 < ended < 100
