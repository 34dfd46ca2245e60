"""The index and what is asked through it, against a reading of the whole log."""

import asyncio
import copy
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.descriptors import open_below
from tests.support.logs import START_US, GrowingLog, LogMaker, draft
from tests.support.repository import SOURCE

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import Entry, decode_line
from attestlog._internal.query import (
    Filter,
    Index,
    IndexPlace,
    Search,
    parse_filter,
    query_log,
    query_log_async,
    query_page,
    stats,
)
from attestlog._internal.query import database as database_module
from attestlog._internal.query import filter as filter_module
from attestlog._internal.query import index as index_module
from attestlog._internal.query import search as search_module
from attestlog._internal.query.filter import Matcher
from attestlog._internal.query.index import decode_indexed
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import CorruptError, NotFoundError, QueryError, StorageError

NOW_US = START_US + 3_600_000_000
TYPES = ["ACTION", "ACTION", "ACTION", "DECISION", "VIOLATION", "CHANGE"]
ACTIONS = ["deploy_service", "deploy_model", "review", "safety_floor_breach_attempt", "rev*w", "rev?w", "[x]"]
WORDS = ["alpha", "béta", "an toàn", "T-1", "x.y", '"quoted"', "NEAR", "OR", "東京", "col:on"]


def varied(number: int) -> dict[str, Any]:
    """A draft, always the same for a number, that differs from its neighbours in every filtered member."""
    chance = random.Random(number)
    return draft(
        number,
        event_type=chance.choice(TYPES),
        event_category=chance.choice(["NORMAL", "WARNING", "CRITICAL"]),
        actor_type=chance.choice(["HUMAN", "SYSTEM"]),
        actor_id=f"agent-{chance.randrange(6)}",
        actor_context={"session": f"s-{number % 5}", "tool": {"call_id": f"call-{number}"}},
        action_type=chance.choice(ACTIONS),
        execution_status=chance.choice(["SUCCESS", "SUCCESS", "BLOCKED"]),
        pillars_scores={"an_toan": chance.randrange(11)} if chance.random() < 0.5 else {},
        error_details={"reason": chance.choice(WORDS)} if chance.random() < 0.3 else None,
        action_payload={
            "number": number, "group": number % 7, "even": number % 2 == 0, "words": chance.sample(WORDS, 3),
            "deep": {"list": [number % 3, {"name": chance.choice(WORDS)}]},
        },
    )  # fmt: skip


def open_here(log: GrowingLog) -> list[str]:
    return open_below(log.root, Path(os.environ["ATTESTLOG_CACHE"]))


def make_log(root: Path, size: int = 120, segment_entries: int = 50) -> GrowingLog:
    log = GrowingLog(root, segment_entries=segment_entries)
    grow(log, size)
    return log


def grow(log: GrowingLog, size: int) -> None:
    for number in range(log.head.size, size):
        log.append(varied(number))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> GrowingLog:
    """120 entries in three segments; to be copied."""
    return make_log(tmp_path_factory.mktemp("made") / "log")


@pytest.fixture
def log(made: GrowingLog, tmp_path: Path) -> GrowingLog:
    """The made log, the test's own."""
    log = copy.copy(made)
    log.root, log.lines = tmp_path / "log", made.lines.copy()
    shutil.copytree(made.root, log.root)
    return log


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("ATTESTLOG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CHUNK_ENTRIES", 7)


def expected(log: LogMaker, filter_: Filter, lines: list[bytes] | None = None) -> list[int]:
    """What a reading of the whole log gives."""
    matcher = Matcher(filter_, NOW_US)
    found = [
        number
        for number, line in enumerate(lines or log.lines)
        if matcher.matches(decode_line(line), decode_indexed(line))
    ]
    ordered = found[::-1] if filter_.newest_first else found
    return ordered[: filter_.limit]


def numbers(entries: Iterator[Entry] | list[Entry]) -> list[int]:
    return [entry.sequence_number for entry in entries]


def ask(log: LogMaker, **members: Any) -> list[int]:
    return numbers(query_log(log.root, parse_filter(members), now_us=NOW_US))


# Filters through the index

