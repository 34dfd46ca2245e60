"""The judge of lines on plain lists: no file, no directory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.logs import Key, LogMaker, draft, drafts, entry_id

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import decode_line, format_timestamp
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.lines import Line, whole_lines
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.scan import PROOF_TYPES_MAX, Scanned, State, count_proof, follows, scan
from attestlog.errors import CorruptError


@pytest.fixture
def log() -> LogMaker:
    """16 entries: genesis, a batch of 6, one alone, a rotation, a batch of 7 under the new key."""
    made = LogMaker(Path("nowhere"))
    made.append(*drafts(range(1, 7)))
    made.append(draft(7))
    made.rotate(Key(5))
    made.append(*(draft(number, dependencies=[entry_id(3 * number)]) for number in range(9, 16)))
    return made


def rules_of(log: LogMaker) -> Rules:
    return Rules.of(parse_genesis(decode_line(log.lines[0])))


def judge(log: LogMaker, lines: Sequence[bytes] | None = None, state: State | None = None) -> Scanned:
    """From the log's first rules on; places are left out, because they depend on where lines are cut."""
    given = whole_lines(log.lines if lines is None else lines)
    return scan(rules_of(log), given, state or State(), place=lambda _: "here")


def codes(scanned: Scanned) -> list[tuple[str, int | None]]:
    return [(found.code, found.sequence_number) for found in scanned.findings]


def test_a_sound_log(log: LogMaker) -> None:
    scanned = judge(log)
    last = decode_line(log.lines[-1])
    assert scanned.findings == []
    assert scanned.entries == len(log.lines) == 16
    assert scanned.leaves == b"".join(log.leaves())
    assert scanned.state == State(16, last.entry_hash, last.timestamp)
    assert scanned.rules is not None
    assert (len(scanned.changes), decode_line(scanned.changes[0]).sequence_number) == (1, 8)
    assert scanned.key_ids == {Key().public.key_id: 8, Key(5).public.key_id: 15}


def test_no_lines_change_nothing(log: LogMaker) -> None:
    state = State(7, "00" * 32, format_timestamp(0))
    scanned = judge(log, [], state)
    assert (scanned.state, scanned.entries, scanned.leaves, scanned.findings) == (state, 0, b"", [])


def damaged(log: LogMaker) -> list[bytes]:
    lines = log.lines.copy()
    lines[3] = lines[3].replace(b"agent-1", b"agent-2")
    lines[7] = canonical.encode(log.entry(7) | {"hsm_signature": ""})
    lines[12:12] = [b"garbage", b""]
    return lines


@pytest.mark.parametrize("is_damaged", [False, True])
def test_where_the_lines_are_cut_changes_nothing(log: LogMaker, is_damaged: bool) -> None:
    lines = damaged(log) if is_damaged else log.lines
    whole = judge(log, lines)
    assert bool(whole.findings) == is_damaged
    for cut in range(len(lines) + 1):
        first = judge(log, lines[:cut])
        rules = first.rules or rules_of(log)
        second = scan(rules, whole_lines(lines[cut:]), first.state, place=lambda _: "here")
        assert first.findings + second.findings == whole.findings, cut
        assert first.leaves + second.leaves == whole.leaves
        assert second.state == whole.state
        assert first.entries + second.entries == whole.entries


def test_damage_is_found_where_it_is(log: LogMaker) -> None:
    assert codes(judge(log, damaged(log))) == [
        ("entry.entry_hash", 3), ("entry.signature_form", 7), ("entry.malformed", 12),
    ]  # fmt: skip


def test_bytes_at_the_end_are_open_until_an_entry_follows(log: LogMaker) -> None:
    lines = [
        Line(0, log.lines[0], 900),
        Line(900, b"x" * 70, 971),
        Line(971, b'{"torn', 977, is_complete=False),
    ]
    scanned = scan(rules_of(log), lines, State(), place="row {}".format)
    run = scanned.state.run
    assert scanned.findings == []
    assert run is not None
    assert (run.position, run.place, run.lines, run.size_bytes) == (1, "row 900", 1, 77)
    assert run.previous == log.entry(0)["entry_hash"]


