r"""Patterns of a policy: regular expressions that are found in time linear in the text.

    Pattern(r"CASE-[0-9]{4,}").spans("see CASE-1017")      # [(4, 13)]

The language is what most regular expressions are written in: characters, `.`,
classes, groups, `|`, `* + ? {m,n}`, `^ $ \A \z \b \B`, `\d \w \s` and their
opposites, of ASCII. What needs memory of what was matched (back references), looks
around, or asks for the shortest match is refused. So the language is the same
wherever a log is written, whatever is installed there.

A match is the longest at its place, matches do not overlap, and none is empty.
The text is read twice. From its end to its start: which readers of the next
character can still come to an end? That is one state of an automaton for each
place, made when it is first met. Then forward, with those readers alone: a match
ends where none is left, and nothing beyond it is looked at. Libraries that find
one match in linear time search on to the end of the text for a longer one, match
after match. No verifier reads patterns: they decide what is written, not what
holds. The document is docs/spec/redaction.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Final

NODES_MAX: Final = 1_000
"""Of one pattern, counted repetitions written out: what one character costs at worst grows with it."""

REPEAT_MAX: Final = 1_000
"""Largest count of a repetition."""

_GROUP_DEPTH_MAX: Final = 50
_STATES_MAX: Final = 10_000
"""Steps remembered of one automaton; beyond, it begins again with none."""

Span = tuple[int, int]
Ranges = tuple[tuple[int, int], ...]
"""Code points, both ends included."""

_LAST: Final = 0x10FFFF
_CLASSES: Final[dict[str, Ranges]] = {
    "d": ((48, 57),),
    "s": ((9, 13), (32, 32)),
    "w": ((48, 57), (65, 90), (95, 95), (97, 122)),
}
_CONTROLS: Final = {"n": 10, "r": 13, "t": 9, "f": 12, "v": 11}
_ASSERTIONS: Final = {"^": "A", "$": "z"}
_EDGE, _OTHER, _WORD = 0, 1, 2
"""What stands beside a place, as far as an assertion asks."""


class PatternError(ValueError):
    """A text that is not a pattern of this language. The message says what, and where."""


Build = Callable[[int], int]
"""Adds what a part of the pattern reads, given the node that comes after; returns the node it begins with."""


class _Nodes:
    """The automaton that the pattern says: each node reads a character, asserts, or goes on at once."""

    def __init__(self) -> None:
        self.reads: list[Ranges | None] = []
        self.asserts: list[str] = []
        self.after: list[tuple[int, ...]] = []

    def add(self, *after: int, reads: Ranges | None = None, asserts: str = "") -> int:
        if len(self.after) >= NODES_MAX:
            raise PatternError(f"is too large: more than {NODES_MAX} steps, repetitions written out")
        self.reads.append(reads)
        self.asserts.append(asserts)
        self.after.append(after)
        return len(self.after) - 1


class _Parser:
    """Reads a pattern by descent; `literal` is the longest text that stands in every match."""

    def __init__(self, source: str, nodes: _Nodes) -> None:
        self.source, self.place, self.nodes = source, 0, nodes
        self.folds_case = False
        self.depth = 0

    def fail(self, reason: str) -> PatternError:
        return PatternError(f"{reason} at character {self.place + 1}")

    def peek(self, size: int = 1) -> str:
        return self.source[self.place : self.place + size]

    def take(self, size: int = 1) -> str:
        text = self.peek(size)
        if len(text) < size:
            raise self.fail("ends too early")
        self.place += size
        return text

    def parse(self) -> Build:
        if self.peek(4) == "(?i)":
            self.place, self.folds_case = 4, True
        build = self.alternatives()
        if self.peek():
            raise self.fail("')' without '('")
        return build

    def alternatives(self) -> Build:
        branches = [self.sequence()]
        while self.peek() == "|":
            self.take()
            branches.append(self.sequence())
        if len(branches) == 1:
            return branches[0]
        return lambda after: self.nodes.add(*(branch(after) for branch in branches))

    def sequence(self) -> Build:
        parts: list[Build] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.repeated())

        def build(after: int) -> int:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def repeated(self) -> Build:
        item = self.atom()
        start = self.place
        least, most = self.counts()
        if self.place == start:
            return item
        if self.peek() in {"?", "+", "*", "{"}:
            raise self.fail("a repetition of a repetition, or one that asks for the shortest match")
        return lambda after: self.repetition(item, least, most, after)

    def repetition(self, item: Build, least: int, most: int | None, after: int) -> int:
        nodes = self.nodes
        if most is None:
            loop = nodes.add()
            nodes.after[loop] = (item(loop), after)
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = nodes.add(item(after), end)
        for _ in range(least):
            after = item(after)
        return after

    def counts(self) -> tuple[int, int | None]:
        mark = self.peek()
        if mark in {"*", "+", "?"} and mark:
            self.take()
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[mark]
        if mark != "{":
            return 1, 1
        end = self.source.find("}", self.place)
        low, comma, high = self.source[self.place + 1 : max(end, self.place)].partition(",")
        if end < 0 or not _is_count(low) or (high and not _is_count(high)):
            raise self.fail("'{' begins no count; a '{' that is meant is written '\\{'")
        least, most = int(low), (int(high) if high else None) if comma else int(low)
        if max(least, most or 0) > REPEAT_MAX or (most is not None and most < least):
            raise self.fail(f"a count is not from 0 to {REPEAT_MAX}, or goes down,")
        self.place = end + 1
        return least, most

    def atom(self) -> Build:
        character = self.take()
        if character == "(":
            return self.group()
        if character == "[":
            return self.reading(self.bracket())
        if character == ".":
            return self.reading(((0, 9), (11, _LAST)))
        if character in _ASSERTIONS:
            return self.asserting(_ASSERTIONS[character])
        if character == "\\":
            if self.peek() in {"A", "z", "b", "B"} and self.peek():
                return self.asserting(self.take())
            return self.reading(self.escape())
        if character in "*+?{)]}":
            self.place -= 1
            raise self.fail(f"{character!r} has no meaning here; if it is meant, write '\\{character}'")
        return self.reading(((ord(character), ord(character)),))

    def asserting(self, kind: str) -> Build:
        return lambda after: self.nodes.add(after, asserts=kind)

    def reading(self, ranges: Ranges) -> Build:
        found = _with_case(ranges) if self.folds_case else ranges
        return lambda after: self.nodes.add(after, reads=found)

    def group(self) -> Build:
        before = self.folds_case
        if self.peek() == "?":
            if self.peek(3) == "?i:":
                self.take(3)
                self.folds_case = True
            elif self.peek(2) == "?:":
                self.take(2)
            else:
                raise self.fail("only groups '(…)', '(?:…)' and '(?i:…)' are known, not this one")
        self.depth += 1
        if self.depth > _GROUP_DEPTH_MAX:
            raise self.fail(f"groups stand more than {_GROUP_DEPTH_MAX} deep")
        build = self.alternatives()
        if self.peek() != ")":
            raise self.fail("'(' without ')'")
        self.take()
        self.depth -= 1
        self.folds_case = before
        return build

    def escape(self) -> Ranges:
        letter = self.take()
        if letter.lower() in _CLASSES:
            ranges = _CLASSES[letter.lower()]
            return ranges if letter.islower() else _opposite(ranges)
        if letter in {"x", "u"}:
            digits = self.take(2 if letter == "x" else 4)
            if not set(digits) <= set("0123456789abcdefABCDEF"):
                raise self.fail(f"'\\{letter}' without its digits")
            return ((int(digits, 16), int(digits, 16)),)
        if letter in _CONTROLS:
            return ((_CONTROLS[letter], _CONTROLS[letter]),)
        if letter.isascii() and letter.isalnum():
            raise self.fail(f"'\\{letter}' is not known")
        return ((ord(letter), ord(letter)),)

    def bracket(self) -> Ranges:
        is_opposite = self.peek() == "^"
        self.place += is_opposite
        found: list[tuple[int, int]] = []
        is_first = True
        while is_first or self.peek() != "]":
            is_first = False
            ranges = self.member()
            if self.peek() == "-" and self.peek(2) != "-]":
                self.take()
                last = self.member()
                low, high = ranges[0][0], last[0][1]
                if len(ranges) > 1 or ranges[0][0] != ranges[0][1] or len(last) > 1 or low > high:
                    raise self.fail("a range in '[…]' has no two ends, or goes down,")
                ranges = ((low, high),)
            found += ranges
        self.take()
        if self.folds_case:
            found = list(_with_case(found))
        return _opposite(found) if is_opposite else tuple(found)

    def member(self) -> Ranges:
        character = self.take()
        if character == "[" and self.peek() in {":", ".", "="} and self.peek():
            raise self.fail("'[:…:]' is not known")
        return self.escape() if character == "\\" else ((ord(character), ord(character)),)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4


def _opposite(ranges: Iterable[tuple[int, int]]) -> Ranges:
    found, start = [], 0
    for low, high in sorted(ranges):
        if low > start:
            found.append((start, low - 1))
        start = max(start, high + 1)
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


def _with_case(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The ranges, and the other case of the ASCII letters among them."""
    found = list(ranges)
    for low, high in tuple(found):
        for first, shift in ((65, 32), (97, -32)):
            begin, end = max(low, first), min(high, first + 25)
            if begin <= end:
                found.append((begin + shift, end + shift))
    return tuple(found)


