"""Vectors of canonical form, entries, hashes, signatures and the tree."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Final

import rfc8785
from tests.support import curves, rfc6962
from tests.support.shapes import (
    ACTION,
    BOOT,
    SHAPES,
    VIOLATION,
    ed25519_key,
    p256_key,
)
from tests.vectors.makers.cases import AnyKey, Case, case, flipped, lines_of, replaced, sign
from tests.vectors.makers.ml_dsa import ml_dsa_key

from attestlog._internal.core.curves import P256_HALF_ORDER
from attestlog._internal.core.entry import decode_line, preimage
from attestlog._internal.core.hashes import batch_message
from attestlog._internal.core.signature import format_batch, public_key

# --- canonical ---

GOOD_JSON = {
    "white space": ' {\r\n\t"b" : [ 1 , 2 ] ,\n"a" : null } ',
    "order by UTF-16 code units": '{"\\ufb33":1,"\\ud834\\udd1e":2,"€":3,"é":4,"a":5,"A":6,"":7,"10":8}',
    "escapes": '"\\u0000\\u001f\\u0008\\t\\n\\f\\r\\"\\\\\\/\\u007f\\u00e9\\u2028\\ud83d\\ude00"',
    "numbers": "[0, -0, -0.0, 1.0, 1e2, 0.10, 1E-6, 9.999e-7, 1e-7, 5e-324, 4.50, 333333333.33333329, 2e-3]",
    "large numbers": "[9007199254740991, -9007199254740991, 1e21, 1.5e300, 1.7976931348623157e308]",
    "nesting at the limit": "[" * 64 + "]" * 64,
    "literals": '[true,false,null,[],{},""]',
}
BAD_JSON = {
    "duplicate name": '{"a":1,"b":2,"a":1}',
    "duplicate name, escaped": '{"a":1,"\\u0061":1}',
    "not a number": "[NaN]",
    "infinity": "[-Infinity]",
    "beyond doubles": "[1e999]",
    "integer 2^53": "[9007199254740992]",
    "whole float beyond 2^53": "[1e16]",
    "lone surrogate": '["\\ud834"]',
    "lone surrogate in a name": '{"\\udd1e":1}',
    "nesting past the limit": "[" * 65 + "]" * 65,
    "absurd nesting": "[" * 5_000,
    "byte order mark": "\ufeff{}",
    "two values": "{}{}",
    "trailing comma": "[1,]",
    "leading zero": "[01]",
    "control character": '["\n"]',
    "nothing": "",
    "comment": "{}//",
}


BAD_BYTES = {
    "not UTF-8": b'["\xff"]',
    "a surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "overlong UTF-8": b'["\xc0\x80"]',
}


def canonical() -> list[Case]:
    spelled = {text: rfc8785.dumps(json.loads(text)).decode() for text in GOOD_JSON.values()}
    good = [case(name, input=text, canonical=spelled[text]) for name, text in GOOD_JSON.items()]
    bad = [case(name, "malformed.json", input=text) for name, text in BAD_JSON.items()]
    bytewise = [case(name, "malformed.json", input_hex=data.hex()) for name, data in BAD_BYTES.items()]
    return [*good, *bad, *bytewise]


# --- entry ---

LINE = lines_of(VIOLATION)[0]
AWKWARD = {"\U0001d11e": 1.0, "\ufb33": [1e-7, 1e21, 5e-324], "é": -0.0}


def entry_facts(line: str) -> Case:
    entry = decode_line(line.encode())
    return {
        "line": line,
        "preimage": preimage(entry).decode(),
        "entry_hash": entry.entry_hash,
        "action_hash": entry.action_hash,
    }


MUTANTS = {
    "white space": ('"severity":8', '"severity": 8'),
    "another spelling of a number": ('"severity":8', '"severity":8.0'),
    "another spelling in the payload": ('"safety_score":6.2', '"safety_score":6.20'),
    "a needless escape": ('"BLOCKED"', '"\\u0042LOCKED"'),
    "member twice": ('"severity":8', '"severity":8,"severity":8'),
    "member twice in the payload": ('"blocked":true', '"blocked":true,"blocked":true'),
    "member missing": ('"severity":8,', ""),
    "member unknown": ('"severity":8', '"severity":8,"severity_":8'),
    "members out of order": (
        '"k_state":1,"pillars_scores":{"an_toan":6.2}',
        '"pillars_scores":{"an_toan":6.2},"k_state":1',
    ),
    "enumeration": ('"VIOLATION"', '"violation"'),
    "boolean for an integer": ('"k_state":1', '"k_state":true'),
    "out of range": ('"severity":8', '"severity":11'),
    "null where none may be": ('"replicas":[]', '"replicas":null'),
    "proof without valid": ('"provided_proofs":[]', '"provided_proofs":[{"type":"rollback"}]'),
    "approval without signature": ('"received_approvals":[]', '"received_approvals":[{"signer":"a"}]'),
    "entry id not of version 4": ("00000000-0000-4000", "00000000-0000-1000"),
    "timestamp without fraction": ("12:00:00.000000Z", "12:00:00Z"),
    "attribution": ("alpha_prime_omega", "alpha_prime"),
    "schema version": ('"schema_version":"1.0.0"', '"schema_version":"1.0.1"'),
    "integer beyond 2^53": ('"min_required":7', '"min_required":9007199254740992'),
}
BAD_DRAFTS: dict[str, tuple[Case, str, str]] = {
    "assigned by the log": ({"sequence_number": 0}, "malformed.entry", "sequence_number"),
    "unknown member": ({"colour": "red"}, "malformed.entry", "colour"),
    "no actor": ({"actor_id": ""}, "malformed.entry", "actor_id"),
    "long action type": ({"action_type": "x" * 257}, "malformed.entry", "action_type"),
    "pillar of another name": ({"pillars_scores": {"safety": 8}}, "malformed.entry", "pillars_scores"),
    "payload not an object": ({"action_payload": []}, "malformed.entry", "action_payload"),
    "floor contradicted": ({"safety_floor_met": True}, "verification.derived", "safety_floor_met"),
    "composite contradicted": ({"composite_score": 7}, "verification.derived", "composite_score"),
    "k_state contradicted": ({"k_state": 0}, "verification.derived", "k_state"),
    "quorum contradicted": ({"quorum_met": False}, "verification.derived", "quorum_met"),
    "payload hash contradicted": ({"action_hash": "0" * 64}, "verification.derived", "action_hash"),
}


def entry() -> list[Case]:
    good = [case(f"shape {name}", **entry_facts(lines_of(shape)[0])) for name, shape in SHAPES.items()]
    awkward = lines_of({**ACTION, "action_payload": AWKWARD, "actor_context": AWKWARD})[0]
    payload = rfc8785.dumps(json.loads(LINE)["action_payload"]).decode()
    good.append(case("numbers and names that are spelled with care", **entry_facts(awkward)))
    good.append(case("payload erased", **entry_facts(LINE.replace(payload, "null"))))
    bad = [case(name, "malformed.entry", line=replaced(LINE, *change)) for name, change in MUTANTS.items()]
    drafts = [
        case(f"draft, {name}", error, draft={**VIOLATION, **change}, member=member)
        for name, (change, error, member) in BAD_DRAFTS.items()
    ]
    return [*good, *bad, *drafts]


# --- hashes ---


def hashes() -> list[Case]:
    chain = lines_of(BOOT, ACTION, VIOLATION)
    entries = [json.loads(line) for line in chain]
    first, second, third = chain
    edited = replaced(second, '"lines_changed":412', '"lines_changed":413')
    status = replaced(second, '"SUCCESS"', '"FAILED"')
    rehashed = json.loads(second)
    rehashed["action_payload"]["lines_changed"] = 413
    rehashed["action_hash"] = sha256(rfc8785.dumps(rehashed["action_payload"])).hexdigest()
    bare = {k: v for k, v in rehashed.items() if k not in {"action_payload", "entry_hash", "hsm_signature"}}
    rehashed["entry_hash"] = sha256(rfc8785.dumps(bare)).hexdigest()
    again = rfc8785.dumps(rehashed).decode()
    return [
        case("a chain", lines=chain, entry_hashes=[entry["entry_hash"] for entry in entries]),
        case("payload edited", "verification.hash", lines=[first, edited, third]),
        case("another member edited", "verification.hash", lines=[first, status, third]),
        case("edited and hashed again", "verification.chain", lines=[first, again, third]),
        case("entry dropped", "verification.chain", lines=[first, third]),
        case("entries swapped", "verification.chain", lines=[first, third, second]),
        case("entry repeated", "verification.chain", lines=[first, second, second]),
        case("not from the beginning", "verification.chain", lines=[second, third]),
    ]


# --- signature ---


def signature() -> list[Case]:
    keys: list[AnyKey] = [p256_key(), ed25519_key(), ml_dsa_key(44), ml_dsa_key(65)]
    return [*(one for key in keys for one in signatures(key)), *edges()]


def signatures(key: AnyKey) -> list[Case]:
    digests = [sha256(f"entry {number}".encode()).digest() for number in range(5)]
    hexed = digests[2].hex()
    public = public_key(key.public_key())
    plain = sign(key, digests[2]).hex()
    root, own_root = rfc6962.mth(digests), rfc6962.mth(digests[2:3])
    batch = format_batch(sign(key, batch_message(root)), 2, 5, b"".join(rfc6962.path(2, digests)))
    single = format_batch(sign(key, batch_message(own_root)), 0, 1, b"")
    blob, place, path = batch.split(":")

    def one(
        name: str, error: str | None, suffix: str, text: str, entry_hash: str = hexed, **more: str
    ) -> Case:
        facts = {
            "algorithm": public.algorithm + suffix,
            "entry_hash": entry_hash,
            "hsm_signature": text,
            **more,
        }
        keys = {"public_key": public.pem, "key_id": public.key_id}
        return case(f"{public.algorithm}, {name}", error, **{**keys, **facts})

    bad, form = "verification.signature", "malformed.signature"
    another = "Ed25519" if public.algorithm != "Ed25519" else "ECDSA-P256-SHA256"
    cases = [
        one("plain", None, "", plain),
        one("batch", None, "+BATCH", batch, root=root.hex()),
        one("batch of one", None, "+BATCH", single, root=own_root.hex()),
        one("another entry", bad, "", plain, digests[1].hex()),
        one("another entry of the batch", bad, "+BATCH", batch, digests[1].hex()),
        one("another place", bad, "+BATCH", f"{blob}:1/5:{path}"),
        one("a bit changed", bad, "", flipped(plain)),
        one("a bit of the path changed", bad, "+BATCH", f"{blob}:{place}:{flipped(path)}"),
        one("another algorithm", bad, "", plain, algorithm=another),
        one("upper case", form, "", plain.upper()),
        one("empty", form, "", ""),
        one("plain form for a batch", form, "+BATCH", plain),
        one("batch form for a plain one", form, "", batch),
        one("leading zero", form, "+BATCH", f"{blob}:02/5:{path}"),
        one("place beyond the size", form, "+BATCH", f"{blob}:5/5:{path}"),
        one("path too short", form, "+BATCH", f"{blob}:{place}:{path[64:]}"),
        one("batch too large", form, "+BATCH", f"{blob}:0/1025:{path}"),
    ]
    if public.algorithm == "ECDSA-P256-SHA256":
        cases += [
            one("respelled: n - s", form, "", respelled(plain)),
            one("respelled, for a batch", form, "+BATCH", f"{respelled(blob)}:{place}:{path}"),
        ]
    # Those that say something of the signature itself: the others would be long, and the same again.
    return [item for item in cases if len(plain) < _LONG_DIGITS or item["name"].split(", ")[1] in _OF_ANY_KEY]


def respelled(hexed: str) -> str:
    return curves.respelled(bytes.fromhex(hexed)).hex()


def edges() -> list[Case]:
    """The largest s that is taken and the next one; and keys under which anybody can sign."""
    message = sha256(b"entry 2").digest()

    def one(name: str, error: str | None, public: dict[str, str], signature: str) -> Case:
        facts = {"entry_hash": message.hex(), "hsm_signature": signature}
        return case(name, error, **facts, **public)

    cases = []
    for what, s, error in (
        ("half of the order", P256_HALF_ORDER, None),
        ("half of the order and 1", P256_HALF_ORDER + 1, "malformed.signature"),
    ):
        key, signature = curves.key_with_s(s, message)
        public = {"algorithm": key.algorithm, "public_key": key.pem, "key_id": key.key_id}
        cases.append(one(f"s is {what}", error, public, signature.hex()))
    for what, points in (("of small order", curves.SMALL_ORDER), ("not reduced", curves.NOT_REDUCED)):
        for number, point in enumerate(points, 1):
            key_id = sha256(curves.spki_of(point)).hexdigest()
            public = {"algorithm": "Ed25519", "public_key": curves.pem_of(point), "key_id": key_id}
            name = f"an Ed25519 key {what}, {number}"
            cases.append(one(name, "malformed.signature", public, curves.FORGED))
    return cases


_LONG_DIGITS: Final = 1_000
_OF_ANY_KEY: Final = (
    "plain",
    "batch",
    "another entry",
    "another place",
    "a bit changed",
    "another algorithm",
)


# --- merkle ---


def merkle() -> list[Case]:
    data = [sha256(number.to_bytes(4, "big")).digest() for number in range(257)]
    sizes = (0, 1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257)
    cases = [case(f"root of {size}", size=size, root=rfc6962.mth(data[:size]).hex()) for size in sizes]
    for index, size in ((0, 1), (0, 2), (4, 5), (2, 7), (6, 7), (256, 257), (100, 257)):
        cases += inclusions(data[:size], index)
    for old, size in ((1, 1), (1, 2), (2, 3), (3, 4), (4, 7), (6, 7), (7, 8), (256, 257), (100, 257)):
        cases += consistencies(data[:size], old)
    return cases


def inclusions(data: list[bytes], index: int) -> list[Case]:
    size, path = len(data), b"".join(rfc6962.path(index, data)).hex()
    leaf, root = rfc6962.mth([data[index]]).hex(), rfc6962.mth(data).hex()

    def one(name: str, error: str | None = "verification.inclusion", **changed: Any) -> Case:
        facts = {"leaf_hash": leaf, "index": index, "size": size, "path": path, "root": root}
        return case(f"inclusion of {index} in {size}{name}", error, **{**facts, **changed})

    cases = [
        one("", None),
        one(", another root", root=flipped(root)),
        one(", another leaf", leaf_hash=flipped(leaf)),
        one(", longer path", path=path + root),
        one(", index beyond", index=size),
    ]
    if path:
        cases += [one(", shorter path", path=path[64:]), one(", a bit changed", path=flipped(path))]
    return cases


def consistencies(data: list[bytes], old: int) -> list[Case]:
    size, proof = len(data), b"".join(rfc6962.proof(old, data)).hex()
    old_root, root = rfc6962.mth(data[:old]).hex(), rfc6962.mth(data).hex()

    def one(name: str, error: str | None = "verification.consistency", **changed: Any) -> Case:
        facts = {"old_size": old, "size": size, "proof": proof, "old_root": old_root, "root": root}
        return case(f"consistency of {old} with {size}{name}", error, **{**facts, **changed})

    cases = [
        one("", None),
        one(", another root", root=flipped(root)),
        one(", another old root", old_root=flipped(old_root)),
        one(", longer proof", proof=proof + root),
        one(", nothing before", old_size=0),
        one(", old size beyond", old_size=size + 1),
        one(", a root of 31 bytes", "malformed.proof", root=root[2:]),
    ]
    if proof:
        cases += [one(", shorter proof", proof=proof[64:]), one(", a bit changed", proof=flipped(proof))]
    return cases
