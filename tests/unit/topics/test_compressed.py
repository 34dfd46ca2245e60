"""Compressed segments: every reader reads them as the lines they are; what is wrong with one is found."""

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import contents, copied, create, draft, drafts
from tests.support.packing import compress_all, frames_of, joined, pack
from tests.support.slow import slow_after

from attestlog._internal.core.compression import FRAME_ENTRIES
from attestlog._internal.core.genesis import Settings
from attestlog._internal.core.replication import Shipment
from attestlog._internal.in_force import read_rules
from attestlog._internal.log import Log
from attestlog._internal.proving import prove
from attestlog._internal.query import query_log
from attestlog._internal.query.index import Index
from attestlog._internal.storage.files import compressing, layout
from attestlog._internal.storage.files.archive import archive_segments, restore_segments
from attestlog._internal.storage.files.compressing import compress_segment
from attestlog._internal.storage.files.packed import PackedSegment, codec, open_segment
from attestlog._internal.storage.files.reader import FileSource
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log
from attestlog.errors import ConflictError, CorruptError, MissingExtraError, NotFoundError
from attestlog.testing import check_log

pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")


class Crash(BaseException):
    """The process is gone: nobody catches it."""


WIDTH = 2 * FRAME_ENTRIES + 44
"""Entries a segment: two whole frames, and a rest."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of two segments and a few entries, closed."""
    root = tmp_path_factory.mktemp("made") / "log"
    with create(root, settings=Settings(segment_entries=WIDTH, erasable_payloads=True)) as log:
        log.append_many(drafts(range(1, 2 * WIDTH + 5)))
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    copied(made, f"{tmp_path.name}-log").rename(tmp_path / "log")
    return tmp_path / "log"


def verdict(root: Path) -> str:
    """Of both verifiers, which must agree."""
    report = one_file.Report()
    one_file.verify(report, root, None, one_file.parse_trust([]))
    full = judge_log(root, remember=False, workers=1)
    assert report.verdict == full.verdict, (report.facts, full.findings)
    return report.verdict


def codes(root: Path) -> list[str]:
    return [finding.code for finding in judge_log(root, remember=False, workers=1).findings]


# --- readers and writers ---


def test_every_reader_reads_them(root: Path, tmp_path: Path) -> None:
    before, extents = list(FileSource(root).lines()), dict(FileSource(root).extents())
    compress_all(root)
    there = contents(root)
    assert sorted(path.name for path in (root / "entries").iterdir()) == [
        "000000000000.jsonl.zst", "000000000556.jsonl.zst", "000000001112.jsonl",
    ]  # fmt: skip
    source = FileSource(root)
    assert (source.size(), list(source.lines()), dict(source.extents())) == (len(before), before, extents)
    numbers = [0, 1, 255, 256, 511, 512, 555, 556, 557, 1_000, 1_111, 1_112, 1_116]
    assert [source.line(number) for number in numbers] == [before[number] for number in numbers]
    assert list(source.lines(500, 600)) == before[500:600]
    for line in itertools.islice(source.located_lines(200), 0, 900, 99):
        assert source.read_at(line.segment, line.offset, len(line.data)) == line.data
    assert read_rules(source).genesis_hash == source.entry(0).entry_hash
    assert prove(root, 700).startswith(b"c2sp.org/tlog-proof")
    assert publish_log(root, tmp_path / "public").size == len(before)
    assert [entry.sequence_number for entry in query_log(root, newest_first=False)] == list(
        range(len(before))
    )
    assert verdict(root) == "VERIFIED"
    assert judge_log(root, remember=False, workers=2).verdict == "VERIFIED"
    assert list(Shipment(0, list(source.lines()), b"").lines) == before
    assert contents(root) == there


