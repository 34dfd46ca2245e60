"""The words that text search sees, the same for what is indexed and for what is asked.

A word is a run of letters, digits and the marks that belong to them, without
case, accents and strokes (`đến` is found by `den`, an Arabic word with or
without its vowel marks; the vowel signs of Indic scripts stay). Scripts that do
not part words (CJK, kana, Thai, Lao, Khmer, Myanmar) make each character a word
of its own. The index's own tokenizer then only splits at ASCII separators: all
that depends on Unicode tables is decided here, so that index and check cannot
disagree.

Characters are folded one by one. A normal form of the whole text would sort its
runs of marks, in time quadratic in the run: one entry could hold up all queries.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from msgspec import Raw

_WORD: Final = re.compile("[0-9A-Za-z\x80-\U0010ffff]+")
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-f]{4}|.)")
"""In canonical JSON only quotes, backslashes and control characters are escaped: separators, all of them."""

_ACCENTS: Final = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe2f\U000e0100-\U000e01ef]"
)
"""Marks of any script's letters, and selectors of a glyph's form: none makes another word."""
_VOWEL_CLASSES: Final = frozenset({0, 8, 9, 84, 91, 103, 118, 129, 130, 132})
"""Combining classes of marks that make another word: vowel signs, viramas, and what voices a kana."""
_ZERO_WIDTH_SPACE: Final = "\u200b"
"""The one format character that parts words; others (joiners, soft hyphens) stand within them."""
_STROKES: Final = str.maketrans("đðħłøŧ", "ddhlot")
"""Letters with a stroke do not decompose, and are typed without it as accents are."""
_WORDLIKE: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff]"
)
_KNOWN_MAX: Final = 1 << 16
"""Characters whose folded form is kept: a text of all there are must not fill memory."""


class _Folded(dict[int, str]):
    """The folded form of each character, made when it is first met."""

    def __missing__(self, code: int) -> str:
        folded = "".join(map(_fold_part, unicodedata.normalize("NFKD", chr(code)).casefold()))
        if len(self) >= _KNOWN_MAX:
            self.clear()
        self[code] = folded
        return folded


def _fold_part(part: str) -> str:
    if part.isascii():
        return part
    category = unicodedata.category(part)
    if category[0] == "M":
        is_dropped = _ACCENTS.match(part) or unicodedata.combining(part) not in _VOWEL_CLASSES
        part = "" if is_dropped else part
    elif category == "Cf" and part != _ZERO_WIDTH_SPACE:
        part = ""
    elif not part.isalnum():
        return " "
    return f" {part} " if _WORDLIKE.match(part) else part.translate(_STROKES)


_folded: Final = _Folded()


def fold(text: str) -> str:
    """The text as it is indexed: without case and accents, non-ASCII separators made spaces."""
    return text.lower() if text.isascii() else text.translate(_folded)


def fold_json(raw: Raw | bytes) -> str:
    """`fold` of a canonical JSON text: names and values alike."""
    data = bytes(raw)
    if b"\\" in data:
        data = _ESCAPE.sub(b" ", data)
    return fold(data.decode("utf-8", "replace"))


def words(folded: str) -> list[str]:
    """The words of a folded text."""
    return _WORD.findall(folded)


def contains(folded: str, phrase: list[str]) -> bool:
    """Whether the words of `phrase` stand in the text, one after the other."""
    return f" {' '.join(phrase)} " in f" {' '.join(words(folded))} "
