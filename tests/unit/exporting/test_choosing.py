"""Which entries an export has: those that a query with the same filter finds, as the log's lines."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.exports import erase_entry, made_log
from tests.support.logs import last_segment

from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.exporting.choosing import Choice
from attestlog._internal.query import query_log
from attestlog._internal.query.filter import parse_filter
from attestlog._internal.storage.contract import PendingErasure
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import CorruptError, QueryError

NOW_US = 1_761_825_605_000_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_log(tmp_path_factory.mktemp("choosing") / "log", 200).root


def chosen(log: Path, *, start: int = 0, stop: int | None = None, **members: Any) -> list[bytes]:
    source = open_source(log)
    choice = Choice(parse_filter({**members, "newest_first": False}), NOW_US, start=start, stop=stop)
    return [item.line for item in choice.entries(source, choice.end(source))]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"event_type": "VIOLATION"},
        {"action_type": "tool.*", "severity_min": 5},
        {"since": "3s"},
        {"since": "2025-10-30T12:00:03Z", "until": "2025-10-30T12:00:08Z"},
        {"until": "2025-10-30T12:00:00Z"},
        {"text": "soft launch"},
        {"payload": {"blocked": True}},
        {"actor_id": "agent-3", "limit": 4},
        {"entry_id": "00000000-0000-4000-8000-000000000000"},
    ],
)
def test_it_is_what_a_query_finds_oldest_first(log: Path, members: dict[str, Any]) -> None:
    found = list(query_log(log, parse_filter({**members, "newest_first": False}), now_us=NOW_US))
    source = open_source(log)
    assert chosen(log, **members) == [source.line(entry.sequence_number) for entry in found]


def test_a_range_and_a_filter_hold_together(log: Path) -> None:
    lines = list(open_source(log).lines())
    assert chosen(log, start=3, stop=7) == lines[3:7]
    assert chosen(log, start=3, stop=7, limit=2) == lines[3:5]
    assert chosen(log, start=3, stop=7, event_type="SHUTDOWN") == [lines[6]]
    assert chosen(log, start=len(lines)) == chosen(log, start=5, stop=5) == []
    assert chosen(log, stop=10_000) == lines


def test_what_is_no_range_cannot_be_asked() -> None:
    for start, stop in ((-1, None), (5, 4)):
        with pytest.raises(QueryError, match="not a range"):
            Choice(parse_filter({}), NOW_US, start=start, stop=stop)


def test_a_line_that_is_no_entry_is_damage(tmp_path: Path) -> None:
    log = made_log(tmp_path / "log")
    with last_segment(log.root).open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(CorruptError) as raised:
        chosen(log.root)
    assert raised.value.sequence_number == len(log.lines)


def test_a_payload_whose_erasure_a_crash_interrupted_is_not_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry that says it is erased is there, and so still is the payload."""
    log = made_log(tmp_path / "log", erase=False)
    before = log.lines[2]
    erase_entry(log, 2)
    log.lines[2] = before
    log.lay_out()
    saying = decode_line(log.lines[-1])
    pending = PendingErasure(erased_by=saying.sequence_number, entry_hash=saying.entry_hash)
    assert chosen(log.root)[2] == before
    monkeypatch.setattr(type(open_source(log.root)), "pending_erasure", lambda _: pending)
    lines = chosen(log.root)
    assert lines[2] == erase_line(before)
    assert lines[:2] + lines[3:] == log.lines[:2] + log.lines[3:]
    choice = Choice(parse_filter({}), NOW_US)
    assert list(choice.lines(open_source(log.root), len(lines))) == lines
    other = PendingErasure(erased_by=saying.sequence_number, entry_hash="0" * 64)
    monkeypatch.setattr(type(open_source(log.root)), "pending_erasure", lambda _: other)
    assert chosen(log.root)[2] == before