def test_an_entry_by_its_number_needs_one_frame(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compress_all(root)
    unpacked: set[int] = set()
    blocks = PackedSegment.blocks

    def noted(segment: PackedSegment, frame: Any) -> Any:
        unpacked.add(frame.start)
        return blocks(segment, frame)

    monkeypatch.setattr(PackedSegment, "blocks", noted)
    assert FileSource(root).entry(556 + 300).sequence_number == 856
    assert len(unpacked) == 1


def test_a_log_with_compressed_segments_is_written_to(root: Path) -> None:
    compress_all(root)
    with Log.open(root) as log:
        assert log.recovered == []
        log.append_many(drafts(range(WIDTH)))
        log._store.close()
    compress_segment(root, 2 * WIDTH)
    with Log.open(root) as log:  # the one before the last is compressed, and read to its end
        receipt = log.append(draft(1))
    (root / "tree" / "0").unlink()  # the head is found by all entries
    with Log.open(root) as log:
        receipts = [receipt, log.append(draft(2))]
    check_log(root, receipts)
    assert verdict(root) == "VERIFIED"


def test_an_index_stays_when_a_segment_is_compressed(root: Path) -> None:
    with Index.open(root) as index:
        index.catch_up()
        compress_all(root)
        assert index.catch_up() == 0
        assert index.fetch(600)[0].sequence_number == 600


@pytest.mark.slow
def test_archiving_takes_them_as_they_are(root: Path, tmp_path: Path) -> None:
    with Log.open(root) as log:
        log.append_many(drafts(range(2 * WIDTH)))
    compress_all(root)
    (tmp_path / "cold").mkdir()
    moved = archive_segments(root, tmp_path / "cold", compress=True)
    assert [Path(place.path).name for place in moved] == [
        "000000000556.jsonl.zst", "000000001112.jsonl.zst",
    ]  # fmt: skip
    assert verdict(root) == "VERIFIED"
    assert FileSource(root).entry(600).sequence_number == 600
    (tmp_path / "cold").rename(tmp_path / "away")
    assert (verdict(root), set(codes(root))) == ("UNKNOWN", {"segment.absent"})
    (tmp_path / "away").rename(tmp_path / "cold")
    assert len(restore_segments(root)) == 2
    assert not any(path.is_symlink() for path in (root / "entries").iterdir())
    assert verdict(root) == "VERIFIED"


def test_erasing_in_a_compressed_segment(root: Path) -> None:
    compress_all(root)
    with Log.open(root) as log:
        log.erase(556 + 300, reason="asked for", actor_id="officer-1")
    assert FileSource(root).entry(856).action_payload is None
    with open_segment(layout.segment_path(root, 556)) as segment:
        assert isinstance(segment, PackedSegment)
        text = segment.read(segment.size, 0)
    assert b'"number":856' not in text
    assert b'"number":855' in text
    assert verdict(root) == "VERIFIED"
    check_log(root, [])


def test_erasing_many_in_compressed_and_uncompressed_segments(root: Path) -> None:
    compress_segment(root, 0)
    with Log.open(root) as log:
        log.erase_many(["*"], start=200, stop=700, reason="asked for", actor_id="officer-1")
    gone = [entry.sequence_number for entry in FileSource(root).entries() if entry.action_payload is None]
    assert gone == list(range(200, 700))
    assert layout.segment_path(root, 0).name.endswith(".zst")
    assert verdict(root) == "VERIFIED"


# --- compressing ---


def test_what_is_not_compressed(root: Path, tmp_path: Path) -> None:
    before = contents(root)
    with pytest.raises(ConflictError, match="the last one"):
        compress_segment(root, 2 * WIDTH)
    with pytest.raises(NotFoundError):
        compress_segment(root, 7)
    assert contents(root) == before
    path = compress_segment(root, 0)
    assert compress_segment(root, 0) == path


def test_one_that_changes_meanwhile_stays(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compare = compressing._compare

    def changed(path: Path, packed: Path) -> None:
        compare(path, packed)
        os.utime(path, ns=(0, 0))

    monkeypatch.setattr(compressing, "_compare", changed)
    before = contents(root)
    with pytest.raises(ConflictError, match="changed while"):
        compress_segment(root, 0)
    assert contents(root) == before


@pytest.mark.parametrize("call", slow_after(1, ["unlink", "replace", "fsync", "write"]))
def test_a_crash_at_each_step(root: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step it was cut at, nothing is lost, nobody calls it tampering, and it can be done again."""
    before = list(FileSource(root).lines())
    real = getattr(os, call)
    for count in range(12):
        state = copied(root, f"state-{count}")
        calls = itertools.count()

        def crashing(*arguments: Any, calls: Any = calls, count: int = count, **options: Any) -> Any:
            if next(calls) == count:
                raise Crash
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, crashing)
            try:
                compress_segment(state, WIDTH)
            except Crash:
                is_over = False
                # What the process would have removed is still there.
                (state / "entries" / f".{layout.packed_name(WIDTH)}.compressing").write_bytes(b"half of it")
            else:
                is_over = True
        assert list(FileSource(state).lines()) == before
        assert codes(state) == ["segment.twice"] * len(layout.twice(state))
        with Log.open(state) as log:
            log.head()
        assert layout.twice(state) == []
        compress_segment(state, WIDTH)
        assert list(FileSource(state).lines()) == before
        assert codes(state) == []
        if is_over:
            return


def test_a_segment_that_is_there_twice(root: Path) -> None:
    other = copied(root, "other")
    packed = compress_segment(other, 0)
    there = root / "entries" / packed.name
    there.write_bytes(packed.read_bytes())
    assert (verdict(root), codes(root)) == ("INCOMPLETE", ["segment.twice"])
    Log.open(root).close()
    assert layout.list_segments(root)[0][1] == there
    assert verdict(root) == "VERIFIED"


def test_a_segment_that_is_there_twice_and_differs(root: Path) -> None:
    other = copied(root, "other")
    packed = compress_segment(other, WIDTH)
    (root / "entries" / layout.packed_name(0)).write_bytes(packed.read_bytes())
    before = contents(root)
    with pytest.raises(CorruptError, match="is not 000000000000"):
        Log.open(root)
    assert contents(root) == before


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_segment_is_not_given_up_for_what_is_no_file(root: Path, kind: str) -> None:
    packed = compress_segment(copied(root, "other"), 0)
    there = root / "entries" / packed.name
    if kind == "link":
        there.symlink_to(packed)  # it unpacks to the same, and can go at any time
    elif kind == "pipe":
        os.mkfifo(there)
    else:
        there.mkdir()
    before = (root / "entries" / layout.segment_name(0)).read_bytes()
    with pytest.raises(CorruptError, match="is not a file"):
        Log.open(root)
    assert (root / "entries" / layout.segment_name(0)).read_bytes() == before


# --- what is wrong with one ---


def spoiled(root: Path, spoil: Callable[[list[tuple[bytes, int]]], bytes]) -> Path:
    """The log with its second segment compressed so."""
    path = root / "entries" / layout.segment_name(WIDTH)
    path.with_name(layout.packed_name(WIDTH)).write_bytes(spoil(frames_of(path.read_bytes())))
    path.unlink()
    return root


def sizes(frames: list[tuple[bytes, int]]) -> list[tuple[int, int]]:
    return [(len(packed), size) for packed, size in frames]


def lying(change: Callable[[list[tuple[int, int]]], Any]) -> Callable[[list[tuple[bytes, int]]], bytes]:
    def spoil(frames: list[tuple[bytes, int]]) -> bytes:
        index = sizes(frames)
        return joined(frames, change(index) or index)

    return spoil


def moved(frames: list[tuple[bytes, int]], by: int) -> list[tuple[int, int]]:
    (one, size), (two, more), *rest = sizes(frames)
    return [(one + by, size), (two - by, more), *rest]


WRONG: dict[str, Callable[[list[tuple[bytes, int]]], bytes]] = {
    "no index": lambda frames: b"".join(packed for packed, _ in frames),
    "empty": lambda _: b"",
    "cut": lambda frames: joined(frames)[:-1],
    "trailing byte": lambda frames: joined(frames) + b"\0",
    "trailing bytes before the index": lambda frames: joined(
        [*frames[:-1], (frames[-1][0] + b"\0\0", frames[-1][1])]
    ),
    "first byte missing": lambda frames: joined(frames)[1:],
    "a frame longer than said": lambda frames: joined(frames, moved(frames, -1)),
    "a frame shorter than said": lambda frames: joined(frames, moved(frames, 1)),
    "one size more": lying(lambda index: [(index[0][0], index[0][1] + 1), *index[1:]]),
    "one size less": lying(lambda index: [(index[0][0], index[0][1] - 1), *index[1:]]),
    "a huge size": lying(lambda index: [(index[0][0], 2**32 - 1), *index[1:]]),
    "a frame left out": lying(lambda index: index[:-1]),
    "no frame": lambda _: joined([]),
    "two frames as one": lambda frames: joined(
        [(frames[0][0] + frames[1][0], frames[0][1] + frames[1][1]), frames[2]]
    ),
    "a frame with one line less": lambda frames: joined(frames_of(_text(frames), FRAME_ENTRIES - 1)),
    "a frame with one line more": lambda frames: joined(frames_of(_text(frames), FRAME_ENTRIES + 1)),
    "a frame that ends within a line": lambda frames: joined(
        [(pack(part), len(part)) for part in (_text(frames)[:99_999], _text(frames)[99_999:])]
    ),
    "a dictionary": lambda frames: joined(
        [(pack(_text(frames[:1]), samples=_text(frames).splitlines()), frames[0][1]), *frames[1:]]
    ),
    "unknown content size": lambda frames: joined(
        [(pack(_text(frames[:1]), states_size=False), frames[0][1]), *frames[1:]]
    ),
    "a skippable frame": lambda frames: joined([(bytes.fromhex("502a4d1800000000"), 1), *frames]),
    "a bit of a frame changed": lambda frames: joined(
        [(frames[0][0][:-9] + bytes([frames[0][0][-9] ^ 1]) + frames[0][0][-8:], frames[0][1]), *frames[1:]]
    ),
}


def _text(frames: list[tuple[bytes, int]]) -> bytes:
    return b"".join(codec().decompress(packed) for packed, _ in frames)


@pytest.mark.parametrize("name", slow_after(5, WRONG))
def test_a_file_that_is_not_what_it_must_be(root: Path, name: str) -> None:
    spoiled(root, WRONG[name])
    assert verdict(root) == "TAMPERED"
    assert "segment.malformed" in codes(root)
    with pytest.raises(CorruptError):
        list(FileSource(root).lines())


def test_two_frames_swapped(root: Path) -> None:
    """Whole frames at another place are lines at another place."""
    spoiled(root, lambda frames: joined([frames[1], frames[0], frames[2]]))
    assert (verdict(root), codes(root)[0]) == ("TAMPERED", "entry.sequence")


def test_room_in_a_compressed_segment(root: Path) -> None:
    spoiled(
        root, lambda frames: joined([*frames[:2], (pack(_text(frames[2:]) + b" " * 9), frames[2][1] + 9)])
    )
    assert (verdict(root), codes(root)) == ("TAMPERED", ["segment.length"])


def test_a_compressed_last_segment(root: Path) -> None:
    """It is read and verified, and cannot be written to."""
    path = root / "entries" / layout.segment_name(2 * WIDTH)
    path.with_name(layout.packed_name(2 * WIDTH)).write_bytes(joined(frames_of(path.read_bytes())))
    path.unlink()
    assert (FileSource(root).size(), verdict(root)) == (2 * WIDTH + 5, "VERIFIED")
    with pytest.raises(CorruptError, match="is the last segment"):
        Log.open(root)


def test_what_unpacks_to_more_than_was_said_is_not_unpacked(root: Path) -> None:
    """A frame of a few kilobytes that unpacks to a gigabyte: no more than a block is ever unpacked of it."""
    bomb = pack(b" " * (20 << 20))

    def unpacked(index_size: int) -> int:
        state = copied(root, f"bomb-{index_size}")
        spoiled(state, lambda frames: joined([(bomb, index_size), *frames[1:]]))
        count = 0
        with (
            open_segment(state / "entries" / layout.packed_name(WIDTH)) as segment,
            pytest.raises(Exception, match=r"unpacks|line without end"),
        ):
            assert isinstance(segment, PackedSegment)
            for block in segment.blocks(segment.index.frames[0]):
                count += len(block)
            list(segment.lines(0, segment.size))
        assert verdict(state) == "TAMPERED"
        return count

    assert unpacked(1_000) == 0
    assert unpacked(20 << 20) == 20 << 20


def test_without_the_codec_nobody_calls_it_tampering(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compress_all(root)
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError) as caught:
        FileSource(root).entry(600)
    assert caught.value.extra == "zstd"
    with pytest.raises(MissingExtraError):
        list(FileSource(root).lines())
    with pytest.raises(MissingExtraError):
        Log.open(root)
    assert verdict(root) == "UNKNOWN"
    assert set(codes(root)) == {"log.unreadable"}


def test_without_the_codec_a_segment_stays_as_it_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(root)
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError):
        compress_segment(root, 0)
    assert contents(root) == before
    assert verdict(root) == "VERIFIED"
