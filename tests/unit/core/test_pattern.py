"""Patterns: what is found is the longest at each place, as a slow reference finds it; the rest is refused."""

import contextlib
import re
import re._parser as sre  # type: ignore[import-not-found]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestlog._internal.core import pattern as pattern_module
from attestlog._internal.core.pattern import NODES_MAX, REPEAT_MAX, Pattern, PatternError


@pytest.mark.parametrize(
    "source, text, found",
    [
        ("CASE-[0-9]+", "see CASE-17, CASE-x CASE-1017", ["CASE-17", "CASE-1017"]),
        ("a|ab|abc", "abcab", ["abc", "ab"]),
        (r"\bid:\s?\w{3,5}\b", "id: abcd, xid:abc id:ab", ["id: abcd"]),
        ("^a.|.b$", "axyb", ["ax", "yb"]),
        (r"\Aa|b\z", "aab", ["a", "b"]),
        ("(?i)key=[^ ]+", "KEY=x1 Key=y", ["KEY=x1", "Key=y"]),
        ("(?i:k)ey", "Key KEy key", ["Key", "key"]),
        ("[^a-c]+", "abxcdé", ["x", "dé"]),
        (r"[\d\-.]+", "tel 1-2.3", ["1-2.3"]),
        ("[]x]+", "a]x", ["]x"]),
        (r"[\]\\-]+", "a]-\\", ["]-\\"]),
        ("a.c", "a\nc abc", ["abc"]),
        ("(a|b(c|d)){2}x{0,2}y*", "abcxxx", ["abcxx"]),
        (r"\x41\u0042\t\.", "AB\t.", ["AB\t."]),
        ("x*", "axxb", ["xx"]),
        ("", "abc", []),
        ("mật khẩu: .+", "mật khẩu: hunter2", ["mật khẩu: hunter2"]),
        (r"\W+", "aé!b", ["é!"]),
        (r"\D\S", "1a2b3", ["a2", "b3"]),
        (r"\Bb\B", "abc b", ["b"]),
    ],
)
def test_matches_are_the_longest_and_do_not_overlap(source: str, text: str, found: list[str]) -> None:
    assert [text[start:stop] for start, stop in Pattern(source).spans(text)] == found


@pytest.mark.parametrize(
    "source, reason",
    [
        (r"(a)\1", "'\\1' is not known at character 6"),
        ("a(?=b)", "only groups"),
        ("(?<=a)b", "only groups"),
        ("(?>a)", "only groups"),
        ("(?P<x>a)", "only groups"),
        ("(?m)a", "only groups"),
        ("a*?", "shortest match"),
        ("a++", "repetition of a repetition"),
        ("a{1,2}{3}", "repetition of a repetition"),
        ("*a", "'*' has no meaning here"),
        ("a|*", "'*' has no meaning here"),
        ("(a", "'(' without ')'"),
        ("a)", "')' without '('"),
        ("[a", "ends too early"),
        ("[z-a]", "goes down"),
        (r"[\d-z]", "has no two ends"),
        ("[[:alpha:]]", "is not known"),
        ("a\\", "ends too early"),
        (r"\p{L}", "'\\p' is not known"),
        (r"\xZZ", "without its digits"),
        ("a{2,1}", "goes down"),
        ("a{,2}", "begins no count"),
        ("a{x}", "begins no count"),
        ("a{", "begins no count"),
        ("}", "'}' has no meaning here"),
        (f"a{{{REPEAT_MAX + 1}}}", "a count is not from 0 to 1000"),
        ("(a{50}){50}", "is too large"),
        ("a" * (NODES_MAX + 1), "is too large"),
        ("(" * 60 + "a" + ")" * 60, "groups stand more than 50 deep"),
    ],
)
def test_what_is_not_linear_is_refused(source: str, reason: str) -> None:
    with pytest.raises(PatternError, match=re.escape(reason)):
        Pattern(source)


@given(st.text(max_size=20))
def test_any_text_is_a_pattern_or_is_refused(source: str) -> None:
    with contextlib.suppress(PatternError):
        assert Pattern(source).spans("") == []
        Pattern(source).spans("aab 12\n" + source)


