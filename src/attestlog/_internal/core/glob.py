"""Globs over names: `*` any run of characters, `?` any one, a backslash makes the next one plain.

Matched piece by piece from the left, which is enough where `*` is the only
repetition: no pattern makes it take more than length times length steps, as a
regular expression or SQLite's GLOB would with many stars.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"(?s)\\(.)|(.)")


class Glob:
    """A compiled glob."""

    def __init__(self, pattern: str) -> None:
        """Every pattern is one; a backslash at the very end stands for itself."""
        pieces: list[list[str]] = [[]]
        literal: list[str] = []
        plain_so_far = True
        for escaped, plain in _TOKEN.findall(pattern):
            plain_so_far &= plain not in {"*", "?"}
            if plain_so_far:
                literal.append(escaped or plain)
            if plain == "*":
                pieces.append([])
            else:
                pieces[-1].append("." if plain == "?" else re.escape(escaped or plain))
        self.prefix: Final = "".join(literal)
        """What every match starts with."""
        self.is_literal: Final = plain_so_far
        """Whether `prefix` is the only match."""
        self._first, *self._others = [re.compile("".join(piece), re.DOTALL) for piece in pieces]
        self._last_size = len(pieces[-1])

    def matches(self, text: str) -> bool:
        """Whether the whole text is of this pattern."""
        if not self._others:
            return self._first.fullmatch(text) is not None
        match = self._first.match(text)
        for piece in self._others[:-1]:
            match = match and piece.search(text, match.end())
        if match is None:
            return False
        start = len(text) - self._last_size
        return start >= match.end() and self._others[-1].fullmatch(text, start) is not None