FILTERS: list[dict[str, Any]] = [
    {},
    {"newest_first": False},
    {"event_type": "VIOLATION"},
    {"event_category": "CRITICAL", "newest_first": False},
    {"severity": 4},
    {"severity_min": 4},
    {"severity_min": 5, "severity": 1},
    {"actor_type": "HUMAN"},
    {"actor_id": "agent-3"},
    {"actor_id": "nobody"},
    {"action_type": "review"},
    {"action_type": "deploy_*", "newest_first": False},
    {"action_type": "*e*"},
    {"action_type": "rev*w"},
    {"action_type": r"rev\*w"},
    {"action_type": r"rev\?w"},
    {"action_type": "[x]"},
    {"action_type": "nothing*"},
    {"execution_status": "BLOCKED", "event_type": "ACTION", "actor_id": "agent-2"},
    {"since": "2025-10-30T12:00:30Z", "until": "2025-10-30T12:01:00Z"},
    {"since": "2025-10-30T12:00:30Z", "actor_id": "agent-1", "newest_first": False},
    {"since": "3590s"},
    {"until": "1d"},
    {"since": "2030-01-01"},
    {"text": "alpha"},
    {"text": "toan deploy"},
    {"text": "quoted"},
    {"text": '"quoted"'},
    {"text": "T-1"},
    {"text": "NEAR"},
    {"text": "OR"},
    {"text": "京"},
    {"text": "col:on"},
    {"text": "agent-4"},
    {"text": "alpha", "event_type": "VIOLATION", "newest_first": False},
    {"text": "reason"},
    {"payload": {"number": 77}},
    {"payload": {"group": 3}},
    {"payload": {"even": True}, "actor_id": "agent-2"},
    {"payload": {"deep.list.0": 2}},
    {"payload": {"deep.list.1.name": "béta"}},
    {"payload": {"deep.list.1.name": "beta"}},
    {"payload": {"deep": {"list": [1, {"name": "OR"}]}}},
    {"payload": {"words.0": '"quoted"'}, "text": "alpha"},
    {"payload": {"missing": 1}},
    {"context": {"session": "s-3"}},
    {"context": {"tool.call_id": "call-77"}},
    {"context": {"session": "s-3"}, "payload": {"group": 3}, "text": "alpha"},
    {"context": {"number": 77}},
    {"payload": {"session": "s-3"}},
    {"text": "call"},
    {"limit": 5},
    {"limit": 5, "event_type": "ACTION", "newest_first": False},
    {"cursor": 60, "limit": 10},
    {"cursor": 60, "newest_first": False},
    {"cursor": 0},
    {"cursor": 500, "newest_first": False},
]


@pytest.mark.parametrize("members", FILTERS, ids=json.dumps)
@pytest.mark.parametrize("few", [0, 500])
def test_the_index_finds_what_reading_everything_finds(
    log: GrowingLog, members: dict[str, Any], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "_FEW", few)  # by the words' index, and without it
    filter_ = parse_filter(members)
    wanted = expected(log, msgspec.structs.replace(filter_, limit=None))
    if filter_.cursor is not None:
        after = wanted.index(filter_.cursor) + 1 if filter_.cursor in wanted else len(wanted)
        wanted = wanted[after:]
    wanted = wanted[: filter_.limit]
    assert ask(log, **members) == wanted


def test_filters_find_something(log: GrowingLog) -> None:
    """The comparison above shows little if most of it compares nothing with nothing."""
    found = [bool(ask(log, **members)) for members in FILTERS]
    assert sum(found) >= len(FILTERS) - 12


def test_entry_id(log: GrowingLog) -> None:
    wanted = log.entry(77)["entry_id"]
    assert ask(log, entry_id=wanted) == [77]
    assert ask(log, entry_id=wanted, actor_id="nobody") == []
    assert ask(log, entry_id="11111111-1111-4111-8111-111111111111") == []


def test_entries_are_the_logs_own(log: GrowingLog) -> None:
    entries = list(query_log(log.root, parse_filter({"newest_first": False}), now_us=NOW_US))
    assert entries == [decode_line(line) for line in log.lines]


def test_members_may_be_given_instead_of_a_filter(log: GrowingLog) -> None:
    assert numbers(query_log(log.root, event_type="VIOLATION", now_us=NOW_US)) == ask(
        log, event_type="VIOLATION"
    )
    assert numbers(query_page(log.root, limit=3).entries) == [119, 118, 117]
    with pytest.raises(QueryError):
        query_log(log.root, Filter(), event_type="VIOLATION")


