"""Bundles: some entries of a log, each with its way to one checkpoint, and what their keys rest on.

    {"checkpoint":<signed note>,"format":"attestlog/bundle/v1","timestamps":[{"response":…,"size":N}]}
    {"rules":<entry 0>,"path":"<hex>"}
    {"entry":<entry>,"path":"<hex>"}
    …

JSON Lines, in the order of the log. An `entry` is one that was asked for; `rules` are the genesis entry and
those that changed keys or policy and held, so that a reader knows under which keys and which policy each of
the others stands. An entry is there as the log has it, byte for byte. Nothing but the checkpoint is signed by
the bundle's maker's log: the rest is worth what its hashes lead to.

It says nothing of entries that are not in it. Specified in docs/spec/bundle.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from attestlog._internal.core import canonical
from attestlog._internal.core.checkpoint import SIZE_MAX
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES
from attestlog._internal.core.proof import HASHES_MAX
from attestlog.errors import MalformedProofError

BUNDLE_FORMAT: Final = "attestlog/bundle/v1"

TIMESTAMPS_MAX: Final = 64
"""Time stamps in one bundle: the latest few say all there is to say."""

HEADER_SIZE_MAX_BYTES: Final = 2 * NOTE_SIZE_MAX_BYTES + TIMESTAMPS_MAX * (512 << 10)
"""The longest checkpoint with escapes, and the longest time stamps."""

ITEM_SIZE_MAX_BYTES: Final = LINE_SIZE_MAX_BYTES + 2 * HASHES_MAX * HASH_SIZE_BYTES + 64

_KINDS: Final = {b'{"entry":': True, b'{"rules":': False}
_PATH: Final = re.compile(rb',"path":"((?:[0-9a-f]{64}){0,63})"\}\Z')
_TAIL_MAX_BYTES: Final = len(',"path":""}\n') + 2 * HASHES_MAX * HASH_SIZE_BYTES


class Stamp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An RFC 3161 response over the checkpoint of the first `size` entries."""

    response: str
    """Base64."""
    size: Annotated[int, Meta(ge=1, le=SIZE_MAX)]


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    checkpoint: str
    format: Literal["attestlog/bundle/v1"] = BUNDLE_FORMAT
    timestamps: Annotated[list[Stamp], Meta(max_length=TIMESTAMPS_MAX)] = []


class Item(NamedTuple):
    """One of the other lines."""

    line: bytes
    """The entry, as the log has it."""
    path: bytes
    """Its inclusion path: whole 32-byte hashes, the leaf's sibling first."""
    is_asked: bool = True
    """Whether it is one of the entries that the bundle is of."""


def is_bundle(first: bytes) -> bool:
    """Whether a file that begins with this line is a bundle, or would be one."""
    return first.startswith(b'{"checkpoint":"') and b'"format":"attestlog/bundle/' in first


def format_header(header: Header) -> bytes:
    """The line, with its line end."""
    return canonical.encode(msgspec.to_builtins(header)) + b"\n"


def parse_header(line: bytes) -> Header:
    """Raises MalformedProofError unless it is a header in its one spelling."""
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedProofError(f"not the first line of a bundle: {error}") from None
    if format_header(header) != line:
        raise MalformedProofError("the first line of the bundle is not in its one spelling")
    return header


def format_item(item: Item) -> bytes:
    """The line, with its line end."""
    kind = b"entry" if item.is_asked else b"rules"
    return b'{"%b":%b,"path":"%b"}\n' % (kind, item.line, item.path.hex().encode())


def parse_item(line: bytes) -> Item:
    """Raises MalformedProofError unless it is an item. What its entry says is not looked at."""
    is_asked, match = (
        _KINDS.get(line[:9]),
        _PATH.search(line.removesuffix(b"\n"), max(9, len(line) - _TAIL_MAX_BYTES)),
    )
    if is_asked is None or match is None or not line.endswith(b"\n"):
        raise MalformedProofError("a line of the bundle is not an entry with its path")
    return Item(line[9 : match.start()], bytes.fromhex(match[1].decode()), is_asked)


def parse_items(lines: Iterable[bytes]) -> Iterator[Item]:
    """The items, as they come. Raises MalformedProofError."""
    for line in lines:
        if len(line) > ITEM_SIZE_MAX_BYTES:
            raise MalformedProofError(f"a line of the bundle has more than {ITEM_SIZE_MAX_BYTES} bytes")
        yield parse_item(line)
