"""Vectors of what is kept out of a log, taken out of it, and gone back to: redaction, erasure, snapshots."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from tests.support.shapes import ACTION
from tests.vectors.makers.cases import Case, case, lines_of, replaced
from tests.vectors.makers.of_erasures import ranges
from tests.vectors.makers.of_uses import releases

from attestlog._internal.core import canonical
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import Erasure, erase_line, format_erasure
from attestlog._internal.core.redaction import commitment, subkey
from attestlog._internal.core.reserved import PLACE_LEGAL_HOLD
from attestlog._internal.core.snapshot import HEADER, Kind, Node, TreeHasher, format_node

KEY = sha256(b"redaction key of the vectors").digest()
NONCE = bytes(range(8))
LINE = lines_of(ACTION)[0]
NODES = (
    Node(Kind.DIRECTORY, b".", 0o755),
    Node(Kind.DIRECTORY, b"a", 0o1777),
    Node(Kind.FILE, b"a/x y", 0o644, 3, sha256(b"one").hexdigest()),
    Node(Kind.FILE, b"a.b", 0o4755, 0, sha256(b"").hexdigest()),
    Node(Kind.LINK, b"\xc3\xa9%\xff", 0, 3, sha256(b"a.b").hexdigest()),
)


def redaction() -> list[Case]:
    def shown(name: str, what: str, secret: Any, error: str | None = None, **changes: Any) -> Case:
        text = commitment(KEY, NONCE, what, canonical.encode(secret))
        return case(
            name, error, nonce_hex=NONCE.hex(),
            **{"commitment": text, "value": secret, "subkey_hex": subkey(KEY, NONCE).hex(), **changes},
        )  # fmt: skip

    other = subkey(KEY, NONCE[::-1]).hex()
    return [
        shown("a field", "field", "hunter2", key_hex=KEY.hex()),
        shown("a field that is an object", "field", {"b": [1, 2.5, None], "a": "é"}, key_hex=KEY.hex()),
        shown("a match", "email", "bob@example.com", key_hex=KEY.hex()),
        shown("another value", "field", "hunter2", "verification.hash", value="hunter3"),
        shown("another key", "field", "hunter2", "verification.hash", subkey_hex=other),
        shown("no commitment", "field", "hunter2", "malformed.entry", commitment="[redacted]"),
        shown("text around it", "field", "x", "malformed.entry", commitment="[redacted:field:00:00] "),
    ]


def erasure() -> list[Case]:
    erased = erase_line(LINE.encode()).decode()
    payload = format_erasure(Erasure.of(decode_line(LINE.encode()), "asked for", "GDPR 17"))
    later = "2025-11-29T12:00:00.000000Z"

    def judged(name: str, error: str | None = None, **facts: Any) -> Case:
        given = {"policy": {}, "holds": [], "erasure": payload, "timestamp": later}
        return case(name, error, **{**given, **facts})

    hold = {"name": "case-7", "start": 0, "stop": 1, "reason": "litigation"}
    refused = "governance.erasure_refused"
    day_less = {"erasure": {"retain_days": 31}}
    return [
        case("a payload goes", line=LINE, erased=erased),
        case("it is gone already", line=erased, erased=erased),
        case("a payload of another hash", "verification.hash", line=replaced(LINE, ":412", ":413")),
        case("another spelling", "malformed.entry", line=replaced(LINE, '":', '": ')),
        judged("allowed"),
        judged("on a basis that is named", policy={"erasure": {"legal_bases": ["GDPR 17"]}}),
        judged("kept for long enough", policy={"erasure": {"retain_days": 30}}),
        judged("under a hold that ended before", holds=[{**hold, "start": 1, "stop": None}]),
        judged("under hold", refused, holds=[hold]),
        judged("under a hold without end", refused, holds=[{**hold, "stop": None}]),
        judged("of an action type that is held", refused, policy={"erasure": {"held": ["execute_*"]}}),
        judged("of another action type", refused, policy={"erasure": {"action_types": ["deploy"]}}),
        judged("on another basis", refused, policy={"erasure": {"legal_bases": ["GDPR 6"]}}),
        judged("too early", refused, policy=day_less),
        judged(
            "of a name of the log's: only where its entry acts is it kept",
            erasure={**payload, "action_type": PLACE_LEGAL_HOLD},
        ),
        judged("without a reason", "malformed.entry", erasure={**payload, "reason": ""}),
        judged("with a member too many", "malformed.entry", erasure={**payload, "colour": "red"}),
        *releases(),
        *ranges(),
    ]  # fmt: skip


def snapshot() -> list[Case]:
    hasher = TreeHasher()
    for node in NODES:
        hasher.add(node)
    nodes = [
        {"kind": str(node.kind), "path_hex": node.path.hex(), "mode": node.mode,
         "size_bytes": node.size_bytes, "content_hash": node.content_hash}
        for node in NODES
    ]  # fmt: skip
    manifest = (HEADER + b"".join(map(format_node, NODES))).decode()
    return [
        case("a tree", nodes=nodes, manifest=manifest, hash=hasher.hexdigest()),
        case("bytes", content="one", hash=sha256(b"one").hexdigest()),
        case("nothing", content="", hash=sha256(b"").hexdigest()),
        case("other bytes", "verification.hash", content="two", hash=sha256(b"one").hexdigest()),
    ]
