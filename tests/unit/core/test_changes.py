"""Bodies by which a caller elsewhere asks for changes of a log; a head as a service says it."""

import json
from typing import Any

import pytest

from attestlog._internal.core.batch import Head
from attestlog._internal.core.changes import (
    AddHold,
    AdmitKey,
    AnyChange,
    Erase,
    EraseMany,
    ReleaseHold,
    RevokeKey,
    RotateKey,
    format_change,
    format_head,
    parse_change,
    parse_head,
)
from attestlog._internal.core.merkle import Span
from attestlog.errors import MalformedError


@pytest.mark.parametrize(
    "change",
    [
        RotateKey(algorithm="Ed25519", members={"actor_id": "ops"}),
        AdmitKey(consent={"a": 1}),
        RevokeKey(key_id="k", reason="stolen", last_trusted=7),
        AddHold(name="case", reason="why", start=1, stop=9),
        ReleaseHold(name="case", reason="why"),
        Erase(sequence_number=7, reason="why", legal_basis="law"),
        EraseMany(action_types=["a*"], reason="why", older_than="90d"),
    ],
)
def test_a_change_survives_its_spelling(change: AnyChange) -> None:
    assert parse_change(format_change(change)) == change


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"change": "wipe"}, {"change": "erase", "reason": "x"},
        {"change": "erase", "sequence_number": -1, "reason": "x"},
        {"change": "erase", "sequence_number": 1, "reason": "x", "more": 1},
        {"change": "erase_many", "action_types": [], "reason": "x"},
        {"change": "rotate_key", "new_signer": "pkcs11:module-path=x.so"},
    ],
)  # fmt: skip
def test_what_is_no_change(body: Any) -> None:
    with pytest.raises(MalformedError):
        parse_change(json.dumps(body).encode())
    with pytest.raises(MalformedError):
        parse_change(b'{"change":"rotate_key","change":"rotate_key"}')


def test_a_head_survives_its_spelling_and_another_edge_does_not() -> None:
    edge = Span().extended([bytes([number]) * 32 for number in range(5)])
    head = Head(5, "ab" * 32, 1_800_000_000_000_000, edge)
    told = parse_head(format_head(head))
    assert (told.size, told.entry_hash, told.timestamp_us) == (5, "ab" * 32, 1_800_000_000_000_000)
    assert told.edge.root() == edge.root()
    members = json.loads(format_head(head))
    for wrong in ({"size": 6, "edge": members["edge"][:1]}, {"size": -1}, {"entry_hash": "x"}):
        with pytest.raises(MalformedError):
            parse_head(json.dumps({**members, **wrong}).encode())