def test_a_batch_that_is_not_all_there_is_open(log: LogMaker) -> None:
    scanned = judge(log, log.lines[:5])
    assert (scanned.findings, scanned.state.torn_batch_start, scanned.before_batch) == (
        [], 1, log.entry(0)["entry_hash"],
    )  # fmt: skip


# --- before the state is known ---


@pytest.mark.parametrize("start", [0, 1, 3, 7, 9, 11])
def test_the_first_line_says_what_the_state_was(log: LogMaker, start: int) -> None:
    stop = 8 if start < 8 else len(log.lines)
    before = judge(log, log.lines[:start])
    rules = before.rules or rules_of(log)
    ahead = scan(rules, whole_lines(log.lines[start:stop]))
    assert ahead.assumed is not None
    assert follows(before.state, ahead.assumed)
    joined = scan(rules, whole_lines(log.lines[start:stop]), before.state)
    assert (ahead.state, ahead.leaves, ahead.findings) == (joined.state, joined.leaves, joined.findings)


def test_another_state_is_not_the_one_that_was_assumed(log: LogMaker) -> None:
    ahead = scan(rules_of(log), whole_lines(log.lines[3:7]))
    state = judge(log, log.lines[:3]).state
    assert ahead.assumed is not None
    assert follows(state, ahead.assumed)
    later = format_timestamp(2_000_000_000_000_000)
    for other in (
        State(2, state.previous, state.timestamp, state.batch),
        State(3, "00" * 32, state.timestamp, state.batch),
        State(3, state.previous, later, state.batch),
        State(3, state.previous, state.timestamp, None),
        State(3, state.previous, state.timestamp, state.batch, is_synced=False),
        State(3, state.previous, state.timestamp, state.batch, judge(log, [b"x"]).state.run),
    ):
        assert not follows(other, ahead.assumed)


@pytest.mark.parametrize("start", [8, None])
def test_what_cannot_be_scanned_ahead_says_nothing(log: LogMaker, start: int | None) -> None:
    """A rotation, and bytes that are not an entry: neither can be judged before the state is known."""
    lines = [b"garbage", *log.lines] if start is None else log.lines[start:]
    ahead = scan(rules_of(log), whole_lines(lines))
    assert (ahead.assumed, ahead.entries, ahead.findings) == (None, 0, [])


# --- lines that cannot be read ---


@pytest.mark.parametrize("error", [OSError("the disk is gone"), CorruptError("the row is gone")])
def test_lines_that_fail_are_judged_as_far_as_they_came(log: LogMaker, error: Exception) -> None:
    def failing() -> Iterator[Line]:
        yield from whole_lines(log.lines[:4])
        raise error

    scanned = scan(rules_of(log), failing(), State())
    assert (scanned.error, scanned.entries, scanned.state.position) == (str(error), 4, 4)
    assert scanned.leaves == b"".join(log.leaves()[:4])


def test_an_entry_of_a_newer_version_is_unknown(log: LogMaker) -> None:
    log.append(draft(16))
    log.reseal(16, event_type="CHANGE", action_type="attestlog.from_the_future")
    (found,) = judge(log).findings
    assert (found.code, found.verdict, found.sequence_number) == ("entry.newer", Verdict.UNKNOWN, 16)


def test_types_of_proofs_are_counted_up_to_a_limit() -> None:
    counts: dict[str, tuple[int, int]] = {}
    for number in range(PROOF_TYPES_MAX + 2):
        count_proof(counts, f"type-{number}", number, 1)
    count_proof(counts, "type-0", 9, 2)
    assert len(counts) == 256
    assert (counts["type-0"], counts["type-255"]) == ((0, 3), (255, 1))
