"""What can be asked: filters, times, globs, words, payload conditions. No file, no clock."""

import fnmatch
import re
import sqlite3
import unicodedata
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.annotations import plain_type
from tests.support.logs import LogMaker, draft

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import EventType, decode_line
from attestlog._internal.core.glob import Glob
from attestlog._internal.query.filter import (
    CONDITIONS_MAX,
    PATTERN_LENGTH_MAX,
    TEXT_WORDS_MAX,
    Filter,
    FilterMembers,
    Matcher,
    parse_condition,
    parse_filter,
    parse_moment,
)
from attestlog._internal.query.index import decode_indexed
from attestlog._internal.query.words import _folded, contains, fold, fold_json, words
from attestlog.errors import QueryError

NOW_US = 1_761_825_600_000_000  # 2025-10-30T12:00:00Z


# Filters


def test_filter_from_members() -> None:
    filter_ = parse_filter(
        {"event_type": "VIOLATION", "severity_min": 7, "since": "7d", "payload": {"a.b": 1}}
    )
    assert filter_ == Filter(event_type=EventType.VIOLATION, severity_min=7, since="7d", payload={"a.b": 1})
    assert filter_.newest_first


@pytest.mark.parametrize(
    "members, member",
    [
        ({"event_type": "violation"}, "event_type"),
        ({"event_category": "BAD"}, "event_category"),
        ({"severity": 11}, "severity"),
        ({"severity_min": -1}, "severity_min"),
        ({"severity": "7"}, "severity"),
        ({"actor_type": "ROBOT"}, "actor_type"),
        ({"actor_id": ""}, "actor_id"),
        ({"execution_status": "OK"}, "execution_status"),
        ({"entry_id": "7"}, "entry_id"),
        ({"limit": 0}, "limit"),
        ({"cursor": -1}, "cursor"),
        ({"cursor": 2**53}, "cursor"),
        ({"text": 7}, "text"),
        ({"payload": []}, "payload"),
        ({"colour": "red"}, ""),
    ],
)
def test_bad_filter_names_its_member(members: dict[str, Any], member: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_filter(members)
    assert caught.value.member == member
    assert str(caught.value).startswith("filter: ")


@pytest.mark.parametrize(
    "members, member",
    [
        ({"since": "yesterday"}, "since"),
        ({"until": "2025-10-30T12:00:00"}, "until"),
        ({"text": ' "-*() '}, "text"),
        ({"text": "a " * (TEXT_WORDS_MAX + 1)}, "text"),
        ({"action_type": "*" * (PATTERN_LENGTH_MAX + 1)}, "action_type"),
        ({"payload": {"a": float("nan")}}, "payload"),
        ({"payload": {"a": 2**60}}, "payload"),
        ({"payload": {"a": {"b": object()}}}, "payload"),
        ({"payload": {"a..b": 1}}, "payload"),
        ({"payload": {"": 1}}, "payload"),
        ({"payload": {"\ud800": 1}}, "payload"),
        ({"payload": {"a": "\ud800"}}, "payload"),
        ({"payload": {f"a{n}": 1 for n in range(CONDITIONS_MAX + 1)}}, "payload"),
        ({"context": {f"a{n}": 1 for n in range(CONDITIONS_MAX + 1)}}, "context"),
        ({"context": {"a..b": 1}}, "context"),
        ({"context": {"a": 2**60}}, "context"),
        ({"actor_id": "\ud800"}, "actor_id"),
        ({"action_type": "\ud800*"}, "action_type"),
        ({"text": "a\ud800"}, "text"),
    ],
)
def test_filter_that_cannot_be_asked(members: dict[str, Any], member: str) -> None:
    with pytest.raises(QueryError) as caught:
        Matcher(Filter(**members), NOW_US)
    assert caught.value.member == member


def test_limits_are_allowed() -> None:
    payload = {f"a{n}": 1 for n in range(CONDITIONS_MAX)}
    Matcher(Filter(text="a " * TEXT_WORDS_MAX, action_type="*" * PATTERN_LENGTH_MAX, payload=payload), NOW_US)


@pytest.mark.parametrize(
    "text, path, value",
    [
        ("payload.task_id=T-1", "task_id", "T-1"),
        ("task_id=T-1", "task_id", "T-1"),
        ("payload.payload.x=1", "payload.x", 1),
        ("n=7", "n", 7),
        ("n=7.0", "n", 7.0),
        ('n="7"', "n", "7"),
        ("n=true", "n", True),
        ("n=null", "n", None),
        ("n=", "n", ""),
        ("a=b=c", "a", "b=c"),
        ("n=NaN", "n", "NaN"),
        ("n=12345678901234567890", "n", "12345678901234567890"),
        ('n={"a":[1]}', "n", {"a": [1]}),
    ],
)
def test_condition(text: str, path: str, value: object) -> None:
    assert parse_condition(text) == (path, value)


@pytest.mark.parametrize("text", ["", "payload", "payload.x", "=1", "payload.=1"])
def test_bad_condition(text: str) -> None:
    with pytest.raises(QueryError):
        parse_condition(text)


# Times


@pytest.mark.parametrize(
    "text, moment_us",
    [
        ("45s", NOW_US - 45_000_000),
        ("30m", NOW_US - 1_800_000_000),
        ("2h", NOW_US - 7_200_000_000),
        ("7d", NOW_US - 7 * 86_400_000_000),
        ("1w", NOW_US - 7 * 86_400_000_000),
        ("0s", NOW_US),
        ("999999999w", 0),
        ("2025-10-30T12:00:00Z", NOW_US),
        ("2025-10-30t12:00:00.5z", NOW_US + 500_000),
        ("2025-10-30 12:00:00.123456789Z", NOW_US + 123_456),
        ("2025-10-30T19:00:00+07:00", NOW_US),
        ("2025-10-30", NOW_US - 12 * 3_600_000_000),
        ("1969-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("9999-12-31T23:59:59-12:00", 253_402_300_799_999_999),
    ],
)
def test_moment(text: str, moment_us: int) -> None:
    assert parse_moment(text, NOW_US) == moment_us
    Matcher(Filter(since=text), NOW_US)  # each has a timestamp to compare with


@pytest.mark.parametrize(
    "text",
    ["", "7", "d", "-7d", "7 d", "7D", "1.5h", "٧d", "1234567890s", "2025-10-30T12:00:00", "2025-13-01",
     "2025-10-30T25:00:00Z", "2025-10-30T12:00Z", "now", "20251030", "2025-10-30T12:00:00+25:00"],
)  # fmt: skip
def test_bad_moment(text: str) -> None:
    with pytest.raises(QueryError, match="is not a time"):
        parse_moment(text, NOW_US)


# Globs


@pytest.mark.parametrize(
    "pattern, text, matches",
    [
        ("deploy", "deploy", True),
        ("deploy", "deploys", False),
        ("deploy", "Deploy", False),
        ("deploy*", "deploy", True),
        ("*", "", True),
        ("", "", True),
        ("", "x", False),
        ("*policy*", "modify_policy_rule", True),
        ("m*y*e", "modify_policy_rule", True),
        ("m*y*x", "modify_policy_rule", False),
        ("??", "ab", True),
        ("??", "abc", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b?*c", "abxc", True),
        ("a*b?*c", "abc", False),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("[!a]*", "[!a]x", True),
        (r"\*", "*", True),
        (r"\*", "x", False),
        (r"\?x", "?x", True),
        (r"\?x", "ax", False),
        (r"a\\*", "a\\b", True),
        ("a\\", "a\\", True),
        ("a.c", "abc", False),
        ("a*\n*b", "a\n\nb", True),
        ("%_", "ab", False),
        ("a*", "a\x00b", True),
        ("*b", "a\x00b", True),
    ],
)
def test_glob(pattern: str, text: str, matches: bool) -> None:
    assert Glob(pattern).matches(text) is matches


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_glob_is_the_shells(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) is (re.fullmatch(fnmatch.translate(pattern), text) is not None)


@given(st.text(max_size=8), st.text(max_size=8))
def test_glob_prefix_is_of_every_match(pattern: str, text: str) -> None:
    glob = Glob(pattern)
    if glob.matches(text):
        assert text.startswith(glob.prefix)
    assert not glob.is_literal or glob.matches(glob.prefix)


def test_glob_of_many_stars_does_not_explode() -> None:
    assert not Glob("*a" * 500 + "b").matches("a" * 256)


# Words


@pytest.mark.parametrize(
    "text, folded",
    [
        ("Deploy_the-APP v2.0", ["deploy", "the", "app", "v2", "0"]),
        ("an toàn là trên hết", ["an", "toan", "la", "tren", "het"]),
        ("Đến", ["den"]),
        ("Straße", ["strasse"]),
        ("“quoted”—dash", ["quoted", "dash"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("ﬁle №5", ["file", "no5"]),
        ("a\u0301b", ["ab"]),
        ("✓ 🛡 \x00", []),
        ("مُسْتَخدِم جديد", ["مستخدم", "جديد"]),
        ("שָׁלוֹם", ["שלום"]),
        ("का के को", ["का", "के", "को"]),
        ("हिन्दी", ["हिन्दी"]),
        ("เข้าสู่", list("เขาสู")),
        ("ວຽກ", list("ວຽກ")),
        ("ខ្មែរ", list("ខ្មែរ")),
        ("မြန်မာ", list("မြန်မာ")),
        ("می\u200cخواهم", ["میخواهم"]),
        ("a\u200bb soft\u00adhyphen", ["a", "b", "softhyphen"]),
        ("가나", ["가나".translate(_folded)]),
    ],
)
def test_words(text: str, folded: list[str]) -> None:
    assert words(fold(text)) == folded


@pytest.mark.parametrize(
    "text, asked, found",
    [
        ("مُسْتَخدِم جديد", "مستخدم", True),
        ("مستخدم جديد", "مُسْتَخدِم", True),
        ("का के को", "की", False),
        ("का के को", "के", True),
        ("เข้าสู่ระบบสำเร็จ", "ระบบ", True),
        ("เข้าสู่ระบบสำเร็จ", "ระบาย", False),
        ("ສະບາຍດີຊາວໂລກ", "ຊາວ", True),
        ("のがす", "のかす", False),
    ],
)
def test_marks_are_of_their_word_and_scripts_without_spaces_are_found_inside(
    text: str, asked: str, found: bool
) -> None:
    assert contains(fold(text), words(fold(asked))) is found


@given(st.text(max_size=30))
def test_a_text_is_found_in_any_normal_form(text: str) -> None:
    forms = {tuple(words(fold(unicodedata.normalize(form, text)))) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert len(forms) == 1


def test_folding_all_characters_keeps_memory_bounded() -> None:
    fold("".join(map(chr, range(0x10000, 0x30000))))
    assert len(_folded) <= 1 << 16


def test_escapes_are_separators() -> None:
    value = {"note": 'line one\nnext "x" \\tab\x01end'}
    assert words(fold_json(canonical.encode(value))) == ["note", "line", "one", "next", "x", "tab", "end"]


def test_contains_is_whole_words_in_a_row() -> None:
    assert contains("a safety floor breach", ["safety", "floor"])
    assert not contains("a safety floor breach", ["floor", "safety"])
    assert not contains("a safety floors", ["safety", "floor"])
    assert contains("x", ["x"])


@given(st.lists(st.text(max_size=20), max_size=4), st.text(min_size=1, max_size=6))
def test_the_index_and_the_check_agree_on_words(texts: list[str], asked: str) -> None:
    """SQLite's tokenizer, on folded text, finds exactly what `contains` does."""
    phrase = words(fold(asked))
    if not phrase:
        return
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE w USING fts5(t, content='', columnsize=0, tokenize='ascii')")
    folded = [fold(text) for text in texts]
    connection.executemany("INSERT INTO w (rowid, t) VALUES (?, ?)", enumerate(folded))
    found = connection.execute("SELECT rowid FROM w WHERE w MATCH ? ORDER BY 1", (f'"{" ".join(phrase)}"',))
    assert [n for (n,) in found] == [n for n, text in enumerate(folded) if contains(text, phrase)]
    connection.close()


# Matching an entry


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    log = LogMaker(tmp_path_factory.mktemp("log"))
    log.append(
        draft(
            1,
            event_type="VIOLATION",
            event_category="ERROR",
            severity=8,
            actor_type="HUMAN",
            actor_id="anna",
            execution_status="BLOCKED",
            error_details={"violation_type": "SAFETY_FLOOR_BREACH"},
            action_payload={
                "a": {"b": [1, {"c": "x"}], "0": "zero"},
                "t": True,
                "f": 0.5,
                "dotted.name": 1,
                "s/l~": 2,
                "none": None,
                "empty": "",
                "note": "an toàn",
            },
        )
    )
    return log.lines[1]


def matches(line: bytes, **members: Any) -> bool:
    return Matcher(Filter(**members), NOW_US).matches(decode_line(line), decode_indexed(line))


@pytest.mark.parametrize(
    "yes, no",
    [
        ({"event_type": "VIOLATION"}, {"event_type": "ACTION"}),
        ({"event_category": "ERROR"}, {"event_category": "NORMAL"}),
        ({"severity": 8}, {"severity": 7}),
        ({"severity_min": 8}, {"severity_min": 9}),
        ({"actor_type": "HUMAN"}, {"actor_type": "SYSTEM"}),
        ({"actor_id": "anna"}, {"actor_id": "ann"}),
        ({"execution_status": "BLOCKED"}, {"execution_status": "FAILED"}),
        ({"action_type": "execute_*"}, {"action_type": "execute"}),
        ({"since": "2025-10-30T12:00:01Z"}, {"since": "2025-10-30T12:00:01.000001Z"}),
        ({"until": "2025-10-30T12:00:01.000001Z"}, {"until": "2025-10-30T12:00:01Z"}),
        ({"text": "TOAN"}, {"text": "toa"}),
        ({"text": "breach anna"}, {"text": "breach bob"}),
        ({"text": "safety-floor"}, {"text": "floor-safety"}),
        ({"payload": {"a.b.0": 1}}, {"payload": {"a.b.0": 1.5}}),
        ({"payload": {"a.b.0": 1.0}}, {"payload": {"a.b.0": "1"}}),
        ({"payload": {"a.b.0": 1}}, {"payload": {"a.b.0": True}}),
        ({"payload": {"a.b.1.c": "x"}}, {"payload": {"a.b.2.c": "x"}}),
        ({"payload": {"a.b": [1, {"c": "x"}]}}, {"payload": {"a.b": [1]}}),
        ({"payload": {"a.0": "zero"}}, {"payload": {"a.00": "zero"}}),
        ({"payload": {"t": True}}, {"payload": {"t": 1}}),
        ({"payload": {"f": 0.5}}, {"payload": {"f": 0.50001}}),
        ({"payload": {"none": None}}, {"payload": {"missing": None}}),
        ({"payload": {"empty": ""}}, {"payload": {"empty": None}}),
        ({"payload": {"/dotted.name": 1}}, {"payload": {"dotted.name": 1}}),
        ({"payload": {"/s~1l~0": 2}}, {"payload": {"/s/l~": 2}}),
        ({"payload": {"note": "an toàn"}}, {"payload": {"note": "an toan"}}),
        ({"payload": {"t": True, "f": 0.5}}, {"payload": {"t": True, "f": 1}}),
    ],
)  # fmt: skip
def test_matching(line: bytes, yes: dict[str, Any], no: dict[str, Any]) -> None:
    assert matches(line, **yes)
    assert not matches(line, **no)


def test_erased_payload_has_no_members(line: bytes) -> None:
    members = msgspec.json.decode(line)
    erased = canonical.encode({**members, "action_payload": None})
    assert not matches(erased, payload={"t": True})
    assert not matches(erased, text="toan")
    assert not matches(erased, text="null")
    assert matches(erased, text="breach")


def test_the_typed_dict_is_the_filter() -> None:
    fields = {field.name: plain_type(field.type) for field in msgspec.structs.fields(Filter)}
    for_checkers = get_type_hints(FilterMembers)
    assert fields == {name: plain_type(annotation) for name, annotation in for_checkers.items()}
    assert not FilterMembers.__required_keys__