def test_a_bad_filter_is_refused_before_the_first_entry_is_asked_for(log: GrowingLog, cache: Path) -> None:
    with pytest.raises(QueryError):
        query_log(log.root, Filter(since="soon"), now_us=NOW_US)
    assert not cache.exists()


def test_many_keys_are_walked_by_entry(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_KEYS_MAX", 2)
    for members in ({"action_type": "*e*"}, {"severity_min": 1, "actor_type": "HUMAN"}):
        assert ask(log, **members) == expected(log, parse_filter(members))


def test_the_largest_question_is_one_sqlite_takes(log: GrowingLog) -> None:
    """A question SQLite refuses would look like a broken index."""
    before = ask(log)
    payload = {f"a{n}": "word " * 40 for n in range(filter_module.CONDITIONS_MAX)}
    with Index.open(log.root) as index:
        inode = index_path(log).stat().st_ino
        assert ask(log, text="w " * filter_module.TEXT_WORDS_MAX, payload=payload, actor_type="HUMAN") == []
        assert ask(log, payload={"a": "x" * 1_000_000}) == []
        assert stats(log.root, top=10**30, now_us=NOW_US).entries == 120
        assert index.catch_up() == 0
    assert index_path(log).stat().st_ino == inode
    assert ask(log) == before


def test_names_with_nul_are_found(log: GrowingLog) -> None:
    log.append(draft(1, actor_id="a\x00b", action_type="x\x00y"))
    for members in (
        {"actor_id": "a\x00b"}, {"action_type": "x\x00y"}, {"action_type": "x*y"}, {"action_type": "?\x00*"},
        {"text": "b y"},
    ):  # fmt: skip
        assert ask(log, **members) == [120]
    assert ask(log, actor_id="a") == []


def test_index_may_change_threads_and_says_when_it_is_closed(log: GrowingLog) -> None:
    found = query_log(log.root, Filter(limit=3), now_us=NOW_US)
    first = next(found)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, found).result()
    assert numbers([first, *rest]) == [119, 118, 117]
    index = Index.open(log.root)
    index.close()
    with pytest.raises(StorageError, match="closed"):
        index.catch_up()
    assert index_path(log).exists()


# Pages


def pages(log: LogMaker, between: Callable[[], None] = lambda: None, **members: Any) -> list[list[int]]:
    found = []
    cursor = None
    while True:
        page = query_page(log.root, parse_filter({**members, "cursor": cursor}), now_us=NOW_US)
        found.append(numbers(page.entries))
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor
        between()


@pytest.mark.parametrize("limit", [1, 7, 40, 119, 120, 121])
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_are_the_whole_without_gap_or_repetition(
    log: GrowingLog, limit: int, newest_first: bool
) -> None:
    found = pages(log, limit=limit, newest_first=newest_first)
    assert [n for page in found for n in page] == sorted(range(120), reverse=newest_first)
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_pages_of_a_filter_end_where_nothing_more_matches(log: GrowingLog) -> None:
    found = pages(log, limit=4, text="alpha", event_type="ACTION")
    assert [n for page in found for n in page] == ask(log, text="alpha", event_type="ACTION")


def test_newest_first_pages_are_stable_while_the_log_grows(log: GrowingLog) -> None:
    before = ask(log, event_type="ACTION")
    found = pages(log, lambda: grow(log, log.head.size + 9), limit=6, event_type="ACTION")
    assert [n for page in found for n in page] == before


def test_oldest_first_pages_take_in_what_is_new(log: GrowingLog) -> None:
    once = iter([130])
    found = pages(log, lambda: grow(log, next(once, 130)), limit=50, newest_first=False)
    assert [n for page in found for n in page] == list(range(130))


def test_pages_are_bounded_in_entries_and_bytes(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "PAGE_ENTRIES_MAX", 10)
    assert len(query_page(log.root, Filter(limit=50), now_us=NOW_US).entries) == 10
    assert ask(log) == list(range(119, -1, -1))
    monkeypatch.setattr(search_module, "PAGE_SIZE_MAX_BYTES", 3_000)
    found = pages(log)
    assert [n for page in found for n in page] == list(range(119, -1, -1))
    assert {len(page) for page in found} <= {1, 2, 3}


