"""Vectors of cosignatures, trust policies, proof files and consistency files."""

from __future__ import annotations

import base64
from hashlib import sha256

from tests.support import rfc6962
from tests.support.shapes import ORIGIN, SHAPES, ed25519_key, p256_key
from tests.vectors.makers.cases import Case, case, flipped, lines_of, replaced
from tests.vectors.makers.of_logs import NOTE_KEY, STRANGER, VKEY, retrailed, signed
from tests.vectors.makers.post_quantum import LINE as PQ_LINE
from tests.vectors.makers.post_quantum import VKEY as PQ_VKEY

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.consistency import Prefix, format_consistency
from attestlog._internal.core.cosignature import cosign, ed25519_message
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    format_note,
    format_vkey,
    parse_note,
    sign_note,
)
from attestlog._internal.core.proof import Proof, format_proof
from attestlog._internal.core.signature import public_key
from attestlog._internal.core.trust import format_trust_policy, parse_trust_policy

NOW_S = 1_761_825_600
WITNESSES = {
    name: VerifierKey(f"{name}.example", 4, ed25519_key(name).public_key().public_bytes_raw())
    for name in ("w1", "w2", "w3")
}

# --- cosignature ---

ROOT = sha256(b"root").digest()
TEXT = format_checkpoint(Checkpoint(ORIGIN, 20_852_163, ROOT))
FACTS: Case = {"origin": ORIGIN, "size": 20_852_163, "root": ROOT.hex()}


def line_of(text: str, name: str = "w1", timestamp: int = NOW_S) -> NoteSignature:
    return cosign(text, WITNESSES[name], timestamp, ed25519_key(name).sign)


def note_of(text: str, *lines: NoteSignature) -> str:
    return format_note(text, [sign_note(text, VKEY, NOTE_KEY.sign), *lines]).decode()


def cosignature() -> list[Case]:
    log, w1 = format_vkey(VKEY), format_vkey(WITNESSES["w1"])
    good = line_of(TEXT)
    late = (2**63).to_bytes(8, "big") + ed25519_key("w1").sign(ed25519_message(2**63, TEXT))
    plain = NOW_S.to_bytes(8, "big") + ed25519_key("w1").sign(TEXT.encode())
    later = (NOW_S + 1).to_bytes(8, "big") + good.signature[8:]
    other = format_checkpoint(Checkpoint(ORIGIN, 20_852_164, ROOT))
    pq = parse_note(f"{TEXT}\n{PQ_LINE}".encode()).signatures[0]
    renamed = VerifierKey("other.example", 6, base64.b64decode(PQ_VKEY.split("+", 2)[2])[1:])
    moved = NoteSignature(renamed.name, renamed.key_id, pq.signature)
    bad = "verification.signature"

    def one(name: str, error: str | None, note: str, vkeys: list[str], **facts: object) -> Case:
        return case(name, error, note=note, vkeys=vkeys, **facts)

    def by(*pairs: tuple[str, int | None]) -> list[Case]:
        return [{"vkey": vkey, "timestamp": timestamp} for vkey, timestamp in pairs]

    def w1_line(signature: bytes) -> NoteSignature:
        return NoteSignature(good.name, good.key_id, signature)

    return [
        one("the log and a witness", None, note_of(TEXT, good), [log, w1], **FACTS,
            signatures=by((log, None), (w1, NOW_S)), unknown=0),
        one("a witness nobody asked for", None, note_of(TEXT, good), [log], **FACTS,
            signatures=by((log, None)), unknown=1),
        one("without a time", None, note_of(TEXT, line_of(TEXT, timestamp=0)), [w1], **FACTS,
            signatures=by((w1, 0)), unknown=1),
        one("ML-DSA-44", None, note_of(TEXT, pq), [log, PQ_VKEY], **FACTS,
            signatures=by((log, None), (PQ_VKEY, NOW_S)), unknown=0),
        one("another time", bad, note_of(TEXT, w1_line(later)), [log, w1]),
        one("time past 2^63-1", bad, note_of(TEXT, w1_line(late)), [log, w1]),
        one("of another checkpoint", bad, note_of(other, good), [log, w1]),
        one("a plain signature of the note", bad, note_of(TEXT, w1_line(plain)), [log, w1]),
        one("a byte short", bad, note_of(TEXT, w1_line(good.signature[:-1])), [log, w1]),
        one("ML-DSA-44 of another checkpoint", bad, note_of(other, pq), [log, PQ_VKEY]),
        one("ML-DSA-44 under another name", bad, note_of(TEXT, moved), [log, format_vkey(renamed)]),
        one("by nobody who was asked for", "verification.trust", note_of(TEXT, good),
            [format_vkey(WITNESSES["w2"])]),
        one("vkey of another type", "malformed.note", note_of(TEXT, good), [w1.replace("+B", "+A")]),
        one("extension line", "malformed.checkpoint", note_of(TEXT + "x\n"), [log]),
    ]  # fmt: skip


