"""Globs over names: `*` any run of characters, `?` any one, a backslash makes the next one plain.

Matched piece by piece from the left, which is enough where `*` is the only
repetition: no pattern makes it take more than length times length steps, as a
regular expression or SQLite's GLOB would with many stars.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Final

_TOKEN: Final = re.compile(r"(?s)([^*?\\]+)|(\\.|[*?\\])")
"""Plain text; or a backslash with what it makes plain, or a character that means something."""
_MEANING: Final = ("*", "?")


class Glob:
    """A compiled glob: a policy may have thousands, of which most are never matched beyond their prefix."""

    def __init__(self, pattern: str) -> None:
        """Every pattern is one; a backslash at the very end stands for itself."""
        self._tokens: Final[list[tuple[str, str]]] = _TOKEN.findall(pattern)
        literal: list[str] = []
        for text, special in self._tokens:
            if special in _MEANING:
                break
            literal.append(text or special[-1])
        self.prefix: Final = "".join(literal)
        """What every match starts with."""
        self.is_literal: Final = len(literal) == len(self._tokens)
        """Whether `prefix` is the only match."""

    @cached_property
    def _compiled(self) -> tuple[list[re.Pattern[str]], int]:
        """An expression for each piece between stars, and how long the last one is."""
        pieces: list[list[str]] = [[]]
        size = 0
        for text, special in self._tokens:
            if special == "*":
                pieces.append([])
                size = 0
                continue
            plain = text or special[-1]
            pieces[-1].append("." if special == "?" else re.escape(plain))
            size += len(plain)
        return [re.compile("".join(piece), re.DOTALL) for piece in pieces], size

    def matches(self, text: str) -> bool:
        """Whether the whole text is of this pattern."""
        if self.is_literal:
            return text == self.prefix
        if not text.startswith(self.prefix):
            return False
        (first, *others), last_size = self._compiled
        if not others:
            return first.fullmatch(text) is not None
        match = first.match(text)
        for piece in others[:-1]:
            match = match and piece.search(text, match.end())
        if match is None:
            return False
        start = len(text) - last_size
        return start >= match.end() and others[-1].fullmatch(text, start) is not None