def test_cursor_outlives_a_new_index(log: GrowingLog) -> None:
    first = query_page(log.root, Filter(limit=50), now_us=NOW_US)
    index_path(log).unlink()
    second = query_page(log.root, Filter(limit=50, cursor=first.next_cursor), now_us=NOW_US)
    assert numbers(second.entries) == list(range(69, 19, -1))


# Catching up


def test_catching_up_indexes_only_what_is_new(log: GrowingLog, small_chunks: None) -> None:
    heard: list[tuple[int, int]] = []
    with Index.open(log.root) as index:
        assert index.catch_up(lambda done, total: heard.append((done, total))) == 120
        assert index.catch_up() == 0
        grow(log, 131)
        assert index.catch_up() == 11
        assert index.size == 131
    assert heard == [(min(done, 120), 120) for done in range(7, 127, 7)]
    assert ask(log) == list(range(130, -1, -1))


def test_chunks_are_bounded_in_bytes(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "CHUNK_SIZE_BYTES", 4_000)
    sizes: list[int] = []
    with Index.open(log.root) as index:
        index.catch_up(lambda done, _: sizes.append(done))
    assert sizes[-1] == 120
    assert len(sizes) > 30


def test_torn_tail_is_not_indexed(log: GrowingLog) -> None:
    line = log.lines[-1]
    log.write_raw(line[:100])
    assert ask(log, limit=1) == [119]
    with log.path_of(119).open("ab") as file:
        file.truncate(log.path_of(119).stat().st_size - 100)
    grow(log, 121)
    assert ask(log, limit=1) == [120]


def test_lines_that_are_no_entries_are_noted(log: GrowingLog) -> None:
    path = log.path_of(60)
    lines = path.read_bytes().splitlines(keepends=True)
    wrong = json.loads(lines[20])
    lines[10] = b"rubbish\n"
    lines[20] = canonical.encode({**wrong, "sequence_number": 3}) + b"\n"
    lines[30] = b'{"entry_hash":"\xff"}\n'
    path.write_bytes(b"".join(lines))
    with Index.open(log.root) as index:
        index.catch_up()
        assert index.unreadable() == [60, 70, 80]
    assert sorted({*range(120)} - {*ask(log)}) == [60, 70, 80]
    assert stats(log.root).unreadable == 3


def test_missing_segment_is_said(log: GrowingLog) -> None:
    log.path_of(60).unlink()
    with pytest.raises(CorruptError):
        ask(log)


def test_no_log_and_no_entry(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        query_page(tmp_path / "none")
    (tmp_path / "empty" / "entries").mkdir(parents=True)
    with pytest.raises(NotFoundError):
        query_page(tmp_path / "empty")


# An index that does not fit the log


def index_path(log: LogMaker) -> Path:
    with Index.open(log.root) as index:
        return Path(index.path)


def use_index(log: LogMaker, *statements: str) -> None:
    connection = sqlite3.connect(index_path(log))
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_index_of_another_log_is_made_anew(log: GrowingLog, tmp_path: Path) -> None:
    other = make_log(tmp_path / "other", 40)
    # Same ids, same times, another genesis: LogMaker draws nothing by chance but the signature.
    assert other.lines[0] != log.lines[0]
    ask(other)
    index_path(log).write_bytes(index_path(other).read_bytes())
    assert ask(log) == list(range(119, -1, -1))


def test_log_restored_to_an_earlier_size_and_grown_differently(log: GrowingLog, tmp_path: Path) -> None:
    ask(log)
    path = log.path_of(119)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:10]))
    assert ask(log, newest_first=False) == list(range(110))
    other = GrowingLog(tmp_path / "other", segment_entries=50, first_id=1_000)
    other.lines, other.head = log.lines[:1], other.head
    grow(other, 121)
    for source in sorted((other.root / "entries").iterdir()):
        (log.root / "entries" / source.name).write_bytes(source.read_bytes())
    (log.root / "entries" / log.path_of(0).name).write_bytes(other.path_of(0).read_bytes())
    found = list(query_log(log.root, Filter(newest_first=False), now_us=NOW_US))
    assert [entry.entry_id for entry in found] == [
        json.loads(line)["entry_id"] for line in log.stored_lines()
    ]


