"""Python and the browser agree on canonical JSON: values that look for the places where they could not."""

import json
import random
import struct
from typing import TYPE_CHECKING, Final

import pytest

from attestlog._internal.core import canonical
from attestlog.errors import MalformedJSONError

if TYPE_CHECKING:
    from playwright.sync_api import Page

VALUES: Final = 3_000
AWKWARD: Final = (0x2028, 0x7F, 0xE9, 0xD800, 0xDC00, 0xFB00, 0x1D11E, 0x0, 0x1F, 0x22, 0x5C)
NAMES: Final = ("a", "b", "\u00e9", "\ufb00", "\U0001d11e", "\ud800", "10", "9", "__proto__", "constructor")

JUDGE: Final = """async texts => {
    const {canonicalize, unhex} = await import("/verify.mjs");
    const judge = text => { try { return canonicalize(unhex(text)); } catch (error) { return error.code; } };
    return texts.map(judge);
}"""


def number(drawn: random.Random) -> str:
    """The text of a number: doubles of all kinds, and what no double keeps."""
    bits = struct.unpack(">d", drawn.randbytes(8))[0]
    spellings = (
        repr(bits),
        str(drawn.choice((-1, 1)) * (2**53 + drawn.randrange(-3, 3))),
        f"{drawn.randrange(10 ** drawn.randrange(1, 22))}.{drawn.randrange(10 ** drawn.randrange(1, 25))}",
        f"{drawn.randrange(10 ** drawn.randrange(1, 20))}e{drawn.randrange(-340, 330)}",
        f"{bits:.{drawn.randrange(25)}e}",
        "0." + "0" * drawn.randrange(12) + f"{drawn.randrange(10 ** drawn.randrange(1, 25))}e-7",
    )
    return drawn.choice(spellings)


def value(drawn: random.Random, depth: int = 0) -> str:
    """The text of a JSON value, canonical or not."""
    kind = drawn.randrange(8 if depth < 4 else 5)
    if kind < 3:
        return number(drawn)
    if kind == 3:
        text = "".join(chr(drawn.choice((*AWKWARD, drawn.randrange(32, 127)))) for _ in range(3))
        return json.dumps(text, ensure_ascii=drawn.random() < 0.5)
    if kind == 4:
        return drawn.choice(("true", "false", "null"))
    parts = [value(drawn, depth + 1) for _ in range(drawn.randrange(4))]
    if kind == 5:
        return f"[{','.join(parts)}]"
    names = (json.dumps("".join(drawn.choices(NAMES, k=drawn.randrange(3)))) for _ in parts)
    return "{" + ",".join(f"{name}:{part}" for name, part in zip(names, parts, strict=True)) + "}"


def by_python(text: bytes) -> str:
    try:
        return canonical.encode(canonical.decode(text)).decode()
    except MalformedJSONError as error:
        return error.code


@pytest.mark.parametrize("seed", [1, 2])
def test_they_agree_on_canonical_json(blank: "Page", seed: int) -> None:
    drawn = random.Random(seed)
    texts = [value(drawn).encode("utf-8", "surrogatepass") for _ in range(VALUES)]
    wanted = [by_python(text) for text in texts]
    found = blank.evaluate(JUDGE, [text.hex() for text in texts])
    assert [
        (text, want, got) for text, want, got in zip(texts, wanted, found, strict=True) if want != got
    ] == []
    assert 0 < wanted.count("malformed.json") < VALUES