class _State:
    """What can still come to an end at one place of a text."""

    __slots__ = ("begins", "index", "nodes", "readers")

    def __init__(self, index: int, nodes: frozenset[int], readers: frozenset[int], *, begins: bool) -> None:
        self.index, self.nodes, self.readers, self.begins = index, nodes, readers, begins


class Pattern:
    """A compiled pattern. Threads may share it."""

    def __init__(self, source: str) -> None:
        """Raises PatternError."""
        nodes = _Nodes()
        self._end = nodes.add()
        self._start = _Parser(source, nodes).parse()(self._end)
        self._nodes = nodes
        self._asserts = any(nodes.asserts)
        self._edges = sorted({0, *_bounds(nodes.reads), *(_bounds([_CLASSES["w"]]) if self._asserts else ())})
        self._readers = [
            [node for node, ranges in enumerate(nodes.reads) if ranges and _holds(ranges, edge)]
            for edge in self._edges
        ]
        self._kinds = [_WORD if _holds(_CLASSES["w"], edge) else _OTHER for edge in self._edges]
        self._before: list[list[int]] = [[] for _ in nodes.after]
        for node, after in enumerate(nodes.after):
            if nodes.reads[node] is None:
                for item in after:
                    self._before[item].append(node)
        self._symbols: dict[str, int] = {}
        self._states: dict[tuple[frozenset[int], frozenset[int], bool], _State] = {}
        self._steps: dict[tuple[int, int, int], _State] = {}
        self._reached: dict[tuple[frozenset[int], frozenset[int], int], frozenset[int]] = {}
        self._made = 0
        self.mark: Final = _mark(nodes, self._start, self._end)
        """A text that stands in every match; empty if none is known."""

    def may_match(self, data: bytes) -> bool:
        """Whether canonical JSON may hold a match in one of its strings. False is sure."""
        mark = self.mark.encode("utf-8", "surrogatepass")
        # An escape is spelled in other characters.
        return not mark or mark in data or not self.mark.isprintable() or b'"' in mark or b"\\" in mark

    def spans(self, text: str) -> list[Span]:
        """Where the matches are, in order: (start, stop) of each."""
        if self.mark not in text:
            return []
        symbols = self._translate(text)
        kinds = [_EDGE, *(self._kinds[symbol] for symbol in symbols), _EDGE] if self._asserts else None
        states = self._read_back(symbols, kinds)
        spans, place = [], 0
        while place < len(states):
            if states[place].begins:
                stop = self._read_on(states, kinds, place)
                spans.append((place, stop))
                place = stop
            else:
                place += 1
        return spans

    def _translate(self, text: str) -> list[int]:
        known = self._symbols
        for character in set(text).difference(known):
            if len(known) >= _STATES_MAX:
                self._symbols = known = {}
                return [bisect_right(self._edges, ord(item)) - 1 for item in text]
            known[character] = bisect_right(self._edges, ord(character)) - 1
        return [known[character] for character in text]

    def _read_back(self, symbols: list[int], kinds: list[int] | None) -> list[_State]:
        """For each place, from the last one: which nodes can still come to an end."""
        beside = _beside(kinds, len(symbols))
        state = _State(-1 - beside, self._closed_back([self._end], beside), frozenset(), begins=False)
        states, steps = [], self._steps
        for place in range(len(symbols) - 1, -1, -1):
            beside = _beside(kinds, place) if kinds else 0
            key = (state.index, symbols[place], beside)
            found = steps.get(key)
            if found is None:
                found = self._step_back(state, symbols[place], beside)
                if len(steps) >= _STATES_MAX:
                    steps.clear()
                steps[key] = found
            state = found
            states.append(state)
        states.reverse()
        return states

    def _step_back(self, state: _State, symbol: int, beside: int) -> _State:
        after = self._nodes.after
        readers = frozenset(node for node in self._readers[symbol] if after[node][0] in state.nodes)
        reading = self._closed_back(readers, beside)
        nodes, begins = reading | self._closed_back([self._end], beside), self._start in reading
        found = self._states.get((nodes, readers, begins))
        if found is None:
            if len(self._states) >= _STATES_MAX:
                self._states.clear()
            self._made += 1
            found = self._states[nodes, readers, begins] = _State(self._made, nodes, readers, begins=begins)
        return found

    def _closed_back(self, nodes: Iterable[int], beside: int) -> frozenset[int]:
        """These nodes, and all from which one of them is reached without reading."""
        found = set(nodes)
        todo = list(found)
        while todo:
            for node in self._before[todo.pop()]:
                if node not in found and self._passes(node, beside):
                    found.add(node)
                    todo.append(node)
        return frozenset(found)

    def _read_on(self, states: list[_State], kinds: list[int] | None, place: int) -> int:
        """Where the longest match that begins at this place stops."""
        nodes = self._closed([self._start], _beside(kinds, place))
        while place < len(states):
            readers = states[place].readers
            place += 1
            beside = _beside(kinds, place)
            key = (nodes, readers, beside)
            reached = self._reached.get(key)
            if reached is None:
                after = self._nodes.after
                reached = self._closed([after[node][0] for node in readers & nodes], beside)
                if len(self._reached) >= _STATES_MAX:
                    self._reached.clear()
                self._reached[key] = reached
            if not reached:
                return place - 1
            nodes = reached
        return place

    def _closed(self, nodes: Iterable[int], beside: int) -> frozenset[int]:
        """The nodes that read, or are the end, reached from these without reading."""
        found = set(nodes)
        todo = list(found)
        while todo:
            node = todo.pop()
            if self._nodes.reads[node] is None and self._passes(node, beside):
                new = set(self._nodes.after[node]) - found
                found |= new
                todo += new
        return frozenset(found)

    def _passes(self, node: int, beside: int) -> bool:
        kind = self._nodes.asserts[node]
        if not kind:
            return True
        left, right = divmod(beside, 3)
        if kind == "A":
            return left == _EDGE
        if kind == "z":
            return right == _EDGE
        return ((left == _WORD) != (right == _WORD)) == (kind == "b")


def _beside(kinds: list[int] | None, place: int) -> int:
    """What stands before and after a place, as one number."""
    return 3 * kinds[place] + kinds[place + 1] if kinds else 0


def _bounds(reads: Iterable[Ranges | None]) -> set[int]:
    return {edge for ranges in reads for low, high in ranges or () for edge in (low, high + 1)}


def _holds(ranges: Ranges, code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _mark(nodes: _Nodes, start: int, end: int) -> str:
    """The longest run of single characters that every match reads: followed while there is one way on."""
    best = run = ""
    node, seen = start, set()
    while node != end and node not in seen:
        seen.add(node)
        reads, after = nodes.reads[node], nodes.after[node]
        if len(after) != 1:
            break
        if reads is not None:
            is_single = len(reads) == 1 and reads[0][0] == reads[0][1]
            run = run + chr(reads[0][0]) if is_single else ""
            best = max(best, run, key=len)
        node = after[0]
    return best