@pytest.mark.parametrize("number", [10, 70, 118, 119])
def test_erased_payload_leaves_the_index(log: GrowingLog, number: int) -> None:
    secret = "zweiundvierzig"
    log.reseal(number, action_payload={"note": secret})
    log.write_entries()
    assert ask(log, text=secret) == [number]
    assert secret.encode() in index_path(log).read_bytes() or any(
        secret.encode() in path.read_bytes() for path in index_path(log).parent.iterdir()
    )
    path = log.path_of(number)
    path.write_bytes(path.read_bytes().replace(b'{"note":"' + secret.encode() + b'"}', b"null"))
    assert ask(log, text=secret) == []
    assert ask(log) == list(range(119, -1, -1))
    assert not any(secret.encode() in path.read_bytes() for path in index_path(log).parent.iterdir())


def test_erased_words_are_not_left_in_free_pages(log: GrowingLog) -> None:
    chance, secrets = random.Random(1), ""
    for number in range(20, 60):
        secrets = " ".join(f"{chance.getrandbits(40):x}zweiundvierzig" for _ in range(200))
        log.reseal(number, links=False, action_payload={"note": secrets})
    log.write_entries()
    assert len(ask(log, payload={"note": secrets})) == 1
    for path in (log.root / "entries").iterdir():
        lines = [canonical.decode(line) for line in path.read_bytes().splitlines()]
        erased = [{**members, "action_payload": None} for members in lines]
        path.write_bytes(b"".join(canonical.encode(members) + b"\n" for members in erased))
    assert ask(log, text=secrets.split()[0]) == []
    assert not any(b"zweiundvierzig" in path.read_bytes() for path in index_path(log).parent.iterdir())


def test_segment_replaced_just_after_it_was_compared(
    log: GrowingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(log)
    path = log.path_of(119)
    path.write_bytes(path.read_bytes().replace(b'"number":110', b'"number":1'))
    grow(log, 121)
    fits, blind = Index._fits, iter([True, True])
    monkeypatch.setattr(Index, "_fits", lambda index: next(blind, False) or fits(index))
    with Index.open(log.root) as index:
        index.catch_up()
        assert next(blind, None) is None
    assert index_offsets(log) == index_offsets_of_lines(log)


def index_offsets(log: LogMaker) -> list[int]:
    connection = sqlite3.connect(index_path(log))
    found = [offset for (offset,) in connection.execute("SELECT offset FROM entries ORDER BY n")]
    connection.close()
    return found


def index_offsets_of_lines(log: GrowingLog) -> list[int]:
    return [line.offset for line in open_source(log.root).located_lines()]


def test_entry_replaced_in_place_is_seen_when_it_is_read(log: GrowingLog) -> None:
    ask(log)
    number = ask(log, actor_id="agent-2")[-1]
    path, line = log.path_of(number), log.lines[number]
    forged = line.replace(b"agent-2", b"agent-9").replace(log.entry(number)["entry_hash"].encode(), b"0" * 64)
    path.write_bytes(path.read_bytes().replace(line, forged))
    assert ask(log) == list(range(119, -1, -1))
    assert ask(log, actor_id="agent-9") == [number]


@pytest.mark.parametrize(
    "damage",
    [
        "PRAGMA user_version = 99",
        "UPDATE log SET genesis_hash = 'x'",
        "DELETE FROM log",
        "DROP TABLE facets",
        "DROP TABLE words",
        "ALTER TABLE entries RENAME TO gone",
        "DROP INDEX by_actor",
        "UPDATE entries SET offset = offset + 1",
        "UPDATE entries SET offset = 'x'",
        "UPDATE entries SET size_bytes = -1",
        "UPDATE entries SET entry_hash = zeroblob(32)",
        "UPDATE segments SET size_bytes = size_bytes + 1",
        "UPDATE segments SET first = first + 1",
        "DELETE FROM segments",
        "INSERT INTO segments VALUES (500, 1)",
        "UPDATE entries SET n = n + 1000",
    ],
)
def test_damaged_index_is_made_anew(log: GrowingLog, damage: str) -> None:
    wanted = ask(log, actor_id="agent-2", text="alpha")
    use_index(log, damage)
    assert ask(log, actor_id="agent-2", text="alpha") == wanted
    assert ask(log) == list(range(119, -1, -1))


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE entries SET actor = (SELECT id FROM actors WHERE name = 'agent-2')",
        "UPDATE entries SET facet = (SELECT id FROM facets WHERE event_type = 'VIOLATION' LIMIT 1)",
        "UPDATE facets SET event_type = 'VIOLATION' || id",
        "UPDATE entries SET timestamp = '2025-10-30T12:00:05.000000Z'",
        "UPDATE actors SET entries = 0",
        "DELETE FROM entries WHERE n % 2 = 0",
    ],
)
def test_lying_index_can_omit_and_cannot_invent(log: GrowingLog, lie: str) -> None:
    asked: list[dict[str, Any]] = [
        {"actor_id": "agent-2"},
        {"event_type": "VIOLATION"},
        {"since": "2025-10-30T12:00:04Z", "until": "2025-10-30T12:00:06Z"},
    ]
    truth = [ask(log, **members) for members in asked]
    use_index(log, lie)
    for members, wanted in zip(asked, truth, strict=True):
        assert set(ask(log, **members)) <= set(wanted)