PIECES = ["a", "b", "ab", "[ab]", "[^a]", ".", r"\d", r"\w", r"\b", r"\B", "^", "$", "(?i:B)", "1", " "]
SOURCES = st.recursive(
    st.sampled_from(PIECES),
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map("(?:{0[0]}|{0[1]})".format)
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"])).map(
            "(?:{0[0]}){0[1]}".format
        )
    ),
    max_leaves=8,
)
TEXTS = st.text("aabbcB1 _\n", max_size=12)


@given(SOURCES, TEXTS)
def test_a_slow_reference_finds_the_same(source: str, text: str) -> None:
    assert Pattern(source).spans(text) == Reference(source).spans(text)


@given(SOURCES, st.lists(TEXTS, max_size=4))
def test_what_is_remembered_changes_nothing(source: str, texts: list[str]) -> None:
    kept = Pattern(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_module, "_STATES_MAX", 2)
        forgetful = Pattern(source)
        found = [forgetful.spans(text) for text in texts]
    assert [kept.spans(text) for text in texts] == found


@given(SOURCES, TEXTS)
def test_the_quick_look_is_sure_when_it_says_no(source: str, text: str) -> None:
    pattern = Pattern(source)
    assert pattern.may_match(text.encode().replace(b"\n", b"\\n")) or not pattern.spans(text)


@pytest.mark.parametrize(
    "source, mark",
    [
        ("CASE-[0-9]+x", "CASE-"),
        ("[ab]token=.*", "token="),
        ("a|b", ""),
        ("ab*longer", "a"),
        ("(?i)abc", ""),
        ("", ""),
    ],
)
def test_the_text_in_every_match(source: str, mark: str) -> None:
    assert Pattern(source).mark == mark


class Reference:
    """All ends of all matches at each place, from Python's own parse tree; exponential, for short texts."""

    def __init__(self, source: str) -> None:
        self.tree = sre.parse(source, re.ASCII)

    def spans(self, text: str) -> list[tuple[int, int]]:
        found, place = [], 0
        while place < len(text):
            stop = max(self._ends(self.tree, {place}, text, 0), default=place)
            if stop > place:
                found.append((place, stop))
            place = max(stop, place + 1)
        return found

    def _ends(self, items: Any, places: set[int], text: str, flags: int) -> set[int]:
        for name, value in items:
            places = set().union(*(self._item(str(name), value, place, text, flags) for place in places))
        return places

    def _item(self, name: str, value: Any, place: int, text: str, flags: int) -> set[int]:
        match name:
            case "AT":
                before, after = (
                    place > 0 and _is_word(text[place - 1]),
                    place < len(text) and _is_word(text[place]),
                )
                holds = {
                    "AT_BEGINNING": place == 0, "AT_END": place == len(text),
                    "AT_BOUNDARY": before != after, "AT_NON_BOUNDARY": before == after,
                }  # fmt: skip
                return {place} if holds[str(value)] else set()
            case "BRANCH":
                return set().union(*(self._ends(branch, {place}, text, flags) for branch in value[1]))
            case "SUBPATTERN":
                return self._ends(value[3], {place}, text, (flags | value[1]) & ~value[2])
            case "MAX_REPEAT":
                least, most, item = value
                places, found = {place}, {place} if least == 0 else set()
                for count in range(1, min(int(most), len(text) + least + 1) + 1):
                    places = self._ends(item, places, text, flags)
                    found |= places if count >= least else set()
                return found
            case _:
                is_read = place < len(text) and _reads(name, value, text[place], flags)
                return {place + 1} if is_read else set()


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _reads(name: str, value: Any, character: str, flags: int) -> bool:
    if name == "ANY":
        return character != "\n"
    if name == "IN":
        return _in(value, character)
    same = {character, character.lower(), character.upper()} if flags & re.IGNORECASE else {character}
    return (chr(value) in same) != (name == "NOT_LITERAL")


def _in(members: Any, character: str) -> bool:
    found, is_opposite = False, False
    for name, value in members:
        match str(name):
            case "NEGATE":
                is_opposite = True
            case "LITERAL":
                found |= ord(character) == value
            case "RANGE":
                found |= value[0] <= ord(character) <= value[1]
            case "CATEGORY":
                found |= _is_word(character) if str(value) == "CATEGORY_WORD" else character.isdigit()
    return found != is_opposite
