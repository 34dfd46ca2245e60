"""The whole-log verifier and keys that change: each entry judged by the keys in force where it stands."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.support.audits import codes, verify
from tests.support.logs import CheckpointKey, Key, LogMaker, draft, drafts, rotation, seal

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.report import Verdict
from attestlog._internal.judging import scan as scanning
from attestlog._internal.judging.keys import vouching_keys
from attestlog._internal.verifying import source
from attestlog._internal.verifying import whole as verifying

FIRST, SECOND, THIRD, THIEF = Key(1), Key(2, "Ed25519"), Key(3), Key(9)


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    """0 genesis, 1–3 a batch, 4 rotation, 5–6 a batch, 7 rotation, 8 alone, 9–10 a batch."""
    made = LogMaker(tmp_path / "log", key=FIRST)
    made.append(*map(draft, (1, 2, 3)))
    made.rotate(SECOND)
    made.append(*map(draft, (5, 6)))
    made.rotate(THIRD)
    made.append(draft(8))
    made.append(*map(draft, (9, 10)))
    return made


def test_two_rotations(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out()
    report = verify(log, tmp_path)
    assert (codes(report), report.verdict) == ([], Verdict.VERIFIED)
    assert report.signing_keys == sorted(key.public.key_id for key in (FIRST, SECOND, THIRD))


@pytest.mark.parametrize("before", range(5))
def test_a_rotation_at_each_place_of_a_segment(tmp_path: Path, before: int) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST, segment_entries=3)
    for number in range(before):
        log.append(draft(number))
    log.rotate(SECOND)
    for number in range(4):
        log.append(draft(number))
    log.lay_out()
    assert codes(verify(log, tmp_path)) == []


@pytest.mark.parametrize(
    "number, key", [(5, FIRST), (6, FIRST), (8, FIRST), (8, SECOND), (10, SECOND), (3, SECOND), (2, THIRD)]
)
def test_an_entry_signed_by_a_key_that_is_not_in_force_there(
    log: LogMaker, tmp_path: Path, number: int, key: Key
) -> None:
    log.append(draft(11))
    members = log.entry(number)
    log.lines[number:] = []
    log.lines.append(seal(members, key))
    log.lay_out()
    report = verify(log, tmp_path)
    assert ("entry.signing_key", number) in codes(report)
    assert report.verdict == Verdict.TAMPERED


def test_a_retired_key_is_named_as_such(log: LogMaker, tmp_path: Path) -> None:
    log.key = FIRST
    log.append(draft(11))
    log.lay_out()
    (found,) = verify(log, tmp_path).findings
    assert (found.code, found.sequence_number) == ("entry.signing_key", 11)
    assert "was retired by entry 4" in found.message
    assert found.expected == [THIRD.public.key_id]


def test_entries_batch_signed_across_a_rotation(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST)
    log.append(draft(1), rotation(log.origin, FIRST, SECOND, 2), draft(3), draft(4))
    log.key = SECOND
    log.append(draft(5))
    log.lay_out()
    # The rotation is signed by the old key and holds; what the old key signed after it does not.
    assert codes(verify(log, tmp_path)) == [
        ("entry.signing_key", 3), ("entry.signing_key", 4), ("entry.rules", 3)
    ]  # fmt: skip


def damaged_signature(log: LogMaker) -> None:
    text = log.entry(4)["hsm_signature"].encode()
    log.lines[4] = log.lines[4].replace(text, FIRST.sign(b"else").hex().encode())


def payload_edited(log: LogMaker) -> None:
    log.lines[4] = log.lines[4].replace(SECOND.public.key_id.encode(), THIEF.public.key_id.encode())


@pytest.mark.parametrize("tamper", [damaged_signature, payload_edited])
def test_after_a_rotation_that_does_not_hold_the_old_key_stays(
    log: LogMaker, tmp_path: Path, tamper: Callable[[LogMaker], None]
) -> None:
    tamper(log)
    log.lay_out()
    report = verify(log, tmp_path)
    found = codes(report)
    assert ("entry.change", 4) in found
    assert {number for code, number in found if code == "entry.signing_key"} == {5, 6, 7, 8, 9, 10}
    assert report.verdict == Verdict.TAMPERED


def test_what_looks_like_a_rotation_and_is_none_changes_nothing(tmp_path: Path) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST)
    rotating = rotation(log.origin, FIRST, THIEF, 1)
    log.append(rotating | {"event_type": "ACTION"})
    log.append(draft(2, action_payload={"quoted": rotating, "text": str(rotating)}))
    log.append(draft(3, event_type="CHANGE", result_data=rotating))
    log.lay_out()
    assert codes(verify(log, tmp_path)) == []


def test_a_copy_of_a_rotation_changes_nothing_again(log: LogMaker, tmp_path: Path) -> None:
    log.lines.insert(9, log.lines[4])
    log.lay_out()
    report = verify(log, tmp_path)
    assert ("entry.sequence", 4) in codes(report)
    assert ("entry.change", 4) in codes(report)
    assert not any(code == "entry.signing_key" and number != 4 for code, number in codes(report))


def test_entries_before_a_rotation_that_are_gone_leave_the_rotation_in_force(
    log: LogMaker, tmp_path: Path
) -> None:
    del log.lines[3]
    log.lay_out(size=4)
    assert "entry.signing_key" not in dict(codes(verify(log, tmp_path)))


# --- what was not read ---


@pytest.fixture
def rotated_in_the_middle(tmp_path: Path) -> LogMaker:
    """Segments of three; the rotation is entry 4, in the second."""
    log = LogMaker(tmp_path / "log", key=FIRST, segment_entries=3)
    log.append(draft(1))
    log.append(draft(2))
    log.append(draft(3))
    log.rotate(SECOND)
    for number in range(5, 12):
        log.append(draft(number))
    log.lay_out()
    return log


def test_a_rotation_that_could_not_be_read_makes_nobody_a_forger(
    rotated_in_the_middle: LogMaker, tmp_path: Path
) -> None:
    path = rotated_in_the_middle.segment(3)
    path.unlink()
    path.mkdir()  # cannot be read as a file, whoever asks
    report = verify(rotated_in_the_middle, tmp_path)
    assert report.verdict == Verdict.UNKNOWN
    assert codes(report) == [("log.unreadable", 3), ("entry.unjudged", 6)]
    assert report.findings[1].found == 6


def test_whether_a_key_vouches_that_may_have_come_in_unread_is_unknown(
    rotated_in_the_middle: LogMaker, tmp_path: Path
) -> None:
    log = rotated_in_the_middle
    log.segment(3).unlink()
    log.segment(3).mkdir()
    for trust, verdict in (
        (SECOND.public.key_id, Verdict.UNKNOWN),
        (FIRST.public.key_id, Verdict.UNKNOWN),  # vouches, and something was not read all the same
        (CheckpointKey(9).vkey, Verdict.FORKED),
    ):
        assert verify(log, tmp_path, trust=[trust]).verdict == verdict


def test_damage_after_what_could_not_be_read_is_found(
    rotated_in_the_middle: LogMaker, tmp_path: Path
) -> None:
    log = rotated_in_the_middle
    log.lines[8] = log.lines[8].replace(b"T-8", b"T-x")
    log.lay_out()
    log.segment(3).unlink()
    log.segment(3).mkdir()
    report = verify(log, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert ("entry.action_hash", 8) in codes(report)


def test_a_missing_segment_with_a_rotation_is_one_fault_and_what_follows_is_unjudged(
    rotated_in_the_middle: LogMaker, tmp_path: Path
) -> None:
    rotated_in_the_middle.segment(3).unlink()
    report = verify(rotated_in_the_middle, tmp_path)
    assert report.verdict == Verdict.TAMPERED
    assert codes(report) == [("segment.missing", 3), ("entry.unjudged", 6)]


# --- several processes ---


def chunked(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, workers: int
) -> list[tuple[str, int | None]]:
    monkeypatch.setattr(verifying, "PARALLEL_MIN_BYTES", 0)
    monkeypatch.setattr(source, "piece_size", lambda *_: size_bytes)
    return codes(verify(log, tmp_path, workers=workers, remember=False))


def keys_of(count: int) -> list[Key]:
    return [Key(number + 10, "Ed25519") for number in range(count)]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("size_bytes", [1_000, 3_000, 10_000, source.PIECE_SIZE_MAX_BYTES])
def test_chunks_and_workers_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, workers: int
) -> None:
    log = LogMaker(tmp_path / "log", key=FIRST, segment_entries=16)
    for number, key in enumerate(keys_of(6)):
        log.append(*drafts(range(number)))
        log.append(*drafts(range(5 - number)))
        log.rotate(key)
    log.append(draft(1))
    log.key = FIRST
    log.append(draft(2))
    log.lay_out()
    assert chunked(log, tmp_path, monkeypatch, size_bytes, workers) == [
        ("entry.signing_key", len(log.lines) - 1)
    ]


def test_results_made_by_rules_that_changed_meanwhile_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are handed out long before the rotation before them is read; none of them is scanned here."""
    log = LogMaker(tmp_path / "log", key=FIRST)
    log.rotate(SECOND)
    for number in range(40):
        log.append(draft(number))
    log.lay_out()
    scanned_here: list[int] = []
    real = scanning.scan_piece

    def counting(rules: object, piece: source.SegmentPiece, *state: object, **more: object) -> object:
        scanned_here.append(piece.start)
        return real(rules, piece, *state, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("attestlog._internal.judging.walk.scan_piece", counting)
    assert chunked(log, tmp_path, monkeypatch, 6_000, 2) == []
    # The first chunk, which holds the rotation, and no other.
    assert scanned_here == [0]


def test_a_key_vouches_once_it_signed_an_entry(log: LogMaker) -> None:
    """The last ones are of entries that were read earlier, or of a first entry that another key signed."""
    one, two, three = (key.public.key_id for key in (FIRST, SECOND, THIRD))
    first = decode_line(log.lines[0])
    genesis = parse_genesis(first)

    def vouching(*signed: str, start: int = 0, **changed: str) -> set[str]:
        entry = msgspec.structs.replace(first, **changed)
        return vouching_keys(
            entry, genesis, first.entry_hash, rules=log.rules, signed=set(signed), start=start
        )

    assert vouching(one, two, three) == {one, two, three}
    assert vouching() == {one}
    assert vouching(one, two) == {one, two}
    stop = log.rules.terms[two].stop
    assert stop is not None
    assert vouching(start=stop) == {one, two}
    assert vouching(start=stop - 1) == {one}
    for changed in ({"hsm_signature": "00"}, {"signing_key_id": three}):
        assert vouching(start=stop, **changed) == {two}
