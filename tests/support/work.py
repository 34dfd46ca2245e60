"""Work counted, not timed: bytecodes that a call runs, and steps of a backtracking regular expression.

Python's own engine does not count. `steps` walks the parse tree that it compiles, tries the same ways in the
same order, and counts each trial: so what takes the square there takes the square here.
"""

from __future__ import annotations

import gc
import re
import re._constants as sre_names  # type: ignore[import-not-found]
import re._parser as sre  # type: ignore[import-not-found]
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

Way = Callable[[int], bool]
"""What comes after a part of an expression: whether the rest matches from this place on."""


def opcodes(call: Callable[[], object]) -> int:
    """Bytecodes that run in Python while the call does; loops inside C functions are not seen.

    Garbage waits meanwhile: what ends objects that other tests left is no work of the call.
    """
    count = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before, is_collecting = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        if is_collecting:
            gc.enable()
    return count


class Steps:
    """A regular expression whose trials are counted."""

    def __init__(self, pattern: re.Pattern[Any]) -> None:
        source = pattern.pattern
        self.tree = sre.parse(source, pattern.flags & ~re.DEBUG)
        self.is_bytes = isinstance(source, bytes)
        self.count = 0

    def of(self, text: str, *, anchored: bool) -> int:
        """Steps to find all matches in the text, or the one at its start."""
        self.text, self.count = text, 0
        self.groups: dict[int, str] = {}
        place = 0
        while place <= len(text):
            ends: list[int] = []
            self._items(list(self.tree), 0, place, partial(_keep, ends))
            if anchored:
                break
            place = max(ends[0], place + 1) if ends else place + 1
        return self.count

    def _items(self, items: list[Any], index: int, place: int, way: Way) -> bool:
        while index < len(items):
            self.count += 1
            name, value = str(items[index][0]), items[index][1]
            if name in _ONE:
                if place >= len(self.text) or not self._reads(name, value, self.text[place]):
                    return False
                place, index = place + 1, index + 1
                continue
            rest = index + 1
            return self._item(name, value, place, partial(self._after, items, rest, way))
        return way(place)

    def _after(self, items: list[Any], index: int, way: Way, place: int) -> bool:
        return self._items(items, index, place, way)

    def _item(self, name: str, value: Any, place: int, way: Way) -> bool:
        match name:
            case "AT":
                return self._at(str(value), place) and way(place)
            case "BRANCH":
                return any(self._items(list(branch), 0, place, way) for branch in value[1])
            case "SUBPATTERN":
                number, items = value[0], list(value[3])

                def ended(stop: int) -> bool:
                    if number is not None:
                        self.groups[number] = self.text[place:stop]
                    return way(stop)

                return self._items(items, 0, place, ended)
            case "ATOMIC_GROUP":
                stop = self._first(list(value), place)
                return stop is not None and way(stop)
            case "ASSERT" | "ASSERT_NOT":
                direction, items = value[0], list(value[1])
                start = place if direction > 0 else place - items_width(items)
                found = start >= 0 and self._first(items, start) is not None
                return found == (name == "ASSERT") and way(place)
            case "GROUPREF":
                said = self.groups.get(value, "")
                return self.text.startswith(said, place) and way(place + len(said))
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                return self._repeat(name, value, place, way)
        raise NotImplementedError(name)

    def _first(self, items: list[Any], place: int) -> int | None:
        ends: list[int] = []
        return ends[0] if self._items(items, 0, place, partial(_keep, ends)) else None

    def _repeat(self, name: str, value: Any, place: int, way: Way) -> bool:
        least, most, items = value[0], int(value[1]), list(value[2])
        if name == "MIN_REPEAT":
            count = 0
            while True:
                if count >= least and way(place):
                    return True
                stop = self._first(items, place) if count < most else None
                if stop is None or stop == place:
                    return False
                place, count = stop, count + 1
        places = [place]
        while len(places) <= most:
            stop = self._first(items, places[-1])
            if stop is None or stop == places[-1]:
                break
            places.append(stop)
        # Every repeated part of the project's expressions matches in one way only, so giving back whole
        # repetitions, from the last, is all that an engine can try.
        kept = places[least:] if name == "MAX_REPEAT" else places[least:][-1:]
        for stop in reversed(kept):
            self.count += 1
            if way(stop):
                return True
        return False

    def _at(self, kind: str, place: int) -> bool:
        word = [0 < at <= len(self.text) and _is_word(self.text[at - 1]) for at in (place, place + 1)]
        return {
            "AT_BEGINNING": place == 0, "AT_BEGINNING_STRING": place == 0, "AT_END": place == len(self.text),
            "AT_END_STRING": place == len(self.text), "AT_BOUNDARY": word[0] != word[1],
            "AT_NON_BOUNDARY": word[0] == word[1],
        }[kind]  # fmt: skip

    def _reads(self, name: str, value: Any, character: str) -> bool:
        if name == "ANY":
            return True
        if name == "IN":
            return _in(value, character)
        same = character.lower() == chr(value).lower() if not self.is_bytes else character == chr(value)
        return same != (name == "NOT_LITERAL")


def _keep(ends: list[int], stop: int) -> bool:
    ends.append(stop)
    return True


_ONE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})


def items_width(items: list[Any]) -> int:
    """Characters of a part that looks back: it has one width."""
    width: int = sre.SubPattern(sre.State(), items).getwidth()[0]
    return width


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _in(members: Any, character: str) -> bool:
    found = is_opposite = False
    for name, value in members:
        match str(name):
            case "NEGATE":
                is_opposite = True
            case "LITERAL":
                found |= ord(character) == value
            case "RANGE":
                found |= value[0] <= ord(character) <= value[1]
            case "CATEGORY":
                kind = str(value).rpartition("_")[2]
                is_kind = {
                    "WORD": _is_word(character),
                    "DIGIT": character.isdigit(),
                    "SPACE": character.isspace(),
                }
                found |= is_kind[kind] != ("NOT" in str(value))
    return found != is_opposite


def samples(items: Any) -> list[str]:
    """A text for each part of an expression, in order: what to repeat, so that it is begun and not ended."""
    return [_sample(str(name), value) for name, value in items]


def _sample(name: str, value: Any) -> str:
    match name:
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return next((character for character in "a0-_ .:/A\\\"'=\n\x80" if _in(value, character)), "")
        case "BRANCH":
            return "".join(samples(value[1][0]))
        case "SUBPATTERN":
            return "".join(samples(value[3]))
        case "ATOMIC_GROUP":
            return "".join(samples(value))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return "".join(samples(value[2])) * max(1, min(int(value[0]), 40))
    return ""


assert sre_names.MAXREPEAT  # the parse tree is the interpreter's own, and has changed its place before
