"""The words that text search sees, the same for what is indexed and for what is asked.

A word is a run of letters and digits, without case, accents and strokes
(`đến` is found by `den`); each CJK ideograph and kana is a word of its own,
because those scripts do not part words. The index's own
tokenizer then only splits at ASCII separators: all that depends on Unicode
tables is decided here, so that index and check cannot disagree.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from msgspec import Raw

_WORD: Final = re.compile(r"[^\W_]+")
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-f]{4}|.)")
"""In canonical JSON only quotes, backslashes and control characters are escaped: separators, all of them."""
_MARKS: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_STROKES: Final = str.maketrans("đðħłøŧ", "ddhlot")
"""Letters with a stroke do not decompose, and are typed without it as accents are."""
_SEPARATORS: Final = re.compile(r"[^\w\x00-\x7f]+")
_WORDLIKE: Final = re.compile("([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


def fold(text: str) -> str:
    """The text as it is indexed: without case and accents, non-ASCII separators made spaces."""
    if text.isascii():
        return text.lower()
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text)).casefold()
    if not plain.isascii():
        plain = plain.translate(_STROKES)
    if plain.isascii():  # most accented Latin text by now: the rest is slower than all before
        return plain
    return _WORDLIKE.sub(r" \1 ", _SEPARATORS.sub(" ", plain))


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