def test_moved_words_cannot_invent(log: GrowingLog) -> None:
    wanted = ask(log, text="alpha")
    use_index(log, "INSERT INTO words (rowid, payload) SELECT n + 1, 'alpha' FROM entries")
    assert ask(log, text="alpha") == wanted


@pytest.mark.parametrize("start", [0, 20, 100, 4_096, 20_000])
@pytest.mark.parametrize("size", [1, 100, 5_000])
def test_overwritten_pages_never_show_as_an_error(log: GrowingLog, start: int, size: int) -> None:
    ask(log)
    data = bytearray(index_path(log).read_bytes())
    data[start : start + size] = b"\xa5" * size
    index_path(log).write_bytes(data)
    truth = set(ask_reading(log, event_type="ACTION"))
    assert set(ask(log, event_type="ACTION")) <= truth


def ask_reading(log: LogMaker, **members: Any) -> list[int]:
    return expected(log, parse_filter(members))


@pytest.mark.parametrize("content", [b"", b"x" * 5_000, b"SQLite format 3\x00" + b"\x00" * 500])
def test_file_that_is_no_database_is_replaced(log: GrowingLog, content: bytes) -> None:
    index_path(log).write_bytes(content)
    assert ask(log, limit=1) == [119]
    with Index.open(log.root) as index:
        assert index.place is IndexPlace.CACHE


@pytest.mark.parametrize("cut", [1, 4_096, 30_000])
def test_truncated_index_is_made_anew(log: GrowingLog, cut: int) -> None:
    ask(log)
    os.truncate(index_path(log), index_path(log).stat().st_size - cut)
    assert ask(log) == list(range(119, -1, -1))


def test_somebody_elses_database_is_not_altered(log: GrowingLog, tmp_path: Path) -> None:
    precious = tmp_path / "precious.db"
    connection = sqlite3.connect(precious)
    connection.execute("CREATE TABLE entries (letter)")
    connection.commit()
    connection.close()
    before = precious.read_bytes()
    path = index_path(log)
    path.unlink()
    path.symlink_to(precious)
    assert ask(log, limit=1) == [119]
    assert not path.is_symlink()
    path.unlink()
    os.link(precious, path)
    assert ask(log, limit=1) == [119]
    assert precious.read_bytes() == before


def test_trigger_in_a_planted_index_only_hurts_the_index(log: GrowingLog) -> None:
    with Index.open(log.root) as index:
        index.catch_up()
    use_index(log, "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END")
    grow(log, 125)
    assert set(ask(log)) <= set(range(125))


def test_index_made_anew_between_pages_by_another(log: GrowingLog, small_chunks: None) -> None:
    with Index.open(log.root) as index:
        index.catch_up()
        search = Search(index, Filter(), NOW_US)
        first = search.page(50, None)
        with sqlite3.connect(index_path(log)) as other:
            database_module.create_tables(other, index.genesis_hash)
        other.close()
        second = search.page(50, first.next_cursor)
    assert numbers(second.entries) == list(range(69, 19, -1))


# Where it lives