# --- trust ---

NAMED = {name: f"witness {name} {format_vkey(key)}\n" for name, key in WITNESSES.items()}
LOG = f"log {format_vkey(VKEY)}\n"
TWO_OF_THREE = f"{LOG}{''.join(NAMED.values())}group g 2 w1 w2 w3\nquorum g\n"
BAD_POLICIES = {
    "no quorum": LOG,
    "two quorums": f"{LOG}quorum none\nquorum none\n",
    "last line does not end": f"{LOG}quorum none",
    "quorum of nobody": f"{LOG}quorum w1\n",
    "unknown word": f"{LOG}logs x\nquorum none\n",
    "a log twice": f"{LOG}{LOG}quorum none\n",
    "one key, two witnesses": NAMED["w1"] + f"witness v1 {format_vkey(WITNESSES['w1'])}\nquorum none\n",
    "a witness with the key of a log": f"witness w1 {format_vkey(VKEY)}\nquorum w1\n",
    "a name twice": NAMED["w1"] + NAMED["w2"].replace("w2 ", "w1 ", 1) + "quorum none\n",
    "a witness called none": NAMED["w1"].replace("w1 ", "none ", 1) + "quorum none\n",
    "a member twice": NAMED["w1"] + "group g 1 w1\ngroup h 1 w1\nquorum g\n",
    "a member defined below": "group g any w1\n" + NAMED["w1"] + "quorum g\n",
    "more than there are": NAMED["w1"] + "group g 2 w1\nquorum g\n",
    "none of them": NAMED["w1"] + "group g 0 w1\nquorum g\n",
    "leading zero": NAMED["w1"] + "group g 01 w1\nquorum g\n",
    "a group of nobody": "group g all\nquorum g\n",
    "carriage return": f"{LOG}quorum none\r\n",
    "a no-break space": f"{LOG}quorum\u00a0none\n",
    "vkey of another key ID": f"{LOG}quorum none\n".replace(format_vkey(VKEY).split("+")[1], "00000000"),
}


def trust() -> list[Case]:
    def spelled(policy: str) -> str:
        return format_trust_policy(parse_trust_policy(policy.encode())).decode("utf-8", "surrogateescape")

    comments = f"# mine\n\n \t{LOG}{NAMED['w1'].strip()} https://w1.example/\ngroup g any w1\nquorum\tg  \n"
    all_lines = [line_of(TEXT, name) for name in WITNESSES]
    one, twice = note_of(TEXT, all_lines[0]), note_of(TEXT, all_lines[0], all_lines[0])
    bare = format_note(TEXT, all_lines).decode()
    strange = signed(TEXT, STRANGER)
    two_levels = (
        f"{LOG}{''.join(NAMED.values())}group pair all w1 w2\ngroup either any pair w3\nquorum either\n"
    )
    no_trust = "verification.trust"

    def judged(name: str, policy: str, note: str, *have: str, error: str | None = None) -> Case:
        return case(name, error, policy=policy, note=note, have=list(have))

    return [
        case("comments, space and a URL", policy=comments, spelled=spelled(comments)),
        case("thresholds in words", policy=two_levels, spelled=spelled(two_levels)),
        judged("two of three: all", TWO_OF_THREE, note_of(TEXT, *all_lines), "w1", "w2", "w3"),
        judged("two of three: two", TWO_OF_THREE, note_of(TEXT, *all_lines[1:]), "w2", "w3"),
        judged("two levels, by one", two_levels, note_of(TEXT, all_lines[2]), "w3"),
        judged("no quorum asked for", f"{LOG}quorum none\n", note_of(TEXT)),
        judged("two of three: one", TWO_OF_THREE, one, "w1", error=no_trust),
        judged("two of three: one, twice", TWO_OF_THREE, twice, "w1", error=no_trust),
        judged("two levels, half a pair", two_levels, one, "w1", error=no_trust),
        judged("all witnesses, not the log", TWO_OF_THREE, bare, error=no_trust),
        judged("another log's key", f"{LOG}quorum none\n", strange, error=no_trust),
        judged(
            "a log's key under another origin", f"log {format_vkey(STRANGER)}\nquorum none\n", strange,
            error=no_trust,
        ),
        judged(
            "a bad line of a witness", TWO_OF_THREE,
            note_of(TEXT, *all_lines[:2], NoteSignature("w3.example", WITNESSES["w3"].key_id, bytes(72))),
            error="verification.signature",
        ),
        *(case(name, "malformed.trust", policy=policy) for name, policy in BAD_POLICIES.items()),
    ]  # fmt: skip


