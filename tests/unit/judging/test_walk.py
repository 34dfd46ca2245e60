"""Pieces joined into one pass, in memory: what is known after each thing that can be missing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.logs import Key, LogMaker, draft

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.lines import Line, Piece, whole_lines
from attestlog._internal.core.merkle import Span
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.scan import State, scan_piece
from attestlog._internal.judging.stored import StoredTree
from attestlog._internal.judging.walk import Ending, Known, Walk

WIDTH = 4  # entries of a segment
SIZE = 11


@dataclass(frozen=True)
class ListPiece:
    """A whole segment in memory."""

    segment: int
    data: list[bytes]
    error: str = ""
    away: str | None = None
    begins_segment: bool = True
    is_first: bool = True
    size_bytes: int = 1

    @property
    def source(self) -> str:
        return f"segment {self.segment}"

    def lines(self) -> Iterator[Line]:
        yield from whole_lines(self.data)
        if self.error:
            raise OSError(self.error)

    def following(self) -> Iterator[Line]:
        return iter(())

    def block(self, more: int) -> None:
        return None

    def place(self, offset: int) -> str:
        return f"{self.source} at {offset}"

    def archived(self) -> str | None:
        return self.away


@dataclass
class ListHashes:
    """Stored hashes in memory."""

    leaves: list[bytes] = field(default_factory=list)

    @property
    def hash_bytes(self) -> Mapping[int, int]:
        return {0: 32 * len(self.leaves)}

    def hashes(self, level: int, start: int, count: int) -> bytes:
        return b"".join(self.leaves[start : start + count]) if level == 0 else b""


@pytest.fixture
def log() -> LogMaker:
    made = LogMaker(Path("nowhere"), segment_entries=WIDTH)
    for number in range(1, SIZE):
        made.append(draft(number))
    return made


def pieces(log: LogMaker) -> list[ListPiece]:
    return [ListPiece(first, log.lines[first : first + WIDTH]) for first in range(0, len(log.lines), WIDTH)]


def begun(log: LogMaker, *gaps: int, stops: tuple[int, ...] = (SIZE,)) -> Walk:
    rules = Rules.of(parse_genesis(decode_line(log.lines[0])))
    stored = StoredTree(ListHashes(log.leaves()))
    return Walk(rules, State(), Span(), stored=stored, stops=stops, gaps=gaps, segment_entries=WIDTH)


def joined(walk: Walk, parts: list[ListPiece]) -> list[tuple[str, int | None]]:
    found = [item for piece in parts for item in walk.join(piece)]
    return [(item.code, item.sequence_number) for item in found]


def ended(walk: Walk, last: int = 8, acknowledged: int = SIZE) -> tuple[Ending, list[tuple[str, int | None]]]:
    ending = walk.finish(acknowledged, range(last, last + WIDTH))
    return ending, [(item.code, item.sequence_number) for item in ending.findings]


def root_of(log: LogMaker, size: int = SIZE) -> bytes:
    return Span().extended(log.leaves()[:size]).root()


def test_all_is_known(log: LogMaker) -> None:
    walk = begun(log, stops=(5, SIZE))
    assert joined(walk, pieces(log)) == []
    ending, findings = ended(walk)
    assert (findings, ending.known) == ([], Known.ALL)
    assert (ending.size, ending.accounted, ending.entries) == (SIZE, SIZE, SIZE)
    assert ending.roots == {5: root_of(log, 5), SIZE: root_of(log)}
    assert ending.edge is not None
    assert ending.edge.root() == root_of(log)
    assert ending.head_hash == log.entry(SIZE - 1)["entry_hash"]
    assert ending.timestamp == log.entry(SIZE - 1)["timestamp"]


def test_what_was_scanned_ahead_comes_to_the_same(log: LogMaker) -> None:
    here, ahead = begun(log), begun(log)
    joined(here, pieces(log))
    for piece in pieces(log):
        assert ahead.join(piece, scan_piece(ahead.rules, piece)) == []
    ending, at_end = ended(ahead)
    expected, _ = ended(here)
    assert at_end == []
    assert (ending.roots, ending.size, ending.key_ids) == (expected.roots, expected.size, expected.key_ids)
    assert (ending.head_hash, ending.known) == (expected.head_hash, expected.known)


def test_after_a_number_out_of_place_roots_are_not_known(log: LogMaker) -> None:
    del log.lines[5]
    parts = pieces(log)
    walk = begun(log)
    assert joined(walk, parts) == [("entry.sequence", 6), ("segment.length", 8)]
    ending, _ = ended(walk)
    assert (ending.known, ending.roots, ending.edge) == (Known.DISORDERED, {}, None)
    assert ending.knows_rules


def test_after_a_missing_segment_roots_are_not_known(log: LogMaker) -> None:
    first, _, last = pieces(log)
    walk = begun(log, 8)
    assert joined(walk, [first, last]) == []
    ending, findings = ended(walk)
    assert (ending.known, findings, ending.roots) == (Known.DISORDERED, [], {})
    assert ending.knows_rules  # what follows names the rules from before


@pytest.mark.parametrize("is_missing", [False, True])
def test_what_follows_a_missing_segment_is_judged_by_the_rules_that_it_names(
    log: LogMaker, is_missing: bool
) -> None:
    for number in (9, 10):
        log.reseal(number, links=False, key=Key(2))
    first, middle, last = pieces(log)
    walk = begun(log, *([8] if is_missing else []))
    found = joined(walk, [first, last] if is_missing else [first, middle, last])
    assert found == [("entry.signing_key", 9), ("entry.chain", 10), ("entry.signing_key", 10)]
    assert ended(walk)[1] == []


def test_what_rests_on_rules_that_changed_in_a_missing_segment_is_counted(log: LogMaker) -> None:
    unknown = {"attestlog_rules": f"6:{'0' * 64}"}
    for number in range(8, SIZE):
        log.reseal(number, links=False, key=Key(2), environment=unknown)
    first, _, last = pieces(log)
    walk = begun(log, 8)
    assert [code for code, _ in joined(walk, [first, last])] == ["entry.chain"] * (SIZE - 9)
    ending, findings = ended(walk)
    assert (findings, ending.knows_rules) == ([("entry.unjudged", 8)], False)


def test_after_what_could_not_be_read_nothing_is_said_of_the_end(log: LogMaker) -> None:
    first, middle, last = pieces(log)
    lost = ListPiece(4, middle.data[:2], error="no such disk")
    walk = begun(log)
    again = ListPiece(4, [], error="no such disk", begins_segment=False)
    assert joined(walk, [first, lost, again, last]) == [("log.unreadable", 6)]
    ending, findings = ended(walk, last=100)
    assert (ending.known, findings, ending.roots) == (Known.LOST, [], {})
    assert ending.accounted == SIZE


def test_stored_hashes_stand_for_an_archived_segment(log: LogMaker) -> None:
    first, _, last = pieces(log)
    walk = begun(log)
    away = ListPiece(4, [], error="no such file", away="/mnt/cold")
    assert joined(walk, [first, away, last]) == [("segment.absent", 4)]
    ending, findings = ended(walk)
    assert (ending.known, findings) == (Known.ARCHIVED, [])
    assert ending.roots == {SIZE: root_of(log)}
    assert (ending.entries, ending.size) == (SIZE - WIDTH, SIZE)


def test_without_stored_hashes_an_archived_segment_is_lost(log: LogMaker) -> None:
    first, _, last = pieces(log)
    leaves = log.leaves()
    log.leaves = lambda: leaves[:6]  # type: ignore[method-assign]
    walk = begun(log)
    away = ListPiece(4, [], error="no such file", away="/mnt/cold")
    assert joined(walk, [first, away, last]) == [("segment.absent", 4)]
    assert ended(walk)[0].known is Known.LOST


def test_what_the_log_did_not_acknowledge_is_torn(log: LogMaker) -> None:
    parts = pieces(log)
    parts[-1].data.append(b"x" * 100)
    for acknowledged, code in ((SIZE, "log.torn_tail"), (SIZE + 1, "entry.malformed")):
        walk = begun(log)
        assert joined(walk, parts) == []
        ending, findings = ended(walk, acknowledged=acknowledged)
        assert findings == [(code, SIZE)]
        assert (ending.size, ending.accounted) == (SIZE, acknowledged)
        assert ending.head_hash == log.entry(SIZE - 1)["entry_hash"]


def test_a_piece_can_be_read_by_any_process() -> None:
    piece: Piece = ListPiece(0, [])  # it keeps the protocol, as the type checker sees
    assert list(piece.lines()) == []


# --- the states ---

TRANSITIONS = [
    # before, after disorder or a gap, an archived segment
    (Known.ALL, Known.DISORDERED, Known.ARCHIVED),
    (Known.DISORDERED, Known.DISORDERED, Known.LOST),
    (Known.ARCHIVED, Known.LOST, Known.ARCHIVED),
    (Known.LOST, Known.LOST, Known.LOST),
]


def test_every_state_has_its_transitions() -> None:
    assert [before for before, *_ in TRANSITIONS] == list(Known)
    for before, disordered, archived in TRANSITIONS:
        after = (before.after_disorder(), before.after_archived())
        assert after == (disordered, archived)
        for state in (*after, Known.LOST):  # nothing that was not known becomes known
            for fact in ("is_all_read", "has_roots"):
                assert getattr(before, fact) >= getattr(state, fact)


def test_no_two_states_know_the_same() -> None:
    facts = {(state.is_all_read, state.has_roots) for state in Known}
    assert len(facts) == len(Known)
