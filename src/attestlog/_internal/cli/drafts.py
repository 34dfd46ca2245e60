"""Drafts from options, from one JSON file, and from JSON lines as they come down a pipe."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attestlog._internal.cli.files import STDIN, read_file
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core import canonical
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, EntryDraft, parse_draft
from attestlog._internal.core.signature import BATCH_ENTRIES_MAX
from attestlog.errors import DerivedMemberError, MalformedEntryError, MalformedJSONError, TooLargeError

if TYPE_CHECKING:
    from attestlog._internal.log import Log

CHUNK_DRAFTS_MAX: Final = BATCH_ENTRIES_MAX
"""Lines that are read before they are appended: what one signature can cover."""

CHUNK_SIZE_BYTES: Final = 8 << 20
"""Bytes of lines after which a chunk is closed: bounds memory whatever the lines hold."""

_READ_SIZE_BYTES: Final = 1 << 20

JSON_MEMBERS: Final = frozenset(
    "action_payload actor_context environment error_details pillars_scores provided_proofs received_approvals"
    " result_data system_state_snapshot".split()
)
"""Members whose options hold JSON."""

REFUSALS: Final = (MalformedEntryError, DerivedMemberError, TooLargeError)
"""What the log finds wrong with a draft before anything is written: the caller's mistake."""

Chunk = list[tuple[int, bytes]]
"""(line number from 1, line) of each line that is not blank."""


def read_json_option(member: str, text: str) -> Any:
    """The JSON value of an option: as given, from `@FILE`, or from stdin if it is `-`."""
    try:
        return canonical.decode(_content(text))
    except MalformedJSONError as error:
        raise UsageError(f"{member}: {error}") from None


def _content(text: str) -> str | bytes:
    if text == STDIN:
        return sys.stdin.buffer.read(LINE_SIZE_MAX_BYTES + 1)
    return Path(text[1:]).read_bytes() if text.startswith("@") else text


def members_given(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are members of a draft and were given."""
    found = {name: given.get(name) for name in EntryDraft.__struct_fields__}
    return {
        name: value for name, value in found.items() if value not in (None, (), []) and value is not False
    }


def draft_from_options(given: Mapping[str, Any]) -> EntryDraft:
    """The draft that the given options make. Raises UsageError."""
    members = {
        name: read_json_option(name, value) if name in JSON_MEMBERS else value
        for name, value in members_given(given).items()
    }
    try:
        return parse_draft(members)
    except MalformedEntryError as error:
        raise UsageError(str(error)) from None


def decode_chunk(chunk: Chunk) -> tuple[list[dict[str, Any]], Exception | None]:
    """The members of a draft for each line before the first that is no object; the log parses them.

    Second, a UsageError that names that line.
    """
    drafts: list[dict[str, Any]] = []
    for number, line in chunk:
        try:
            drafts.append(_members(line))
        except (MalformedJSONError, MalformedEntryError) as error:
            return drafts, UsageError(f"line {number}: {error}")
    return drafts, None


def read_draft(path: str) -> EntryDraft:
    """The draft in a JSON file. Raises UsageError if it holds another thing; NotFoundError, StorageError."""
    try:
        return parse_draft(_members(read_file(path)))
    except (MalformedJSONError, MalformedEntryError) as error:
        raise UsageError(f"{path}: {error}") from None


def _members(text: bytes) -> dict[str, Any]:
    members = canonical.decode(text)
    if not isinstance(members, dict):
        raise MalformedEntryError(f"draft: expected an object, got {type(members).__name__}")
    return members


def find_refused(
    error: Exception, log: Log, chunk: Chunk, drafts: Sequence[dict[str, Any]]
) -> tuple[int, Exception]:
    """How many drafts stand before the first that the log refuses, and a UsageError that names its line.

    The log itself refused the chunk as a whole (`error`), and only knows the member.
    """
    for index, ((number, _), draft) in enumerate(zip(chunk, drafts, strict=False)):
        try:
            log.check(draft)
        except REFUSALS as found:
            return index, UsageError(f"line {number}: {found}")
    return 0, UsageError(str(error))


def read_chunks(source: str) -> Iterator[Chunk]:
    """The lines of a file, or of stdin for `-`, a chunk at a time.

    A chunk ends when it is full or when nothing more is there yet: a slow pipe's lines are appended as
    they come, a fast one's many at a time.
    """
    descriptor = sys.stdin.fileno() if source == STDIN else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _chunks(descriptor)
    finally:
        if source != STDIN:
            os.close(descriptor)


def _chunks(descriptor: int) -> Iterator[Chunk]:
    chunk: Chunk = []
    rest, number, size_bytes = b"", 0, 0
    while True:
        block = os.read(descriptor, _READ_SIZE_BYTES)
        # At the end of the input, what is left is a line without its line end.
        *lines, rest = (rest + block).split(b"\n") if block else (rest, b"")
        for line in lines:
            number += 1
            if line.strip():
                chunk.append((number, line))
                size_bytes += len(line)
            if len(chunk) == CHUNK_DRAFTS_MAX or size_bytes > CHUNK_SIZE_BYTES:
                yield chunk
                chunk, size_bytes = [], 0
        if len(rest) > LINE_SIZE_MAX_BYTES:
            if chunk:
                yield chunk
            raise UsageError(f"line {number + 1}: has more than {LINE_SIZE_MAX_BYTES} bytes")
        if chunk and not (block and select.select([descriptor], [], [], 0)[0]):
            yield chunk
            chunk, size_bytes = [], 0
        if not block:
            return