# --- proof ---


def proof() -> list[Case]:
    lines = [line.encode() for line in lines_of(*SHAPES.values(), batched=True)]
    entries = [decode_line(line) for line in lines]
    data = [bytes.fromhex(entry.entry_hash) for entry in entries]
    root = rfc6962.mth(data)
    note = signed(format_checkpoint(Checkpoint(ORIGIN, len(lines), root)), VKEY)
    policy = f"{LOG}quorum none\n"
    pem = public_key(p256_key().public_key()).pem

    def text(index: int = 2, line: bytes | None = None, **changes: object) -> str:
        facts = {
            "index": index, "path": b"".join(rfc6962.path(index, data)), "checkpoint": note.encode(),
            "extra": lines[index] if line is None else line, **changes,
        }  # fmt: skip
        return format_proof(Proof(**facts)).decode()  # type: ignore[arg-type]

    def good(name: str, index: int, written: str, **more: object) -> Case:
        facts: Case = {
            "index": index, "origin": ORIGIN, "size": len(lines), "root": root.hex(),
            "entry_hash": entries[index].entry_hash, "has_payload": True, "entry_key": None,
        }  # fmt: skip
        return case(name, proof=written, policy=policy, **{**facts, **more})

    def bad(name: str, error: str, written: str, policy: str = policy, **more: object) -> Case:
        return case(name, error, proof=written, policy=policy, **more)

    def edited(old: str, new: str) -> str:
        return text(line=replaced(lines[2].decode(), old, new).encode())

    whole, bare = text(), erase_line(lines[2])
    first = base64.b64encode(rfc6962.path(2, data)[0]).decode()
    resigned = lines[2].replace(entries[2].hsm_signature.encode(), entries[1].hsm_signature.encode())
    form, include, hashed = "malformed.proof", "verification.inclusion", "verification.hash"
    path = b"".join(rfc6962.path(2, data))
    strange = text(checkpoint=signed(TEXT, STRANGER).encode())
    return [
        *(good(f"entry {index}", index, text(index)) for index in range(len(lines))),
        good("without its payload", 2, text(line=bare), has_payload=False),
        good("and the entry key", 2, whole, entry_keys=[pem], entry_key=entries[2].signing_key_id),
        bad("the payload changed", hashed, edited("6.2", "7.2")),
        bad("a member changed", hashed, edited('"BLOCKED"', '"SUCCESS"')),
        bad("entry not canonical", "malformed.entry", edited('"k_state":1', '"k_state": 1')),
        bad("another entry", include, text(line=lines[1])),
        bad("another index", include, replaced(whole, "index 2", "index 3")),
        bad("a hash changed", include, text(path=bytes.fromhex(flipped(path.hex())))),
        bad("a hash too few", include, text(path=path[32:])),
        bad("a hash too many", include, text(path=path + root)),
        bad("another tree", include, text(checkpoint=signed(TEXT, VKEY).encode())),
        bad("size of the checkpoint changed", "verification.signature", replaced(whole, "\n6\n", "\n7\n")),
        bad("a stranger's checkpoint", "verification.trust", strange),
        bad("witnesses lacking", "verification.trust", whole, TWO_OF_THREE),
        bad("signed by another entry", "verification.signature", text(line=resigned), entry_keys=[pem]),
        bad("no extra", form, text(extra=None)),
        bad("another version", form, replaced(whole, "@v1", "@v2")),
        bad("leading zero", form, replaced(whole, "index 2", "index 02")),
        bad("a space", form, replaced(whole, "index 2", "index 2 ")),
        bad("base64 with other trailing bits", form, replaced(whole, first, retrailed(first))),
        bad("a hash of 31 bytes", form, replaced(whole, first, base64.b64encode(bytes(31)).decode())),
        bad("carriage returns", form, whole.replace("\n", "\r\n")),
        bad("no empty line", form, whole.replace("\n\n", "\n")),
        bad("no checkpoint", "malformed.note", text(checkpoint=b"")),
    ]  # fmt: skip