def forbid(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """As on read-only media, also for root."""
    make = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT and any(Path(path).is_relative_to(folder) for folder in folders):
            raise PermissionError(13, "Permission denied", str(path))
        return make(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refuse)


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def test_reading_never_writes_into_the_log(log: GrowingLog, cache: Path) -> None:
    before = files(log.root)
    with Index.open(log.root) as index:
        assert index.place is IndexPlace.CACHE
        assert index.catch_up() == 120
        assert {path.stat().st_mode & 0o777 for path in Path(index.path).parent.iterdir()} == {0o600}
    with Index.open(log.root) as index:
        assert index.catch_up() == 0
    assert Path(index.path).is_relative_to(cache)
    assert ask(log, limit=2) == [119, 118]
    assert stats(log.root, now_us=NOW_US).entries == 120
    assert files(log.root) == before


def test_an_index_that_came_with_a_log_is_ignored(log: GrowingLog) -> None:
    ask(log)
    planted = log.root / "index.db"
    planted.write_bytes(index_path(log).read_bytes())
    connection = sqlite3.connect(planted)
    connection.execute("DELETE FROM entries")
    connection.commit()
    connection.close()
    before = files(log.root)
    assert ask(log) == list(range(119, -1, -1))
    assert files(log.root) == before


def test_without_a_cache_the_index_is_in_memory(
    log: GrowingLog, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid(monkeypatch, cache)
    with Index.open(log.root) as index:
        assert index.place is IndexPlace.MEMORY
    assert ask(log, limit=2) == [119, 118]


def test_without_a_home_the_index_is_in_memory(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("could not determine home directory")

    for name in ("ATTESTLOG_CACHE", "ATTESTLOG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with Index.open(log.root) as index:
        assert index.place is IndexPlace.MEMORY


def test_a_cache_that_is_a_file_is_none(log: GrowingLog, cache: Path) -> None:
    cache.write_text("not a directory")
    with Index.open(log.root) as index:
        assert index.place is IndexPlace.MEMORY


def test_index_that_cannot_be_replaced_says_so(log: GrowingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: object, genesis_hash: str) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(index_module, "create_tables", fail)
    with pytest.raises(StorageError, match="cannot be used"):
        ask(log)


# Others at the same time

CATCH_UP = """
import sys
from attestlog._internal.query import Index, index
index.CHUNK_ENTRIES = 11
with Index.open(sys.argv[1]) as found:
    print("ready", flush=True)
    sys.stdin.readline()
    found.catch_up()
    print(found.size)
"""

KILLED = """
import os, sys
from attestlog._internal.query import Index, index
index.CHUNK_ENTRIES = 11
write = index._Chunk.write
def crash(chunk):
    write(chunk)
    if chunk._start >= 44:
        os._exit(9)  # within the transaction
index._Chunk.write = crash
with Index.open(sys.argv[1]) as found:
    found.catch_up()
"""


def start(script: str, log: LogMaker) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(log.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip


def test_two_processes_catch_up_at_once(log: GrowingLog) -> None:
    grow(log, 400)
    processes = [start(CATCH_UP, log) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert outputs == ["400\n"] * 3
    assert_sound(log, 400)


def test_crash_while_indexing_loses_one_transaction(log: GrowingLog) -> None:
    process = start(KILLED, log)
    process.communicate(timeout=120)
    assert process.returncode == 9
    with Index.open(log.root) as index:
        assert index.catch_up() == 120 - 44
    assert_sound(log, 120)


def assert_sound(log: LogMaker, size: int) -> None:
    """Every line indexed once, and every count right."""
    connection = sqlite3.connect(index_path(log))
    for counted, count in (
        ("SELECT count(*) FROM entries", size),
        ("SELECT count(*) FROM words WHERE words MATCH 'number'", size - 1),  # all but the genesis entry
        ("SELECT sum(entries) FROM facets", size),
        ("SELECT sum(entries) FROM actors", size),
        ("SELECT sum(entries) FROM actions", size),
        ("SELECT size FROM log", size),
    ):
        assert connection.execute(counted).fetchone() == (count,), counted
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert ask(log, actor_id="agent-2") == expected(log, parse_filter({"actor_id": "agent-2"}))


# Figures


def test_figures(log: GrowingLog) -> None:
    log.append_at(START_US + 2 * 86_400_000_000, *(varied(number) for number in range(120, 150)))
    found = stats(log.root, top=3, now_us=NOW_US)
    entries = [decode_line(line) for line in log.lines]
    assert found.entries == 150
    assert found.size_bytes == sum(len(line) + 1 for line in log.lines)
    assert (found.first_timestamp, found.last_timestamp) == (entries[0].timestamp, entries[-1].timestamp)
    for member, counts in (
        ("event_type", found.by_event_type), ("event_category", found.by_event_category),
        ("severity", found.by_severity), ("actor_type", found.by_actor_type),
        ("execution_status", found.by_execution_status),
    ):  # fmt: skip
        values = [str(getattr(entry, member)) for entry in entries]
        assert counts == {value: values.count(value) for value in values}
    assert found.violations == found.by_event_type["VIOLATION"]
    assert [(day.day, day.entries) for day in found.days] == [("2025-10-30", 120), ("2025-11-01", 30)]
    scores = [entry.composite_score for entry in entries[120:] if entry.composite_score is not None]
    assert found.days[1].averages.composite == pytest.approx(sum(scores) / len(scores))
    assert found.days[1].averages.duong_dai is None
    by_actor = [entry.actor_id for entry in entries]
    assert found.actor_count == len(set(by_actor))
    ranked = sorted(set(by_actor), key=lambda actor: (-by_actor.count(actor), actor))[:3]
    assert [(actor.actor_id, actor.entries) for actor in found.top_actors] == [
        (actor, by_actor.count(actor)) for actor in ranked
    ]
    bad = [entry for entry in entries if entry.event_type == "VIOLATION" and entry.actor_id == ranked[0]]
    assert found.top_actors[0].violations == len(bad)


def test_figures_over_a_span(log: GrowingLog) -> None:
    found = stats(log.root, since="2025-10-30T12:00:30Z", until="2025-10-30T12:01:00Z", now_us=NOW_US)
    assert found.entries == 30
    assert sum(found.by_event_type.values()) == 30
    empty = stats(log.root, since="2030-01-01", now_us=NOW_US)
    assert (empty.entries, empty.size_bytes, empty.violations, empty.days, empty.top_actors) == (
        0,
        0,
        0,
        [],
        [],
    )
    assert empty.averages.composite is None
    with pytest.raises(QueryError):
        stats(log.root, since="soon")


# What it costs to load


def test_importing_the_package_does_not_load_the_index() -> None:
    script = (
        "import attestlog, sys; print('sqlite3' in sys.modules, 'attestlog._internal.query' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    assert done.stdout == "False False\n"


# --- asyncio ---


def in_async(*arguments: Any, stop: int | None = None, **members: Any) -> list[Entry]:
    """What `query_log_async` gives, up to `stop` entries."""

    async def ask() -> list[Entry]:
        found: list[Entry] = []
        async with aclosing(query_log_async(*arguments, **members)) as entries:  # type: ignore[type-var]
            async for entry in entries:
                found.append(entry)
                if len(found) == stop:
                    break
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "members",
    [{}, {"actor_id": "agent-3"}, {"event_type": "VIOLATION", "limit": 3}, {"text": "no such words"}],
)
def test_asked_in_asyncio_the_answer_is_the_same(tmp_path: Path, members: dict[str, Any]) -> None:
    log = make_log(tmp_path / "log", size=300)
    assert in_async(log.root, **members) == list(query_log(log.root, **members))


def test_what_cannot_be_asked_is_refused_at_once_in_asyncio_too(tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        query_log_async(tmp_path, since="yesterday or so")
    with pytest.raises(NotFoundError):
        in_async(tmp_path / "none")


def test_a_task_that_stops_reading_leaves_nothing_open(tmp_path: Path) -> None:
    log = make_log(tmp_path / "log", size=200)
    in_async(log.root)  # the index is made
    before = open_here(log)
    assert len(in_async(log.root, stop=5)) == 5
    assert open_here(log) == before


def test_a_task_that_is_cancelled_while_a_page_is_read_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = make_log(tmp_path / "log", size=200)
    in_async(log.root)
    reading, go_on = threading.Event(), threading.Event()
    catch_up = Index.catch_up

    def held(index: Index) -> None:
        reading.set()
        assert go_on.wait(20)
        catch_up(index)

    async def main() -> None:
        task = asyncio.create_task(read())
        await asyncio.to_thread(reading.wait, 20)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    async def read() -> None:
        async for _ in query_log_async(log.root):
            raise AssertionError("it was cancelled before")

    monkeypatch.setattr(Index, "catch_up", held)
    before = open_here(log)
    asyncio.run(main())
    assert open_here(log) == before
