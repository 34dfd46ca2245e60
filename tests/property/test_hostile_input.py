"""Whatever is thrown at a parser, what comes out is a value or an error of ours."""

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.property import strategies
from tests.support.shapes import BOOT, line_of, read

from attestlog._internal.config import parse_config
from attestlog._internal.core.canonical import decode
from attestlog._internal.core.checkpoint import check_origin, parse_checkpoint
from attestlog._internal.core.entry import check_canonical, decode_line, parse_draft, parse_timestamp
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.note import (
    VerifierKey,
    check_key_name,
    format_note,
    open_note,
    parse_note,
    parse_vkey,
)
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.signature import load_public_key, parse_signature
from attestlog.errors import AttestlogError

# Any text, lone surrogates included: that is what arguments and environment hold where bytes are not UTF-8.
any_text = st.text(st.characters(), max_size=80)
wild = st.recursive(
    st.one_of(strategies.scalars, any_text, st.binary(max_size=4), st.integers(), st.floats()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text | st.integers(), inner, max_size=4),
    max_leaves=12,
)
KEY = VerifierKey("k", 1, bytes(32))
TEXT_PARSERS: list[Callable[[str], Any]] = [
    decode, parse_checkpoint, check_origin, parse_timestamp, check_key_name, parse_vkey,
    lambda text: parse_config(text, "a.toml"),
    lambda text: parse_signature(text, "Ed25519"), lambda text: parse_signature(text, "Ed25519+BATCH"),
]  # fmt: skip
BYTE_PARSERS: list[Callable[[bytes], Any]] = [
    decode, decode_line, parse_note, load_public_key, lambda data: open_note(data, [KEY]),
    lambda data: check_canonical(read(line_of(BOOT)), data),
]  # fmt: skip


def tolerate(parse: Callable[[Any], Any], value: Any) -> None:
    with contextlib.suppress(AttestlogError):
        parse(value)


@pytest.mark.parametrize("parse", TEXT_PARSERS, ids=range(len(TEXT_PARSERS)))
@given(text=any_text)
@example(text="1" * 5_000)
@example(text="[" * 100_000)
@example(text="\ud800")
@example(text="x+00000000+AQ==")
def test_texts(parse: Callable[[str], Any], text: str) -> None:
    tolerate(parse, text)


@pytest.mark.parametrize("parse", BYTE_PARSERS, ids=range(len(BYTE_PARSERS)))
@given(data=st.binary(max_size=200))
@example(data=b"[" * 100_000)
@example(data="a\n\n— k AAAAAAA=\n".encode())
@example(data=b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n")
def test_bytes(parse: Callable[[bytes], Any], data: bytes) -> None:
    tolerate(parse, data)


@given(members=st.dictionaries(any_text, wild, max_size=4), value=wild)
@settings(max_examples=100)
def test_values_for_drafts_and_policies(members: dict[str, Any], value: Any) -> None:
    draft = {"event_type": "ACTION", "action_type": "x", "actor_id": "a"}
    for member in ("action_payload", "environment", "provided_proofs", "received_approvals"):
        tolerate(parse_draft, {**draft, member: value})
        tolerate(lambda given: line_of(draft, **given), {member: value})
    tolerate(parse_draft, {**draft, **members})
    tolerate(parse_policy, members)
    tolerate(parse_policy, {"weights": value, "safety_floor": value})


ENTRY_0 = read(line_of(BOOT, action_type="attestlog.genesis"))


GENESIS_MEMBERS = ("origin", "entry_keys", "checkpoint_keys", "policy", "settings", "software")


@given(payload=st.dictionaries(st.sampled_from(GENESIS_MEMBERS), strategies.json_values))
def test_payloads_for_a_genesis(payload: dict[str, Any]) -> None:
    tolerate(parse_genesis, msgspec.structs.replace(ENTRY_0, action_payload=payload))


MEMBERS = json.loads(line_of(BOOT))


@given(member=st.sampled_from(sorted(MEMBERS)), value=strategies.json_values)
@settings(max_examples=200)
def test_members_of_a_line(member: str, value: Any) -> None:
    line = msgspec.json.encode({**MEMBERS, member: value})
    try:
        entry = decode_line(line)
    except AttestlogError:
        return
    tolerate(lambda data: check_canonical(entry, data), line)


@given(name=any_text, blob=st.binary(max_size=80), text=any_text)
def test_signature_lines(name: str, blob: bytes, text: str) -> None:
    line = f"— {name} {base64.b64encode(blob).decode()}\n".encode("utf-8", "surrogatepass")
    tolerate(parse_note, text.encode("utf-8", "surrogatepass") + b"\n\n" + line)


@given(text=any_text.map(lambda text: text.replace("\r", "") + "\n"), name=st.text(min_size=1, max_size=9))
def test_a_note_that_is_read_is_written_as_it_was(text: str, name: str) -> None:
    data = f"{text}\n— {name} AAAAAAA=\n".encode("utf-8", "surrogatepass")
    try:
        note = parse_note(data)
    except AttestlogError:
        return
    assert format_note(note.text, note.signatures) == data