# --- consistency ---


def consistency() -> list[Case]:
    data = [sha256(number.to_bytes(4, "big")).digest() for number in range(300)]
    policy = f"{LOG}quorum none\n"

    def text(old: int, size: int, **changes: object) -> str:
        checkpoint = Checkpoint(ORIGIN, size, rfc6962.mth(data[:size]))
        facts = {
            "old_size": old, "old_root": rfc6962.mth(data[:old]),
            "path": b"".join(rfc6962.proof(old, data[:size])),
            "checkpoint": signed(format_checkpoint(checkpoint), VKEY).encode(), **changes,
        }  # fmt: skip
        return format_consistency(Prefix(**facts)).decode()  # type: ignore[arg-type]

    def good(old: int, size: int) -> Case:
        facts: Case = {"old_size": old, "size": size, "origin": ORIGIN}
        roots = {"old_root": rfc6962.mth(data[:old]).hex(), "root": rfc6962.mth(data[:size]).hex()}
        return case(f"{old} in {size}", proof=text(old, size), policy=policy, **facts, **roots)

    def bad(name: str, error: str, written: str, policy: str = policy) -> Case:
        return case(name, error, proof=written, policy=policy)

    whole = text(100, 300)
    form, wrong = "malformed.proof", "verification.consistency"
    other = rfc6962.mth([*data[:50], *data[51:101]])
    path = b"".join(rfc6962.proof(100, data))
    sizes = ((1, 1), (1, 2), (2, 3), (4, 8), (6, 8), (100, 300), (256, 257), (300, 300))
    grown = replaced(whole, "\n300\n", "\n301\n")
    strange = text(1, 2, checkpoint=signed(TEXT, STRANGER).encode())
    return [
        *(good(*pair) for pair in sizes),
        bad("another old root", wrong, text(100, 300, old_root=other)),
        bad("another old size", wrong, text(100, 300, old_size=101)),
        bad("nothing before", wrong, text(100, 300, old_size=0)),
        bad("old size beyond", wrong, text(100, 300, old_size=301)),
        bad("a hash changed", wrong, text(100, 300, path=bytes.fromhex(flipped(path.hex())))),
        bad("a hash too few", wrong, text(100, 300, path=path[32:])),
        bad("a hash too many", wrong, text(100, 300, path=path + path[:32])),
        bad("another history", wrong, text(100, 300, checkpoint=signed(TEXT, VKEY).encode())),
        bad("size of the checkpoint changed", "verification.signature", grown),
        bad("a stranger's checkpoint", "verification.trust", strange),
        bad("witnesses lacking", "verification.trust", whole, TWO_OF_THREE),
        bad("leading zero", form, replaced(whole, "old 100", "old 0100")),
        bad("no root", form, replaced(whole, whole.split("\n")[2] + "\n", "")),
        bad("another version", form, replaced(whole, "@v1", "@v2")),
        bad("a proof of an entry", form, replaced(whole, "attestlog/consistency", "c2sp.org/tlog-proof")),
    ]  # fmt: skip
