"""Verify an attestlog log or proof with one file: the standard library and `cryptography`, nothing else.

    python verify.py LOG                 --trust KEY     a log's directory
    python verify.py EXPORTED.jsonl      --trust KEY     its entries, one a line (--checkpoint FILE beside)
    python verify.py X.tlog-proof        --trust VKEY    one entry, with the log gone
    python verify.py X.tlog-consistency  --trust VKEY    an earlier state is a prefix of a later one
    python verify.py X.bundle            --trust KEY     some entries, with what their keys rest on

KEY is a vkey, a public key file, an entry key's id or the genesis hash. The first word printed is the
verdict; the exit code says it too: 0 VERIFIED, 1 TAMPERED, 2 usage, 3 MALFORMED, 4 UNKNOWN, 5 TRUNCATED or
FORKED, 6 INCOMPLETE.

It is written to be read, from top to bottom: JSON, entries, the tree, keys, notes, proofs, the rules, the
log. It shares no code with attestlog. What it does not judge: the policy, what the policy derives or allows
(scores, proofs, approvals, erasures), and so whether a change of the policy or a legal hold was allowed: it
takes each to hold, and the next entry has to say so; guarded acts beside their intents; heads that entries
saw further back than the entry before; cosignatures by witnesses; time stamps; and what was seen of the log
before.
"""

from __future__ import annotations

import argparse
import base64
import errno
import importlib
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from struct import iter_unpack
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, NoReturn

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
except ImportError as error:  # a traceback would leave with 1, which means TAMPERED
    if __name__ != "__main__":
        raise
    sys.stdout.write(f"UNKNOWN\n  nothing was verified: {error} (pip install cryptography)\n")
    sys.exit(4)

EXIT_CODES = {
    "VERIFIED": 0, "INCOMPLETE": 6, "UNKNOWN": 4, "TRUNCATED": 5, "FORKED": 5, "TAMPERED": 1, "MALFORMED": 3,
}  # fmt: skip
"""Lightest first: the gravest finding is the verdict."""
CODES = {
    "MALFORMED": "log.not_a_log log.no_genesis proof.malformed export.malformed",
    "TAMPERED": "entry.malformed entry.canonical entry.too_large entry.sequence entry.chain entry.timestamp"
    " entry.action_hash entry.entry_hash entry.algorithm entry.signing_key entry.signature_form"
    " entry.signature entry.batch entry.rules entry.head entry.change entry.payload_missing erasure.malformed"
    " erasure.refused segment.missing segment.stray segment.malformed segment.length checkpoint.missing"
    " checkpoint.malformed checkpoint.signature checkpoint.origin checkpoint.root proof.checkpoint proof.hash"
    " proof.inclusion proof.consistency proof.entry_signature",
    "FORKED": "trust.mismatch",
    "TRUNCATED": "log.cut_batch tree.longer checkpoint.ahead",
    "UNKNOWN": "log.missing log.newer log.unreadable segment.absent proof.unreadable export.unreadable"
    " checkpoint.unsupported"
    " trust.none entry.newer entry.unjudged key.revoked",
    "INCOMPLETE": "log.torn_tail log.torn_batch log.unsettled segment.twice",
    "VERIFIED": "entry.id_repeated entry.ids_unread",
}
"""Verdict → the findings that amount to it, by the codes of attestlog."""
UNSETTLED = (
    "entry.canonical entry.too_large entry.action_hash entry.entry_hash entry.signature_form entry.signature"
).split()
"""Bytes or signature of an entry do not hold: in a last batch that was never acknowledged, a crash's work."""
VERDICTS = {code: verdict for verdict, codes in CODES.items() for code in codes.split()}
FINDINGS_SHOWN = 50
INTEGER_MAX = 2**53 - 1
DEPTH_MAX = 64
REST_SIZE_MAX, PAYLOAD_SIZE_MAX = 65_535, 16 << 20
LINE_SIZE_MAX = REST_SIZE_MAX + PAYLOAD_SIZE_MAX + 64
BATCH_MAX = 1_024
ROOM_SIZE_MAX = 4 << 20
"""Of the spaces in which the last segment may end: a writer reserved them to write into."""
KEYS_MAX, KEYS_IN_FORCE_MAX = 10_000, 64
FORMAT = 1
"""The version of the formats that this verifier knows; the first entry states the log's."""


class Fault(Exception):  # noqa: N818 - what it says, not that it was raised
    """What is found. `code`: of the finding, where it is known here."""

    def __init__(self, what: str, code: str = "") -> None:
        super().__init__(what)
        self.code = code


class Malformed(Fault):
    """The bytes are not of the format."""


class Wrong(Fault):
    """Well-formed, and does not hold."""


class Newer(Fault):
    """Of a format that only a newer attestlog knows: nothing is judged."""


# --- JSON in its canonical form (RFC 8785) ---


def parse_json(text: str) -> Any:
    """The value; of a name that stands twice the last. Spelling it again (`canonical`) finds both."""

    def integer(digits: str) -> int:
        if abs(value := int(digits[:20])) > INTEGER_MAX:
            raise Malformed(f"integer {digits[:20]} is beyond 2^53")
        return value

    def constant(name: str) -> NoReturn:
        raise Malformed(f"{name} is no JSON")

    try:
        value = json.loads(text, parse_int=integer, parse_constant=constant, object_pairs_hook=_join_members)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"not JSON: {str(error)[:80]}") from None
    if "\\u" in text and _has_lone_surrogate(text):
        raise Malformed("not JSON: a lone surrogate")
    return value


def _has_lone_surrogate(text: str) -> bool:
    """Whether an escape stands for half a character, which has no UTF-8. Python's parser takes it."""
    escapes = re.sub(r"\\[^u]", " ", text)
    paired = re.sub(r"\\u[dD][89abAB]..\\u[dD][c-fC-F]..", " ", escapes)
    return re.search(r"\\u[dD][89a-fA-F]", paired) is not None


class Repeated(dict[str, Any]):
    """An object in which a name stands twice: the last value counts, and each must be of its type."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _join_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Repeated(pairs)


def every_pair(members: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Name and value as they stand, a name twice where it does."""
    return members.pairs if isinstance(members, Repeated) else members.items()


def canonical(value: Any, depth: int = 1) -> str:
    """The one spelling of a value."""
    if value is None or isinstance(value, bool | str | int):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return spell_float(value)
    if depth > DEPTH_MAX:
        raise Malformed("nested too deep")
    if isinstance(value, list):
        return "[" + ",".join(canonical(item, depth + 1) for item in value) + "]"
    names = sorted(value, key=lambda name: str(name).encode("utf-16-be", "surrogatepass"))
    members = (f"{canonical(name)}:{canonical(value[name], depth + 1)}" for name in names)
    return "{" + ",".join(members) + "}"


def spell_float(value: float) -> str:
    """As ECMAScript writes a number: Python's shortest digits, with the exponent where it has it."""
    if value in (float("inf"), float("-inf")):
        raise Malformed("a number beyond doubles")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    sign = "-" if value < 0 else ""
    if len(digits) <= point <= 21:
        if abs(value) > INTEGER_MAX:
            raise Malformed("a whole number beyond 2^53")
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


# --- entries ---

Entry = dict[str, Any]

PILLARS = {"an_toan", "duong_dai", "tin_vao_so_lieu", "han_che_rui_ro"}
KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "name": lambda value: isinstance(value, str) and 1 <= len(value) <= 256,
    "flag": lambda value: isinstance(value, bool),
    "count": lambda value: type(value) is int and 0 <= value <= INTEGER_MAX,
    "score": lambda value: type(value) in (int, float) and 0 <= value <= 10,
    "bit": lambda value: type(value) is int and value in (0, 1),
    "severity": lambda value: type(value) is int and 0 <= value <= 10,
    "object": lambda value: isinstance(value, dict),
    "scores": lambda value: fits(value, "{score}") and PILLARS.issuperset(value),
    "proof": lambda value: fits(value, "object") and all(
        fits(value.get(name), kind) for name, kind in (("type", "text"), ("valid", "flag"))
    ),
    "approval": lambda value: fits(value, "{text}") and {"signer", "signature", "timestamp"} <= set(value),
}  # fmt: skip


def fits(value: Any, kind: str) -> bool:
    """`x?`: or null. `[x]`: array of x. `{x}`: object of x. `/x/`: text of this pattern. Else see KINDS."""
    if kind.endswith("?"):
        return value is None or fits(value, kind[:-1])
    if kind[0] == "[":
        return isinstance(value, list) and all(fits(item, kind[1:-1]) for item in value)
    if kind[0] == "{":
        return isinstance(value, dict) and all(fits(item, kind[1:-1]) for _, item in every_pair(value))
    if kind[0] == "/":
        return isinstance(value, str) and re.fullmatch(kind[1:-1], value, re.ASCII) is not None
    return KINDS[kind](value)


HASH = "/[0-9a-f]{64}/"
UUID = "/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/"
MEMBERS = {
    "action_hash": "text", "action_payload": "object?", "action_type": "name", "actor_context": "object",
    "actor_id": "name", "actor_type": "/HUMAN|AUTONOMOUS_AGENT|SYSTEM|EXTERNAL/",
    "attribution": "/alpha_prime_omega/", "composite_score": "score?", "conflicts_detected": "[text]",
    "dependencies": f"[{UUID}]", "entry_hash": "text", "entry_id": UUID, "environment": "{text}",
    "error_details": "object?", "event_category": "/NORMAL|WARNING|ERROR|CRITICAL/",
    "event_type": "/ACTION|DECISION|VIOLATION|CHANGE|BOOT|SHUTDOWN/",
    "execution_status": "/SUCCESS|FAILED|BLOCKED|ROLLED_BACK/", "hsm_signature": "text", "k_state": "bit",
    "pillars_scores": "scores", "prev_entry_hash": "text", "proofs_valid": "flag",
    "provided_proofs": "[object]", "quorum_met": "flag", "received_approvals": "[{text}]",
    "replicas": "[text]", "required_approvals": "count", "required_proofs": "[text]",
    "result_data": "object?", "rollback_available": "flag", "rollback_executed": "flag",
    "rollback_snapshot_hash": f"{HASH}?", "safety_floor_met": "flag?", "schema_version": "/1[.]0[.]0/",
    "sequence_number": "count", "severity": "severity", "signature_algorithm": "text",
    "signing_key_id": "text", "system_state_snapshot": "object",
    "timestamp": r"/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/",
}  # fmt: skip
NOT_COVERED = ("action_payload", "entry_hash", "hsm_signature")
"""Members that entry_hash does not cover; the payload is bound through action_hash."""


def decode_entry(line: bytes) -> Entry:
    """The entry of a line, its members of the right types. Raises Malformed."""
    try:
        entry = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if not isinstance(entry, dict) or entry.keys() != MEMBERS.keys():
        raise Malformed("not an object with the members of an entry")
    for name, value in every_pair(entry):
        if not fits(value, MEMBERS[name]):
            raise Malformed(f"{name} is not what it must be")
    if not fits(entry["provided_proofs"], "[proof]") or not fits(entry["received_approvals"], "[approval]"):
        raise Malformed("a proof or an approval does not say all that it must")
    return entry


ACTING = {
    f"attestlog.{name}"
    for name in (
        "set_policy modify_policy_rule rotate_signing_key admit_signing_key revoke_signing_key"
        " place_legal_hold release_legal_hold erase_payload erase_payloads"
        " signer_outage restored imported clock_step was_read"
    ).split()
}
"""Action types by which a CHANGE of status SUCCESS acts on the log itself."""


KEY_CHANGES = {f"attestlog.{name}_signing_key" for name in ("rotate", "admit", "revoke")}
POLICY_CHANGES = {"attestlog.set_policy", "attestlog.modify_policy_rule"}
HOLD_CHANGES = {"attestlog.place_legal_hold", "attestlog.release_legal_hold"}
ERASURES = {"attestlog.erase_payload", "attestlog.erase_payloads"}
KEPT = KEY_CHANGES | POLICY_CHANGES | HOLD_CHANGES | ERASURES | {"attestlog.genesis"}
"""Those whose payloads are never erased."""


def acts(entry: Entry) -> bool:
    """Whether the entry acts on the log; else a name of the log's is only a record."""
    is_done = (entry["event_type"], entry["execution_status"]) == ("CHANGE", "SUCCESS")
    return is_done and entry["action_type"].startswith("attestlog.")


def check_entry(entry: Entry, line: bytes) -> None:
    """Raises Malformed unless the line is the entry's one spelling, Wrong unless its hashes are its own."""
    for code, what in find_wrong_hashes(entry, line):
        raise Wrong(what, code)


def find_wrong_hashes(entry: Entry, line: bytes) -> Iterator[tuple[str, str]]:
    """Code and words for each hash that is not its own. Raises Malformed unless it is in its one spelling."""
    spelled = {name: canonical(entry[name], 2) for name in sorted(entry)}
    payload, whole = spelled["action_payload"].encode(), _join(spelled).encode()
    if whole != line:
        raise Malformed("not in canonical form", "entry.canonical")
    rest = len(line) - len(payload) - len('"action_payload":,')
    if len(payload) > PAYLOAD_SIZE_MAX or rest > REST_SIZE_MAX:
        raise Malformed("over its size limit", "entry.too_large")
    if entry["action_payload"] is not None and entry["action_hash"] != sha256(payload).hexdigest():
        yield "entry.action_hash", "action_hash is not the hash of the payload"
    if entry["entry_hash"] != hash_entry(spelled):
        yield "entry.entry_hash", "entry_hash is not the hash of the entry"


SPELLING = {"entry.canonical", "entry.too_large"}


def has_own_hashes(entry: Entry) -> bool:
    """Whether its hashes are its own, however the line spells it."""
    try:
        spelled = {name: canonical(entry[name], 2) for name in sorted(entry)}
    except Malformed:
        return False
    payload = sha256(spelled["action_payload"].encode("utf-8", "surrogatepass")).hexdigest()
    return (entry["action_hash"], entry["entry_hash"]) == (payload, hash_entry(spelled))


def hash_entry(spelled: dict[str, str]) -> str:
    """What the `entry_hash` of an entry with these members must be."""
    covered = _join({name: text for name, text in spelled.items() if name not in NOT_COVERED})
    return sha256(covered.encode("utf-8", "surrogatepass")).hexdigest()


def _join(spelled: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":{text}' for name, text in spelled.items()) + "}"


# --- the tree (RFC 6962) ---


def leaf_hash(entry_hash: bytes) -> bytes:
    """The data of a leaf is the 32 bytes of an entry's entry_hash."""
    return sha256(b"\x00" + entry_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """A node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


@dataclass
class Tree:
    """A growing tree: the roots of its perfect subtrees, the largest first."""

    size: int = 0
    nodes: list[bytes] = field(default_factory=list)

    def add(self, leaf: bytes) -> None:
        """One more leaf."""
        place, node = self.size, leaf
        while place & 1:
            node = node_hash(self.nodes.pop(), node)
            place >>= 1
        self.nodes.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves."""
        if not self.nodes:
            return sha256(b"").digest()
        *rest, root = self.nodes
        for left in reversed(rest):
            root = node_hash(left, root)
        return root


def path_length(index: int, size: int) -> int:
    """How many hashes an inclusion path has."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def climb(node: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion path leads to (RFC 9162, 2.1.3.2). Raises Wrong if it does not fit."""
    if not 0 <= index < size:
        raise Wrong(f"index {index} is not in a tree of {size}", "proof.inclusion")
    if len(path) != path_length(index, size):
        raise Wrong(f"the path has {len(path)} hashes, which do not fit", "proof.inclusion")
    last = size - 1
    for sibling in path:
        while index == last and index % 2 == 0:
            index, last = index // 2, last // 2
        node = node_hash(sibling, node) if index % 2 else node_hash(node, sibling)
        index, last = index // 2, last // 2
    return node


def check_consistency(old: int, size: int, old_root: bytes, root: bytes, path: list[bytes]) -> None:
    """Raises Wrong unless the first `old` leaves are a prefix of the tree (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= size:
        raise Wrong(f"size {old} is not from 1 to {size}", "proof.consistency")
    if old == size:
        if path or old_root != root:
            raise Wrong("one size, and another root", "proof.consistency")
        return
    if old & (old - 1) == 0:
        path = [old_root, *path]
    if not path:
        raise Wrong("the proof is empty", "proof.consistency")
    index, last = old - 1, size - 1
    while index % 2:
        index, last = index // 2, last // 2
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Wrong("the proof has too many hashes", "proof.consistency")
        if index % 2 or index == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            second = node_hash(second, sibling)
        index, last = index // 2, last // 2
    if last or (first, second) != (old_root, root):
        raise Wrong("the proof leads to another root", "proof.consistency")


# --- keys and signatures ---

P256_HALF_ORDER = 0x7FFFFFFF800000007FFFFFFFFFFFFFFFDE737D56D38BCF4279DCE5617E3192A8
"""The largest s of a signature: (r, n - s) verifies as well, and anybody could respell it so."""
ED25519_PRIME = 2**255 - 19
ED25519_ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7


def check_ed25519_key(key: bytes) -> None:
    """Raises Malformed for a key of small order, under which anyone can sign, or in another spelling."""
    y = int.from_bytes(key, "little") % 2**255
    if y >= ED25519_PRIME or y in {
        0,
        1,
        ED25519_PRIME - 1,
        ED25519_ORDER_8_Y,
        ED25519_PRIME - ED25519_ORDER_8_Y,
    }:
        raise Malformed("an Ed25519 key of small order, or not in its one spelling")


@dataclass(frozen=True)
class Key:
    """An entry key."""

    id: str
    algorithm: str
    pem: str
    verify: Callable[[bytes, bytes], None]
    """signature, message: raises Wrong."""


def load_key(pem: str) -> Key:
    """Raises Malformed unless it is a public key that entries are signed with."""
    try:
        key: Any = load_pem_public_key(pem.encode())
    except ValueError:
        raise Malformed("not a public key in PEM") from None
    except UnsupportedAlgorithm as error:
        if not _is_ml_dsa(pem):
            raise Malformed("not a public key of a known kind") from None
        raise OSError(f"the installed cryptography cannot judge this: {error}") from None
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    names = {"Ed25519PublicKey": "Ed25519", "MLDSA44PublicKey": "ML-DSA-44", "MLDSA65PublicKey": "ML-DSA-65"}
    algorithm = names.get(type(key).__name__)
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        algorithm = "ECDSA-P256-SHA256"
    if algorithm == "Ed25519":
        check_ed25519_key(der[-32:])
    if algorithm is None:
        raise Malformed(f"entries are not signed with {type(key).__name__}")

    def verify(signature: bytes, message: bytes) -> None:
        more = (ECDSA(SHA256()),) if algorithm == "ECDSA-P256-SHA256" else ()
        try:
            key.verify(signature, message, *more)
        except InvalidSignature:
            what = f"the signature does not verify under key {sha256(der).hexdigest()[:16]}"
            raise Wrong(what, "entry.signature") from None
        if more and decode_dss_signature(signature)[1] > P256_HALF_ORDER:
            what = "the signature is respelled: its s is over half of the order"
            raise Wrong(what, "entry.signature_form")

    return Key(sha256(der).hexdigest(), algorithm, text, verify)


def _is_ml_dsa(pem: str) -> bool:
    """By its bytes: where the installed cryptography does not have it, it is no less a key."""
    try:
        der = base64.b64decode("".join(pem.split("-----")[2].split()))
    except (ValueError, IndexError):
        return False
    return any(der.startswith(start) and len(der) == len(start) + size for start, size in ML_DSA_KEYS.items())


ML_DSA_KEYS = {
    bytes.fromhex("30820532300b06096086480165030403110382052100"): 1_312,
    bytes.fromhex("308207b2300b0609608648016503040312038207a100"): 1_952,
}
"""How the keys begin in DER: → the bytes that follow."""


@dataclass(frozen=True)
class Signature:
    """`hsm_signature`: of the entry alone, or (size > 0) of a batch and the way to its root."""

    value: bytes
    index: int = 0
    size: int = 0
    path: tuple[bytes, ...] = ()


_BATCH = re.compile(r"((?:[0-9a-f]{2})+):(0|[1-9]\d{0,4})/([1-9]\d{0,4}):((?:[0-9a-f]{64})*)", re.ASCII)


def parse_signature(entry: Entry) -> Signature:
    """Raises Wrong unless it is of the form that the algorithm asks for."""
    text = entry["hsm_signature"]
    if not entry["signature_algorithm"].endswith("+BATCH"):
        if not re.fullmatch("(?:[0-9a-f]{2})+", text):
            raise Wrong("hsm_signature is not lower-case hex", "entry.signature_form")
        return Signature(bytes.fromhex(text))
    match = _BATCH.fullmatch(text)
    if not match or not int(match[2]) < int(match[3]) <= BATCH_MAX:
        raise Wrong("hsm_signature is not '<hex>:<index>/<size>:<hex path>'", "entry.signature_form")
    index, size, path = int(match[2]), int(match[3]), tuple(split_hashes(bytes.fromhex(match[4])))
    if len(path) != path_length(index, size):
        raise Wrong(f"the path of {index}/{size} has {len(path)} hashes", "entry.signature_form")
    return Signature(bytes.fromhex(match[1]), index, size, path)


def digest_of(entry: Entry) -> bytes:
    """The hash that the entry states: chain, signature and tree go by it. Zeros if it states none."""
    return bytes.fromhex(entry["entry_hash"]) if fits(entry["entry_hash"], HASH) else bytes(32)


def signed_message(signature: Signature, entry: Entry) -> bytes:
    """What the signature must cover: the entry's hash, or the root over its batch."""
    digest = digest_of(entry)
    if not signature.size:
        return digest
    root = climb(leaf_hash(digest), signature.index, signature.size, list(signature.path))
    return b"attestlog/batch/v1\n" + root


def split_hashes(data: bytes) -> list[bytes]:
    """Hashes of 32 bytes."""
    return [data[at : at + 32] for at in range(0, len(data), 32)]


# --- notes and checkpoints (C2SP signed-note, tlog-checkpoint, tlog-cosignature) ---

ED25519, ML_DSA_44 = 0x01, 0x06
NOTE_SIZE_MAX = 1 << 20


@dataclass(frozen=True)
class VKey:
    """A key that signs notes: what the text `name+id+base64` says."""

    name: str
    kind: int
    key: bytes
    text: str

    @property
    def id(self) -> bytes:
        """The first bytes of a hash over all of it."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.key).digest()[:4]


def parse_vkey(text: str) -> VKey:
    """Raises Malformed unless it is a verifier key in its one spelling."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    data = decode_base64(encoded)
    if not _is_key_name(name) or len(name.encode()) > 255:
        raise Malformed("a verifier key without a proper name")
    if {ED25519: 33, 0x04: 33, ML_DSA_44: 1313}.get(data[0] if data else 0) != len(data):
        raise Malformed("a verifier key of another type or length")
    vkey = VKey(name, data[0], data[1:], text)
    if vkey.id.hex() != key_id:
        raise Malformed("a verifier key with another key ID than its own")
    if vkey.kind != ML_DSA_44:
        check_ed25519_key(vkey.key)
    return vkey


def decode_base64(text: str) -> bytes:
    """Standard and padded, in its one spelling. Raises Malformed."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Malformed("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Malformed("base64 in another spelling")
    return data


def _is_origin(name: str) -> bool:
    return _is_key_name(name) and name.isascii() and name.isprintable() and len(name) <= 255


def _is_key_name(name: str) -> bool:
    return bool(name) and not any(char.isspace() or char == "+" or char < " " for char in name)


@dataclass(frozen=True)
class Checkpoint:
    """At this size, the root is this; and who of the known keys signed that."""

    origin: str
    size: int
    root: bytes
    signers: list[VKey]


def open_checkpoint(data: bytes, vkeys: list[VKey], *, of_log: bool = False) -> Checkpoint:
    """Raises Malformed, or Wrong if a line by one of `vkeys` is bad. None may be there: see `signers`.

    `of_log`: it is a log's own, and one must be there.
    """
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the checkpoint is not UTF-8") from None
    body, blank, tail = content.rpartition("\n\n")
    if not blank or not tail.endswith("\n") or any(char < " " and char != "\n" for char in content):
        raise Malformed("the checkpoint is not a signed note")
    text, lines = body + "\n", tail[:-1].split("\n")
    if len(data) > NOTE_SIZE_MAX or len(lines) > 100:
        raise Malformed("the note is over its limits")
    signers = []
    for name, blob in [_parse_line(line) for line in lines]:
        for vkey in vkeys:
            if (vkey.name, vkey.id) == (name, blob[:4]):
                _verify_line(vkey, blob[4:], text)
                signers.append(vkey)
    if of_log and not signers:
        raise Wrong("none of the log's keys signed the checkpoint", "checkpoint.signature")
    return Checkpoint(*_parse_checkpoint(text), signers)


def _parse_line(line: str) -> tuple[str, bytes]:
    """The key name, and key id and signature."""
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    blob = decode_base64(encoded)
    if dash != "\u2014" or not _is_key_name(name) or len(blob) < 5:
        raise Malformed("a signature line is none")
    return name, blob


def _parse_checkpoint(text: str) -> tuple[str, int, bytes]:
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0] or not re.fullmatch("0|[1-9][0-9]{0,18}", lines[1]):
        raise Malformed("the note is not a checkpoint")
    size, root = int(lines[1]), decode_base64(lines[2])
    if size >= 2**63 or len(root) != 32 or (size == 0 and root != Tree().root()):
        raise Malformed("the checkpoint has no such size or root")
    return lines[0], size, root


def _verify_line(vkey: VKey, signature: bytes, text: str) -> None:
    message = text.encode()
    try:
        if vkey.kind == ED25519:
            Ed25519PublicKey.from_public_bytes(vkey.key).verify(signature, message)
            return
        time, signature = signature[:8], signature[8:]
        if int.from_bytes(time, "big") >= 2**63:
            raise InvalidSignature
        if vkey.kind == ML_DSA_44:
            _verify_ml_dsa(vkey, time, signature, text)
        else:
            message = f"cosignature/v1\ntime {int.from_bytes(time, 'big')}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(vkey.key).verify(signature, message)
    except InvalidSignature:
        what = f"the checkpoint's signature by {vkey.name} does not verify"
        raise Wrong(what, "checkpoint.signature") from None


def _verify_ml_dsa(vkey: VKey, time: bytes, signature: bytes, text: str) -> None:
    origin, size, root = _parse_checkpoint(text)
    name, named = vkey.name.encode(), origin.encode()
    message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + time + bytes([len(named)]) + named
    try:
        from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

        key = MLDSA44PublicKey.from_public_bytes(vkey.key)
    except (ImportError, UnsupportedAlgorithm):
        raise OSError("the installed cryptography has no ML-DSA-44") from None
    key.verify(signature, message + bytes(8) + size.to_bytes(8, "big") + root)


# --- proof files (C2SP tlog-proof, and attestlog's of consistency) ---


class Report:
    """What was found, and the verdict it comes to."""

    def __init__(self) -> None:
        self.verdict, self.faults, self.facts = "VERIFIED", 0, list[str]()
        self.found = list[tuple[str, int | None]]()
        """Code and entry of each finding that is shown."""

    def find(self, code: str, what: str, number: int | None = None) -> None:
        """Something that does not hold, or that could not be told. `code`: see CODES."""
        verdict = VERDICTS[code]
        self.verdict = max(self.verdict, verdict, key=list(EXIT_CODES).index)
        self.faults += 1
        if self.faults <= FINDINGS_SHOWN:
            self.found.append((code, number))
            where = "" if number is None else f" entry {number}:"
            self.facts.append(f"{verdict if verdict != 'VERIFIED' else 'notice'}:{where} {what} [{code}]")

    def say(self, fact: str) -> None:
        """Something worth knowing."""
        self.facts.append(fact)


@dataclass
class Trust:
    """What the reader brings: keys of logs, entry keys, and ids or hashes."""

    vkeys: list[VKey]
    keys: list[Key]
    hashes: list[str]


PROOF, CONSISTENCY = "c2sp.org/tlog-proof@v1", "attestlog/consistency@v1"


def verify_proof(report: Report, data: bytes, trust: Trust) -> None:
    """A proof file of either kind."""
    head, blank, note = data.partition(b"\n\n")
    try:
        header, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise Malformed("the lines before the checkpoint are not ASCII") from None
    if header not in (PROOF, CONSISTENCY) or not blank:
        raise Malformed("not a proof file")
    checkpoint = open_checkpoint(note, trust.vkeys)
    _report_signers(report, checkpoint, trust)
    (_verify_inclusion if header == PROOF else _verify_prefix)(report, lines, checkpoint, trust)


def _report_signers(report: Report, checkpoint: Checkpoint, trust: Trust) -> None:
    report.say(f"checkpoint: {checkpoint.origin}, {checkpoint.size} entries, root {checkpoint.root.hex()}")
    signers = [vkey for vkey in checkpoint.signers if vkey.name == checkpoint.origin and vkey.kind != 4]
    for vkey in signers:
        report.say(f"signed by {vkey.text}, which is trusted")
    if not signers:
        if trust.vkeys:
            report.find("trust.mismatch", "the checkpoint is signed by none of the keys that are trusted")
        else:
            report.find("trust.none", "no checkpoint key is trusted: the file shows nothing")


def _verify_inclusion(report: Report, lines: list[str], checkpoint: Checkpoint, trust: Trust) -> None:
    if len(lines) < 2:
        raise Malformed("a proof without an entry or an index")
    extra, index = decode_base64(_after(lines[0], "extra")), _parse_count(_after(lines[1], "index"))
    path = [_decode_hash(line) for line in lines[2:]]
    entry = decode_entry(extra)
    check_entry(entry, extra)
    signature = parse_signature(entry)
    if entry["sequence_number"] != index:
        raise Wrong(
            f"the proof is of index {index}, its entry is entry {entry['sequence_number']}", "proof.inclusion"
        )
    if climb(leaf_hash(bytes.fromhex(entry["entry_hash"])), index, checkpoint.size, path) != checkpoint.root:
        raise Wrong("the path leads to another root", "proof.inclusion")
    report.say(f"entry {index}: {entry['event_type']} {entry['action_type']} by {entry['actor_id']}")
    report.say(f"entry_hash {entry['entry_hash']}, recorded at {entry['timestamp']} by the writer's clock")
    report.say("payload: " + ("not here" if entry["action_payload"] is None else "here, as it was recorded"))
    for key in trust.keys:
        if key.id == entry["signing_key_id"]:
            if entry["signature_algorithm"].removesuffix("+BATCH") != key.algorithm:
                raise Wrong("the entry names another algorithm than its key's", "entry.algorithm")
            key.verify(signature.value, signed_message(signature, entry))
            report.say(f"the entry is signed by key {key.id}, which is trusted")
            return
    report.say(f"the entry's own signature was not judged: key {entry['signing_key_id']} was not given")


def _verify_prefix(report: Report, lines: list[str], checkpoint: Checkpoint, _: Trust) -> None:
    if len(lines) < 2:
        raise Malformed("a proof without an old size and root")
    old, root = _parse_count(_after(lines[0], "old")), _decode_hash(_after(lines[1], "root"))
    path = [_decode_hash(line) for line in lines[2:]]
    check_consistency(old, checkpoint.size, root, checkpoint.root, path)
    report.say(f"the first {old} entries have root {root.hex()}: compare it with what you hold")


def _after(line: str, name: str) -> str:
    key, _, rest = line.partition(" ")
    if key != name or not rest:
        raise Malformed(f"{line[:40]!r} is not {name!r} and what belongs to it")
    return rest


def _parse_count(text: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]{0,18}", text) or int(text) >= 2**63:
        raise Malformed(f"{text[:40]!r} is not a number in its one spelling")
    return int(text)


def _decode_hash(line: str) -> bytes:
    digest = decode_base64(line)
    if len(digest) != 32:
        raise Malformed("a hash is not of 32 bytes")
    return digest


# --- the rules: what the first entry says, and how keys change ---


@dataclass
class Term:
    """The entries a key may sign: from `start` to before `stop`. Revoked, it is trusted up to `trusted`."""

    start: int = 0
    stop: int | None = None
    trusted: int | None = None
    by: str | None = None
    """The key that signed its coming in."""


@dataclass
class Rules:
    """Whose log it is, and which keys may sign."""

    origin: str
    keys: dict[str, Key]
    vkeys: list[VKey]
    settings: dict[str, Any]
    terms: dict[str, Term]
    """Of every key that ever could sign, in the order in which they came."""
    genesis_hash: str

    def check_signers(self, checkpoint: Checkpoint) -> None:
        """Raises Wrong unless it is of this log, with a signature of each type that the log has keys of."""
        if {vkey.kind for vkey in checkpoint.signers} != {vkey.kind for vkey in self.vkeys}:
            raise Wrong("the checkpoint is not signed by the log's keys", "checkpoint.signature")
        if checkpoint.origin != self.origin:
            raise Wrong("the checkpoint is of another log", "checkpoint.origin")

    def change(self, entry: Entry) -> None:
        """A change of keys, by an entry that is sound and signed by a key in force. Raises Wrong."""
        payload, number, signer = entry["action_payload"], entry["sequence_number"], entry["signing_key_id"]
        match entry["action_type"]:
            case "attestlog.rotate_signing_key":
                message = f"attestlog/rotate/v1\n{self.origin}\n{signer}\n{{}}\n{number}\n"
                self._come_in(payload, number, signer, message)
                self._retire(signer, number + 1)  # that one, and no other
            case "attestlog.admit_signing_key":
                payload = dict(payload) if fits(payload, "object") else {}
                label = payload.pop("label", None)
                if not fits(label, "/(?s).{1,64}/") or len(self.keys) >= KEYS_IN_FORCE_MAX:
                    raise Wrong("an admission without a label, or too many keys in force")
                message = f"attestlog/admit/v1\n{self.origin}\n{self.genesis_hash}\n{{}}\n"
                self._come_in(payload, number, signer, message)
            case _:
                self._revoke(payload, number, signer)

    def _come_in(self, payload: Any, number: int, signer: str, message: str) -> None:
        if not fits(payload, "{text}") or "signature" not in payload:
            raise Wrong("the payload that brings a key in has other members")
        key = read_stated_key({name: payload[name] for name in payload if name != "signature"})
        if key.id in self.terms or len(self.terms) >= KEYS_MAX:
            raise Wrong(f"key {key.id[:16]} was in force before, or there were too many")
        if not fits(payload["signature"], "/([0-9a-f]{2})+/"):
            raise Wrong("the new key's signature is not hex")
        key.verify(bytes.fromhex(payload["signature"]), message.format(key.id).encode())
        self.keys[key.id] = key
        self.terms[key.id] = Term(number + 1, by=signer)

    def _retire(self, key_id: str, stop: int) -> None:
        if self.keys.pop(key_id, None) is not None:
            self.terms[key_id].stop = stop

    def _revoke(self, payload: Any, number: int, signer: str) -> None:
        names = {"key_id", "last_trusted_sequence_number", "reason"}
        if payload is None or payload.keys() != names or not fits(payload["reason"], "/(?s).{1,4096}/"):
            raise Wrong("the payload of a revocation has other members")
        key_id, trusted = payload["key_id"], payload["last_trusted_sequence_number"]
        if key_id not in self.terms or key_id == signer or self.keys.keys() == {key_id}:
            raise Wrong("this key cannot be revoked here")
        term = self.terms[key_id]
        last = number - 1 if term.trusted is None else term.trusted - 1
        if not fits(trusted, "count") or not max(term.start - 1, 0) <= trusted <= last:
            raise Wrong(f"the last trusted entry cannot be {trusted}")
        term.trusted = trusted
        self._retire(key_id, number)
        gone: set[str] = set()  # with it go the keys that it brought in since then, and those that these did
        for known, other in self.terms.items():
            if known != signer and (other.by in gone or (other.by == key_id and other.start - 1 > trusted)):
                gone.add(known)
                self._retire(known, number)

    def doubtful(self, signed: dict[str, int], trusted: list[str]) -> Iterator[tuple[int, int, str]]:
        """Entries [start, stop) that by a revocation may be anybody's, where this key signed them.

        `signed`: the last entry of each key.
        """
        since: dict[str, int] = {}
        for key_id, term in self.terms.items():
            start = stop = signed.get(key_id, -1) + 1
            if term.trusted is not None:
                start = max(term.start, term.trusted + 1)
            elif (
                key_id not in trusted and term.by is not None and since.get(term.by, term.start) < term.start
            ):
                start = term.start  # brought in by an entry that may be anybody's
            if start < stop:
                since[key_id] = start
                yield start, stop, key_id


def read_stated_key(stated: Any) -> Key:
    """A key as a payload states it: id, algorithm and PEM, all of the same key. Raises Malformed."""
    if not fits(stated, "{text}") or stated.keys() != {"key_id", "algorithm", "public_key"}:
        raise Malformed("a key is stated by other members")
    key = load_key(stated["public_key"])
    if (key.id, key.algorithm, key.pem) != (stated["key_id"], stated["algorithm"], stated["public_key"]):
        raise Malformed("a key is not the one that is stated")
    return key


def read_settings(stated: Any) -> dict[str, Any]:
    """Settings, with the defaults of those that are not stated. Raises Malformed."""
    default = {"batch": True, "erasable_payloads": False, "segment_entries": 65_536}
    settings = {**default, **stated} if fits(stated, "object") else {}
    if settings.keys() != default.keys() or not fits(list(settings.values())[:2], "[flag]"):
        raise Malformed("the settings are not those of a log")
    if not fits(settings["segment_entries"], "count") or not 1 <= settings["segment_entries"] <= 1 << 20:
        raise Malformed("the size of segments is out of range")
    return settings


def _is_continued(stated: Any) -> bool:
    """What the log goes on from: null, or another log up to a size."""
    kinds = {"origin": "text", "genesis": HASH, "size": "count", "root": HASH, "reason": "/(?s).{1,4096}/"}
    if stated is None:
        return True
    is_whole = fits(stated, "object") and stated.keys() == kinds.keys()
    return (
        is_whole
        and all(fits(stated[name], kind) for name, kind in kinds.items())
        and stated["size"] > 0
        and _is_origin(stated["origin"])
    )


def read_genesis(line: bytes) -> tuple[Rules, Entry]:
    """The rules that the first entry states. Raises Malformed."""
    entry = decode_entry(line)
    payload = entry["action_payload"]
    names = {
        "format",
        "origin",
        "continues",
        "entry_keys",
        "checkpoint_keys",
        "policy",
        "settings",
        "software",
    }
    if (entry["event_type"], entry["action_type"]) != ("BOOT", "attestlog.genesis"):
        raise Malformed("the first entry is no genesis entry")
    if payload is not None and fits(payload.get("format"), "count") and payload["format"] > FORMAT:
        raise Newer(f"the log is of format {payload['format']}: a newer attestlog made it", "log.newer")
    if payload is None or payload.keys() != names or not fits(payload["checkpoint_keys"], "[text]"):
        raise Malformed("the genesis payload has other members")
    origin, settings = payload["origin"], read_settings(payload["settings"])
    if not fits(origin, "text") or not _is_origin(origin) or not fits(payload["entry_keys"], "[object]"):
        raise Malformed("the genesis payload has no proper origin or keys")
    if payload["format"] is not FORMAT or not _is_continued(payload["continues"]):
        raise Malformed("the genesis payload has no format, or does not say what it continues")
    if not fits(payload["policy"], "object"):
        raise Malformed("the genesis payload has no policy")
    if not fits(payload["software"], "{text}") or payload["software"].keys() != {"name", "version"}:
        raise Malformed("the genesis payload does not say what made the log")
    keys = [read_stated_key(stated) for stated in payload["entry_keys"]]
    vkeys = [parse_vkey(text) for text in payload["checkpoint_keys"]]
    if not keys or not vkeys or len({key.id for key in keys}) < len(keys) or len(keys) > KEYS_IN_FORCE_MAX:
        raise Malformed("the genesis payload names no key, one twice, or too many")
    if any(vkey.name != origin for vkey in vkeys) or {vkey.kind for vkey in vkeys} - {ML_DSA_44} != {ED25519}:
        raise Malformed("a checkpoint key is not called as the log")
    terms = {key.id: Term() for key in keys}
    by_id = {key.id: key for key in keys}
    return Rules(origin, by_id, vkeys, settings, terms, entry["entry_hash"]), entry


def begin(line: bytes) -> tuple[Rules, Entry]:
    """`read_genesis`. A digit that somebody changed is not a newer format: the hashes tell."""
    try:
        return read_genesis(line)
    except Newer:
        check_entry(decode_entry(line), line)
        raise


# --- the log ---


@dataclass
class Batch:
    """A batch that is being read: the index due next, and the sequence number it starts at."""

    signature: bytes
    size: int
    due: int
    start: int


@dataclass
class Torn:
    """Bytes in a row that are no entries: a torn tail if nothing but the rest of their batch follows."""

    position: int
    reason: str
    lines: int = 0
    batch_start: int | None = None


@dataclass
class RangeErased:
    """Entry `by` says that payloads of a range are erased. Counted: those that match, and its own."""

    by: int
    said: Entry
    matching: int = 0
    own: int = 0
    """Those that no earlier entry erases."""
    is_refused: bool = False
    """Whether the log cannot do without one of these."""

    def takes(self, number: int, action_type: str) -> bool:
        """Whether this payload is one of them."""
        is_in = self.said["start"] <= number < self.said["stop"]
        return is_in and any(matches(glob, action_type) for glob in self.said["action_types"])


def matches(glob: str, text: str) -> bool:
    """`*` is any run of characters, `?` any one, a backslash makes the next plain. Never backtracks far."""
    tokens = [(escaped or plain, not escaped and plain) for escaped, plain in _GLOB.findall(glob)]
    at = place = 0
    star, tried = -1, 0
    while place < len(text):
        if at < len(tokens) and tokens[at][1] == "*":
            star, tried = at, place
            at += 1
        elif at < len(tokens) and (tokens[at][1] == "?" or tokens[at][0] == text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            tried += 1
            at, place = star + 1, tried
        else:
            return False
    return all(special == "*" for _, special in tokens[at:])


_GLOB = re.compile(r"(?s)\\(.)|(.)")


class Erasures:
    """What entries say of payloads that are erased, and what a second reading of the log finds of them.

    Only what is claimed is kept, not which payloads are missing. Whether the rules allowed it is not judged.
    """

    def __init__(self, report: Report) -> None:
        self.report, self.missing = report, 0
        self.singles = dict[int, list[tuple[int, Entry]]]()
        self.ranges = list[RangeErased]()

    def note(self, name: str, payload: Any, number: int) -> None:
        """What an entry says of earlier ones. Raises Wrong."""
        is_range = name == "attestlog.erase_payloads"
        one = {"sequence_number": "count", "entry_hash": HASH, "action_type": "name"}
        kinds = {
            **(one if not is_range else {
                "start": "count", "stop": "count", "action_types": "[name]", "count": "count",
                "last_entry_hash": HASH,
            }),
            "reason": "/(?s).{1,4096}/", "legal_basis": "name?",
        }  # fmt: skip
        if not is_range:
            kinds["timestamp"] = MEMBERS["timestamp"]
        said = {name: value for name, value in (payload or {}).items() if name != "_salt"}
        if said.keys() != kinds.keys() or not all(fits(said[name], kind) for name, kind in kinds.items()):
            raise Wrong("an erasure that does not say what it must")
        start = said["start"] if is_range else said["sequence_number"]
        stop = said["stop"] if is_range else start + 1
        if not start < stop <= number:
            raise Wrong("an erasure of no earlier entry")
        if not is_range:
            self.singles.setdefault(start, []).append((number, said))
        elif 1 <= said["count"] <= stop - start and 1 <= len(said["action_types"]) <= 64:
            self.ranges.append(RangeErased(number, said))
        else:
            raise Wrong("an erasure of no types, or of none or too many payloads")

    def settle(self, lines: Iterator[bytes]) -> None:
        """Each payload that is missing must be erased by an entry, which describes it rightly."""
        if not (self.missing or self.ranges):
            return
        for line in lines:
            if not self.ranges and b'"action_payload":null,' not in line[:128]:
                continue
            try:
                entry = decode_entry(line)
                list(find_wrong_hashes(entry, line))
            except Malformed:
                continue  # not an entry in its one spelling, which was said
            self._look(entry)
        for erased in self.ranges:
            if erased.is_refused:
                what = "it erases the payload of an entry that the log cannot do without"
                self.report.find("erasure.refused", what, erased.by)
            if not erased.own <= erased.said["count"] <= erased.matching:
                what = f"it says that {erased.said['count']} payloads are erased, {erased.own} were to go"
                self.report.find("erasure.malformed", what, erased.by)

    def _look(self, entry: Entry) -> None:
        number, action_type = entry["sequence_number"], entry["action_type"]
        singles = self.singles.get(number, [])
        is_kept = number == 0 or (acts(entry) and action_type in KEPT)
        ranges = [erased for erased in self.ranges if erased.takes(number, action_type)]
        first = min([by for by, _ in singles] + [erased.by for erased in ranges], default=None)
        for erased in ranges:
            erased.matching += 1
            erased.own += erased.by == first
            erased.is_refused |= is_kept and erased.by == first
        for erased in self.ranges:
            if number == erased.said["stop"] - 1 and entry["entry_hash"] != erased.said["last_entry_hash"]:
                what = "it names another last entry of the range it erases"
                self.report.find("erasure.malformed", what, erased.by)
        if entry["action_payload"] is not None:
            return
        if first is None:
            what = "its payload is null, and no entry that erases says so"
            self.report.find("entry.payload_missing", what, number)
        for by, said in singles:
            if is_kept:
                what = f"it erased the payload of entry {number}, which the log cannot do without"
                self.report.find("erasure.refused", what, by)
            if any(said[name] != entry[name] for name in ("entry_hash", "action_type", "timestamp")):
                what = f"it erases the payload of entry {number}, and describes another"
                self.report.find("erasure.malformed", what, by)


RULES, HOLDS = "attestlog_rules", "attestlog_holds"
"""Members of `environment` by which an entry names the last change of keys or policy, and of legal holds."""
POINTER = r"/(0|[1-9]\d{0,15}):[0-9a-f]{64}/"


class EntryIds:
    """Finds ids that are used twice. Memory is bounded: a file takes them, and is compared part by part."""

    kept_max, ids_max, parts = 1 << 17, 20_000_000, 64

    def __init__(self) -> None:
        self.kept, self.size, self.unread = bytearray(), 0, ""
        self.file: IO[bytes] | None = None
        self.ranges = list[list[tuple[int, int]]]([] for _ in range(self.parts))

    def add(self, entry_id: str) -> None:
        """The next entry's."""
        self.unread = self.unread or (f"{self.ids_max} are" if self.size == self.ids_max else "")
        if not self.unread:
            self.kept += bytes.fromhex(entry_id.replace("-", "")) + self.size.to_bytes(8, "big")
            self.size += 1
            if len(self.kept) > self.kept_max * 24:
                self._spill()

    def _spill(self) -> None:
        parts = [bytearray() for _ in range(self.parts)]
        for (record,) in iter_unpack("24s", self.kept):
            parts[hash(record[:16]) % self.parts] += record  # keyed: nobody can choose where one goes
        self.kept.clear()
        try:
            self.file = self.file or TemporaryFile(buffering=0)  # noqa: SIM115 - closed when it was compared
            for part, ranges in zip(parts, self.ranges, strict=True):
                ranges.append((self.file.seek(0, os.SEEK_END), len(part)))
                if self.file.write(part) != len(part):
                    raise OSError(errno.ENOSPC, "no space left")
        except OSError as error:
            self.unread = f"a temporary file does not take them: {error.strerror}"

    def settle(self, report: Report) -> None:
        """Says which entry is the first that has the id of an earlier one."""
        found, file = list[int](), self.file
        if file is not None:
            self._spill()
        for ranges in self.ranges if file is not None else [[(0, 0)]]:
            seen = set[bytes]()
            for at, size in ranges:
                data = bytes(self.kept) if file is None else os.pread(file.fileno(), size, at)
                for entry_id, number in iter_unpack("16s8s", data[: len(data) // 24 * 24]):
                    if entry_id in seen:
                        found.append(int.from_bytes(number, "big"))
                    seen.add(entry_id)
        if file is not None:
            file.close()
        if found:
            what = f"its entry_id is that of an earlier entry, and so in {len(found)} entries"
            report.find("entry.id_repeated", what, min(found))
        if self.unread:
            report.find("entry.ids_unread", f"entry ids were not all compared: {self.unread}")


def is_later(stated: str | None, due: str | None) -> bool:
    """Whether a pointer may be that of an entry after those that have `due`."""
    if stated is None or not fits(stated, POINTER) or int(stated.partition(":")[0]) > INTEGER_MAX:
        return False
    return due is None or int(stated.partition(":")[0]) > int(due.partition(":")[0])


class Walk:
    """The lines of a log, in order: each judged by itself, by the one before, and by the rules in force."""

    def __init__(self, report: Report, rules: Rules, wanted: int) -> None:
        self.report, self.rules, self.wanted = report, rules, wanted
        self.position, self.previous, self.timestamp = 0, "0" * 64, ""
        self.is_synced, self.is_whole, self.knows_rules, self.is_all_read = True, True, True, True
        self.is_stood_for, self.stored_leaves = False, 0
        """Whether stored hashes stand for all that was not read; how many there are."""
        self.due: dict[str, str | None] = {RULES: f"0:{rules.genesis_hash}", HOLDS: None}
        """By pointer, what entries must have now."""
        self.rules_start = 0
        """The first entry that they count for."""
        self.wrong: dict[tuple[str, str | None], list[int]] = {}
        """Each wrong pointer: the first entry with it, and how many."""
        self.unjudged: list[int] = []
        self.tree = Tree()
        self.root: bytes | None = None
        """Of the first `wanted` entries, once they were read."""
        self.torn: Torn | None = None
        self.batch: Batch | None = None
        self.erasures, self.ids = Erasures(report), EntryIds()
        self.again: Iterator[bytes] = iter(())
        """All lines once more, for what is only known at the end."""
        self.key_ids = dict[str, int]()
        """Of keys that signed → the last entry of each."""
        self.first_keys = set(rules.keys)
        self.first_signer: str | None = None
        """The key that signed entry 0, if it did."""
        self._verified: tuple[str, bytes, bytes] | None = None

    def add(self, line: bytes, *, is_complete: bool) -> None:
        """The next line, without its line end."""
        try:
            if not is_complete:
                raise Malformed("the line does not end")
            entry = decode_entry(line)
        except Malformed as error:
            self.torn = self.torn or Torn(self.position, str(error))
            self.torn.lines += is_complete
            return
        number, is_next = entry["sequence_number"], self._check_link(entry)
        is_sound = self._check_content(entry, line)
        self._check_time(entry)
        is_pointed = self._check_pointers(entry)
        is_sound &= self._holds(number, "", self._check_signature, entry)
        self._check_place(entry, is_next)
        if self.is_whole:
            self.tree.add(leaf_hash(digest_of(entry)))
            self.ids.add(entry["entry_id"])
            if self.tree.size == self.wanted:
                self.root = self.tree.root()
        if entry["event_type"] in ("BOOT", "SHUTDOWN"):
            self._holds(number, "entry.head", self._check_head, entry)
        self._check_relations(entry, is_sound=is_sound and is_pointed)
        self.position, self.previous = number + 1, entry["entry_hash"]

    def lose(self) -> None:
        """Entries are missing here: the next one is not held against those before."""
        self.is_synced, self.is_whole, self.knows_rules, self.batch = False, False, False, None
        self.is_stood_for = False

    def _holds(self, number: int, code: str, check: Callable[..., None], *arguments: Any) -> bool:
        """Whether a check passes. `code`: of the finding if not; empty: the check itself says it."""
        try:
            check(*arguments)
        except Fault as error:
            self.report.find(code or error.code, str(error), number)
            return False
        return True

    def _check_link(self, entry: Entry) -> bool:
        number = entry["sequence_number"]
        follows: bool = number == self.position
        if self.is_synced:
            follows &= entry["prev_entry_hash"] == self.previous
        if self.torn is not None or not self.is_synced:
            self._close_torn(entry)
            was_synced, self.is_synced = self.is_synced, True
            self.is_whole &= follows
            self.is_stood_for &= number == self.position
            return follows and was_synced  # else the one before is not known
        if number != self.position:
            self.is_whole = self.is_stood_for = False
            self.report.find("entry.sequence", f"it stands where entry {self.position} is due", number)
        elif not follows:
            self.report.find("entry.chain", "prev_entry_hash is not the hash of the entry before", number)
        return follows

    def _close_torn(self, entry: Entry) -> None:
        torn, number = self.torn, entry["sequence_number"]
        if torn is None:
            return
        if entry["signature_algorithm"].endswith("+BATCH"):
            try:
                start = max(0, number - parse_signature(entry).index)
            except Wrong:
                start = number
            if start <= torn.position < number and torn.batch_start in (None, start):
                torn.batch_start = start
                return
        self.report.find("entry.malformed", f"bytes that are no entry: {torn.reason}", torn.position)
        self.torn = None

    def _check_content(self, entry: Entry, line: bytes) -> bool:
        number, wrong = entry["sequence_number"], list[tuple[str, str]]()
        try:
            wrong += find_wrong_hashes(entry, line)
        except Malformed as error:
            wrong.append((error.code, str(error)))
        for code, what in wrong:
            self.report.find(code, what, number)
        if wrong and wrong[0][0] in SPELLING:
            return has_own_hashes(entry)
        self.erasures.missing += entry["action_payload"] is None
        return not wrong

    def _check_head(self, entry: Entry) -> None:
        """The head that the entry saw, where it is the entry before. An earlier one is not looked up."""
        seen, number = entry["system_state_snapshot"].get("log_head"), entry["sequence_number"]
        if seen is None:
            return
        is_head = fits(seen, "object") and seen.keys() == {"size", "entry_hash"}
        if not is_head or not fits(seen["size"], "count") or not fits(seen["entry_hash"], HASH):
            raise Wrong("the head it saw is none")
        if not 1 <= seen["size"] <= number:
            raise Wrong(f"a log of {seen['size']} entries, seen by entry {number}")
        if seen["size"] == number and seen["entry_hash"] != entry["prev_entry_hash"]:
            raise Wrong(f"it saw another entry {number - 1} than there is")

    def _check_time(self, entry: Entry) -> None:
        text, number = entry["timestamp"], entry["sequence_number"]
        try:
            datetime.fromisoformat(text)
        except ValueError:
            self.report.find("entry.timestamp", f"{text} is no time", number)
            return
        if text < self.timestamp:
            self.report.find("entry.timestamp", "its timestamp is earlier than the one before", number)
        self.timestamp = text

    def _check_pointers(self, entry: Entry) -> bool:
        """Whether it names the rules it stands under: entry 0 none.

        After what was not read, they are known again at an entry that names those known before.
        """
        number = entry["sequence_number"]
        is_first = number == 0 and self.knows_rules
        pairs = {
            name: (entry["environment"].get(name), None if is_first else self.due[name]) for name in self.due
        }
        is_right = all(stated == due for stated, due in pairs.values())
        if self.knows_rules or not all(
            stated == due or is_later(stated, due) for stated, due in pairs.values()
        ):
            for name, (stated, due) in pairs.items():
                if stated != due:
                    self.wrong.setdefault((name, stated), [number, 0])[1] += 1
        self.knows_rules |= is_right
        if not self.knows_rules:
            self.unjudged.append(number)
        return is_right

    def _check_signature(self, entry: Entry) -> None:
        key = self.rules.keys.get(entry["signing_key_id"])
        if key is None and not self.knows_rules:
            return
        if key is None:
            raise Wrong("it is not signed by a key in force", "entry.signing_key")
        if entry["signature_algorithm"].removesuffix("+BATCH") != key.algorithm:
            raise Wrong("it names another algorithm than its key's", "entry.algorithm")
        self.key_ids[key.id] = entry["sequence_number"]
        signature = parse_signature(entry)
        message = signed_message(signature, entry)
        if self._verified != (key.id, signature.value, message):  # once for a whole batch
            key.verify(signature.value, message)
            self._verified = (key.id, signature.value, message)
        if entry["sequence_number"] == 0:
            self.first_signer = key.id

    def check_signed(self, entry: Entry) -> None:
        """Raises Wrong unless the key that it names, if that is in force, signed it. Changes nothing."""
        key = self.rules.keys.get(entry["signing_key_id"])
        if key is not None and entry["signature_algorithm"].removesuffix("+BATCH") == key.algorithm:
            signature = parse_signature(entry)
            key.verify(signature.value, signed_message(signature, entry))

    def _check_place(self, entry: Entry, is_next: bool) -> None:
        """Entries of a batch stand together, in their order, all of them."""
        batch, number, stated = self.batch, entry["sequence_number"], Signature(b"")
        if entry["signature_algorithm"].endswith("+BATCH"):
            try:
                stated = parse_signature(entry)
            except Wrong:  # said already; it counts as the one that is due
                stated = Signature(batch.signature, batch.due, batch.size) if batch and is_next else stated
        if batch and is_next:
            due = (batch.signature, batch.size, batch.due)
        else:
            due = (stated.value, stated.size, 0)
        if is_next and (stated.value, stated.size, stated.index) != due:
            what = "it does not stand where its batch signature says"
            self.report.find("entry.batch", what, number)
        if batch is None or not is_next or stated.value != batch.signature:
            start = max(0, number - stated.index)
            batch = Batch(stated.value, stated.size, stated.index, start) if stated.size else None
        if batch is not None:
            batch.due += 1
        self.batch = batch if batch is not None and batch.due < batch.size else None

    def _check_relations(self, entry: Entry, *, is_sound: bool) -> None:
        number, payload = entry["sequence_number"], entry["action_payload"]
        if not acts(entry):
            return
        name = entry["action_type"]
        if name not in ACTING:
            what = f"{name[:80]!r} is not known here: a newer attestlog made it"
            self.report.find("entry.newer", what, number)
            self.knows_rules = False
        if name in ("attestlog.erase_payload", "attestlog.erase_payloads"):
            self._holds(number, "erasure.malformed", self.erasures.note, name, payload, number)
        if name not in KEY_CHANGES | POLICY_CHANGES | HOLD_CHANGES or not self.knows_rules:
            return
        member, new = HOLDS if name in HOLD_CHANGES else RULES, f"{number}:{entry['entry_hash']}"
        if not is_sound or payload is None or number < self.rules_start:
            self.report.find("entry.change", "a change that does not hold", number)
        elif name not in KEY_CHANGES or self._holds(number, "entry.change", self.rules.change, entry):
            self.due[member], self.rules_start = new, number + 1

    def finish(self, acknowledged: int) -> int:
        """How many entries there are, now that it ends. `acknowledged` are known to have been durable."""
        there, torn = self.position, self.torn
        start = self.batch.start if self.batch else None
        if torn is not None and torn.batch_start is not None:
            start = torn.batch_start
        if torn is not None:
            there = torn.position
            if torn.lines and acknowledged > (there if torn.batch_start is None else torn.batch_start):
                self.report.find("entry.malformed", f"bytes that are no entry: {torn.reason}", there)
                there = max(self.position, there + torn.lines)
            else:
                self.report.find("log.torn_tail", f"torn bytes at the end: {torn.reason}", there)
        if start is not None:
            is_cut = acknowledged > start
            code = "log.cut_batch" if is_cut else "log.torn_batch"
            self.report.find(code, "its batch is not all there", start)
            there = there if is_cut else start
        for (name, stated), (first, count) in sorted(self.wrong.items(), key=lambda item: item[1]):
            what = f"{name} is {str(stated)[:100]}, and so in {count} entries"
            self.report.find("entry.rules", what, first)
        if self.unjudged:
            count = len(self.unjudged)
            what = f"{count} entries stand under rules that changed in what was not read"
            self.report.find("entry.unjudged", what, self.unjudged[0])
        return there


def verify_log(report: Report, root: Path, trust: Trust) -> None:
    """A log's directory.

    It may be written meanwhile: what the entries must reach to is read before they are.
    """
    try:
        is_log = stat.S_ISDIR((root / "entries").stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_log = False
    if not is_log:
        raise Malformed(f"{root} has no directory entries", "log.not_a_log")
    note, stored = _read_checkpoint(report, root), _tree_sizes(report, root / "tree")
    names = sorted(path.name for path in (root / "entries").iterdir() if path.name.endswith(SUFFIXES))
    # Of one that is there twice, the uncompressed one.
    segments = {int(name[:12]): root / "entries" / name for name in names[::-1] if fits(name, SEGMENT)}
    try:
        line = _first_line(segments.get(0))
    except OSError as error:
        report.find("log.unreadable", f"entries cannot be read: {error}", 0)
        return
    except Malformed as error:
        report.find("segment.malformed", f"entries cannot be read: {error}", 0)
        return
    rules, genesis = begin(line)
    checkpoint = _log_checkpoint(report, note, rules)
    width = rules.settings["segment_entries"]
    for name in names:
        if not name.startswith("torn-") and (not fits(name, SEGMENT) or int(name[:12]) % width):
            report.find("segment.stray", f"{name} is not one of this log's segments")
        elif name.endswith(".zst") and name[:-4] in names:
            report.find("segment.twice", f"{name} and {name[:-4]} are there: compressing was cut short")
    segments = {first: segments[first] for first in sorted(segments) if first % width == 0}
    walk = Walk(report, rules, checkpoint.size if checkpoint else -1)
    walk.stored_leaves = stored.get(0, 0) // 32
    acknowledged = max(-(-stored.get(0, 0) // 32), checkpoint.size if checkpoint else 0)
    first, due, misplaced = 0, 0, -1
    for first, path in segments.items():
        if first != due:
            report.find("segment.missing", f"a segment is missing before that of entry {first}", due)
            walk.lose()
        elif walk.is_synced and walk.torn is None and walk.position != first:
            what = f"entry {walk.position} is due where segment {first} starts"
            report.find("segment.length", what, first)
            misplaced = first
        due = first + width
        is_last = first == max(segments)
        skip = acknowledged - first if is_last else None
        _walk_segment(walk, path, first, skip, is_last=is_last)
    walk.again = (line for path in segments.values() for line in read_again(path))
    is_long = not first <= walk.position <= due and first != misplaced
    if is_long and walk.is_all_read and walk.torn is None:
        what = f"entry {walk.position} is due where the last segment ends"
        report.find("segment.length", what, first)
    there = walk.finish(acknowledged)
    if walk.is_all_read and any(size > (there >> 8 * level) * 32 for level, size in stored.items()):
        what = f"the stored tree is longer than the {there} entries that are there"
        report.find("tree.longer", what)
    conclude(walk, there, checkpoint, genesis, trust)


SUFFIXES = (".jsonl", ".jsonl.zst")
SEGMENT = r"/[0-9]{12}\.jsonl(\.zst)?/"


def _walk_segment(walk: Walk, path: Path, first: int, skip: int | None, *, is_last: bool) -> None:
    """Its lines. What cannot be read is not held against the rest.

    `skip`: so many lines of the last segment were acknowledged.
    """
    try:
        is_packed = path.suffix == ".zst"
        stop = None if skip is None or is_packed else _last_batch(path, skip, first)
        with open_plain(path) as file:
            for line, is_complete in segment_lines(path, file):
                if is_room(line, is_complete):
                    if not is_last or is_packed:
                        what = f"{path.name} has room, which only the last segment may have"
                        walk.report.find("segment.length", what, first)
                    break
                if stop is not None and file.tell() > stop:
                    wrong, stop = _unsettled(walk, path, stop), None
                    if wrong:
                        what = f"the last batch was never acknowledged, and does not hold: {wrong}"
                        walk.report.find("log.unsettled", what, walk.position)
                        break
                walk.add(line, is_complete=is_complete)
    except (OSError, Malformed) as error:
        is_away = path.is_symlink() and not path.exists()  # it was archived, and is not to be reached now
        code, number = ("segment.absent", first) if is_away else ("log.unreadable", walk.position)
        if isinstance(error, Malformed):
            code = "segment.malformed"
        why = getattr(error, "strerror", None) or error
        walk.report.find(code, f"{path.name} cannot be read: {why}", number)
        stop = first + walk.rules.settings["segment_entries"]
        is_stood_for = is_away and (walk.is_whole or walk.is_stood_for) and walk.stored_leaves >= stop
        walk.lose()
        walk.is_all_read, walk.is_stood_for = False, is_stood_for
        if is_stood_for:  # by stored hashes: where it ends is known
            walk.position = stop


def is_room(line: bytes, is_complete: bool) -> bool:
    """Whether what is behind the last line feed was only reserved, to be written into."""
    return not is_complete and len(line) <= ROOM_SIZE_MAX and not line.strip(b" ")


def _last_batch(path: Path, skip: int, first: int) -> int | None:
    """Where the last batch begins; None unless all of it is behind the first `skip` lines.

    What is no entry is counted to the batch that it stands in, or that follows it.
    """
    offset = begun = start = None
    is_over, at = True, 0
    with open_plain(path) as file:
        for count, (line, is_complete) in enumerate(read_lines(file)):
            before, at = at, file.tell()
            if count < skip or is_room(line, is_complete):
                continue
            start, is_end = _batch_of(line, is_complete, begun)
            if is_over or is_end is None or begun not in (None, start):
                offset = before
            begun, is_over = start, is_end is not False
    return None if begun is not None and begun < first + skip else offset


def _batch_of(line: bytes, is_complete: bool, begun: int | None) -> tuple[int | None, bool | None]:
    """The first entry of the batch, and whether it ends here; None: the entry is signed alone.

    `begun`: of the batch before, for what does not tell.
    """
    try:
        if not is_complete:
            return begun, False
        entry = decode_entry(line)
        if not entry["signature_algorithm"].endswith("+BATCH"):
            return entry["sequence_number"], None
        signature = parse_signature(entry)
    except Fault:
        return begun, False
    return entry["sequence_number"] - signature.index, signature.index + 1 == signature.size


def _unsettled(walk: Walk, path: Path, offset: int) -> str:
    """What shows that bytes or signatures from this offset on do not hold; empty if nothing does."""
    with open_plain(path) as file:
        file.seek(offset)
        for line, is_complete in read_lines(file):
            try:
                entry = decode_entry(line) if is_complete else None
            except Malformed:
                continue
            try:
                if entry is not None:
                    check_entry(entry, line)
                    walk.check_signed(entry)
            except Fault as error:
                if error.code in UNSETTLED:
                    return str(error)
    return ""


def verify_export(report: Report, file: BinaryIO, note: bytes | None, trust: Trust) -> None:
    """The entries of a log, one a line, and perhaps a checkpoint of it."""
    lines = read_lines(file)
    first, is_complete = next(lines, (b"", False))
    rules, genesis = begin(first)
    checkpoint = _log_checkpoint(report, note, rules) if note is not None else None
    walk = Walk(report, rules, checkpoint.size if checkpoint else -1)
    walk.add(first, is_complete=is_complete)
    for line, is_complete in lines:
        walk.add(line, is_complete=is_complete)
    there = walk.finish(checkpoint.size if checkpoint else 0)
    file.seek(0)
    walk.again = (line for line, _ in read_lines(file))
    if note is None:
        report.say("no checkpoint was given: entries may be missing at the end")
    conclude(walk, there, checkpoint, genesis, trust)


def conclude(walk: Walk, there: int, checkpoint: Checkpoint | None, genesis: Entry, trust: Trust) -> None:
    """The entries against the checkpoint, and both against what the reader trusts."""
    report = walk.report
    if genesis["signature_algorithm"].endswith("+BATCH"):
        report.find("entry.batch", "the genesis entry is not signed alone", 0)
    if walk.is_whole:
        walk.ids.settle(report)
    if walk.is_all_read:
        try:
            walk.erasures.settle(walk.again)
        except OSError as error:
            report.find("log.unreadable", f"entries cannot be read again: {error}")
    if checkpoint is not None and walk.is_all_read:
        is_hidden = walk.root is None and report.verdict not in ("VERIFIED", "INCOMPLETE")
        if checkpoint.size > there:
            what = f"the checkpoint covers {checkpoint.size} entries, {there} are there"
            report.find("checkpoint.ahead", what)
        elif walk.root != checkpoint.root and not is_hidden:  # what hides the root was found
            report.find("checkpoint.root", "the checkpoint has another root than the entries")
    report.say(f"{walk.rules.origin}: {there} entries, {walk.erasures.missing} of them without their payload")
    older = genesis["action_payload"]["continues"]
    if older is not None:
        what = (
            f"{older['size']} entries of {older['origin']}, root {older['root']}, genesis {older['genesis']}"
        )
        report.say(f"continues {what}: verify that log by itself")
    genesis_hash = hash_entry({name: canonical(genesis[name], 2) for name in sorted(genesis)})
    report.say(f"genesis {genesis_hash}, head {walk.previous}")
    report.say(f"signed by {', '.join(sorted(walk.key_ids))}")
    vouching = {genesis_hash, walk.first_signer, *(walk.key_ids.keys() - walk.first_keys)}
    vouching |= {vkey.text for vkey in checkpoint.signers} if checkpoint else set()
    asked = [*(vkey.text for vkey in trust.vkeys), *(key.id for key in trust.keys), *trust.hashes]
    trusted = [item for item in asked if item in vouching]
    if asked and not trusted:
        # A key may have come in by a rotation that was not read.
        is_certain = walk.knows_rules or not (trust.keys or trust.hashes)
        code = "trust.mismatch" if is_certain else "entry.unjudged"
        report.find(code, "nothing that is trusted vouches for this log")
    for start, stop, key_id in walk.rules.doubtful(walk.key_ids, trusted):
        what = f"from here to {stop - 1}, revoked key {key_id[:16]} may be anybody's"
        report.find("key.revoked", what, start)
    self_attested = "SELF-ATTESTED: nobody but itself vouches for it"
    report.say(f"confirmed by {', '.join(trusted)}" if trusted else self_attested)


def read_lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Each line without its end, and whether it has one."""
    while line := file.readline(LINE_SIZE_MAX + 1):
        while not line.endswith(b"\n") and len(line) > LINE_SIZE_MAX:
            rest = file.readline(LINE_SIZE_MAX)  # longer than any line: only its beginning is kept
            line = line[: LINE_SIZE_MAX + 1] + rest[-1:]
            if not rest:
                break
            if not rest.strip(b"\0"):
                _skip_hole(file)
        yield line.removesuffix(b"\n"), line.endswith(b"\n")


def _skip_hole(file: BinaryIO) -> None:
    """Go on behind the hole that a file is in: it can be larger than anybody could read."""
    try:
        descriptor, at = file.fileno(), file.tell()
        before = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA)
        finally:
            os.lseek(descriptor, before, os.SEEK_SET)
        file.seek(at)
    except AttributeError:
        return  # this system tells no holes
    except OSError as error:
        if error.errno == errno.ENXIO:
            file.seek(0, os.SEEK_END)


def read_again(path: Path) -> Iterator[bytes]:
    """The lines of a segment."""
    with open_plain(path) as file:
        for line, _ in segment_lines(path, file):
            yield line


def _first_line(path: Path | None) -> bytes:
    """Entry 0's; empty if there is no whole one."""
    if path is None:
        return b""
    with open_plain(path) as file:
        line, is_complete = next(segment_lines(path, file), (b"", False))
    return line if is_complete else b""


def segment_lines(path: Path, file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """`read_lines` of a segment, compressed or not. Raises OSError, Malformed."""
    return unpack_lines(file) if path.suffix == ".zst" else read_lines(file)


FRAME_ENTRIES, FRAME_SIZE_MAX, FRAMES_MAX = 256, 1 << 30, 4_096
WINDOW_SIZE_MAX = 8 << 20
BLOCK_SIZE = 256 << 10


def unpack_lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """The lines of a compressed segment: zstd frames of 256 lines each, and an index of them at the end."""
    zstd = _codec()
    frames = _frame_index(file)
    file.seek(0)
    for number, (packed_size, size) in enumerate(frames, 1):
        count, rest = 0, b""
        for block in _unpack(zstd, file, packed_size, size):
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                count += 1
                if count > FRAME_ENTRIES or len(line) >= LINE_SIZE_MAX:
                    raise Malformed("a frame has more than its lines")
                yield line, True
            if len(rest) > LINE_SIZE_MAX:
                raise Malformed("a frame has a line without end")
        if number < len(frames) and (rest or count != FRAME_ENTRIES):
            raise Malformed(f"a frame has {count} lines")
        if rest:
            yield rest, False


def _codec() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise OSError("it is compressed: that takes Python 3.14, or the package backports.zstd")


def _frame_index(file: BinaryIO) -> list[tuple[int, int]]:
    """(packed size, size) of each frame: the seek table of zstd's seekable format, without checksums."""
    file_size = file.seek(0, 2)
    file.seek(max(0, file_size - 9))
    count, marks = int.from_bytes(file.read(4), "little"), file.read(5)
    size = 8 + 8 * count + 9
    if marks != bytes.fromhex("00b1ea928f") or not 0 < count <= FRAMES_MAX or size > file_size:
        raise Malformed("it does not end in a frame index")
    file.seek(file_size - size)
    if file.read(8) != bytes.fromhex("5e2a4d18") + (size - 8).to_bytes(4, "little"):
        raise Malformed("the frame index does not begin as one")
    numbers = [int.from_bytes(file.read(4), "little") for _ in range(2 * count)]
    frames = list(zip(numbers[::2], numbers[1::2], strict=True))
    if any(not packed or not 0 < unpacked <= FRAME_SIZE_MAX for packed, unpacked in frames):
        raise Malformed("a frame has no size, or one that is too large")
    if sum(numbers[::2]) + size != file_size:
        raise Malformed("frames and index are not all of the file")
    return frames


def _check_frame(header: bytes, size: int) -> None:
    """The beginning of a frame (RFC 8878, 3.1.1.1): of this size, without a dictionary, and little memory."""
    if not header.startswith(bytes.fromhex("28b52ffd")) or len(header) < 7:
        raise Malformed("there is no frame where one must begin")
    is_single = bool(header[4] & 0x20)
    count, start = (0, 2, 4, 8)[header[4] >> 6] or int(is_single), 5 if is_single else 6
    stated = int.from_bytes(header[start : start + count], "little") + 256 * (count == 2)
    if header[4] & 0x0B or not count or stated != size:
        raise Malformed("a frame needs a dictionary, or says another size than the index")
    if (size if is_single else (8 + (header[5] & 7)) << (7 + (header[5] >> 3))) > WINDOW_SIZE_MAX:
        raise Malformed("a frame takes too much memory to unpack")


def _unpack(zstd: Any, file: BinaryIO, packed_size: int, size: int) -> Iterator[bytes]:
    """The content of the frame that stands next in the file, of which the sizes are known."""
    header = file.read(min(14, packed_size))
    _check_frame(header, size)
    options = {zstd.DecompressionParameter.window_log_max: 23}
    decompressor = zstd.ZstdDecompressor(options=options)
    data, left, found = header, packed_size - len(header), 0
    while not decompressor.eof and found <= size:
        if decompressor.needs_input and not data:
            data = file.read(min(BLOCK_SIZE, left))
            left -= len(data)
            if not data:
                raise Malformed("a frame is longer than the index says")
        try:
            block = decompressor.decompress(data, max_length=BLOCK_SIZE)
        except zstd.ZstdError as error:
            raise Malformed(f"a frame does not unpack: {error}") from None
        data, found = b"", found + len(block)
        if found <= size:
            yield block
    if found != size or left or decompressor.unused_data:
        raise Malformed("a frame is not of the sizes that the index says")


def open_plain(path: Path) -> BinaryIO:
    """A regular file, to be read; a pipe or a device would hang or never end. Raises OSError."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor, not a path


def _read_checkpoint(report: Report, root: Path) -> bytes | None:
    """The note; empty if it is missing; None if it could not be read, which is found."""
    try:
        with open_plain(root / "checkpoint") as file:
            return file.read(NOTE_SIZE_MAX + 1) or b"\n"  # an empty one is there, and malformed
    except FileNotFoundError:
        return b""
    except OSError as error:
        report.find("log.unreadable", f"the checkpoint cannot be read: {error}")
        return None


def _log_checkpoint(report: Report, note: bytes | None, rules: Rules) -> Checkpoint | None:
    if note == b"":
        report.find("checkpoint.missing", "the log has no checkpoint")
    elif note is not None:
        try:
            checkpoint = open_checkpoint(note, rules.vkeys, of_log=True)
            rules.check_signers(checkpoint)
        except Malformed as error:
            report.find("checkpoint.malformed", str(error))
        except Wrong as error:
            report.find(error.code, str(error))
        else:
            return checkpoint
    return None


def _tree_sizes(report: Report, folder: Path) -> dict[int, int]:
    """Level → bytes that are stored of it."""
    sizes = {}
    try:
        for path in folder.iterdir():
            if fits(path.name, "/[0-9]|[1-9][0-9]/"):
                with open_plain(path) as file:
                    sizes[int(path.name)] = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        pass
    except OSError as error:
        report.find("log.unreadable", f"the stored tree cannot be read: {error}")
    return sizes


# --- bundles (attestlog/bundle/v1) ---

BUNDLE = b'{"checkpoint":"'
_ITEM = re.compile(rb'\{"(entry|rules)":(\{.*\}),"path":"((?:[0-9a-f]{64}){0,63})"\}\n', re.DOTALL)
ITEM_SIZE_MAX = LINE_SIZE_MAX + 2 * 63 * 32 + 64


def verify_bundle(report: Report, file: BinaryIO, trust: Trust) -> None:
    """Some entries of a log: each leads to the checkpoint, and is signed by a key that was in force there."""
    note = _read_header(file.readline(64 << 20))
    items = list[tuple[bytes, list[bytes]]]()
    while line := file.readline(ITEM_SIZE_MAX + 1):
        match = _ITEM.fullmatch(line)
        if match is None:
            raise Malformed("a line is not an entry with its path")
        items.append((match[2], split_hashes(bytes.fromhex(match[3].decode()))))
    if not items:
        raise Malformed("the bundle holds no entry")
    rules, genesis = begin(items[0][0])
    checkpoint = _log_checkpoint(report, note, rules)
    if checkpoint is None:
        return
    _report_vouching(report, checkpoint, rules, trust)
    bundle = _Bundle(report, rules, checkpoint)
    for line, path in items:
        bundle.add(line, path)
    first_hash = hash_entry({name: canonical(genesis[name], 2) for name in sorted(genesis)})
    report.say(f"{rules.origin}: {len(items)} entries here of {checkpoint.size}, genesis {first_hash}")


def _read_header(line: bytes) -> bytes:
    """The checkpoint. Raises Malformed unless the line is a header in its one spelling."""
    try:
        header = parse_json(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("the first line is not UTF-8") from None
    names = {"checkpoint", "format", "timestamps"}
    if not fits(header, "object") or header.keys() != names or header["format"] != "attestlog/bundle/v1":
        raise Malformed("the first line is not that of a bundle")
    stamps = header["timestamps"]
    is_whole = fits(header["checkpoint"], "text") and fits(stamps, "[object]") and len(stamps) <= 64
    kinds = {"response": "text", "size": "count"}
    if not is_whole or any(
        stamp.keys() != kinds.keys()
        or not all(fits(stamp[name], kind) for name, kind in kinds.items())
        or not stamp["size"]
        for stamp in stamps
    ):
        raise Malformed("the first line has other members than a bundle's")
    if canonical(header).encode() + b"\n" != line:
        raise Malformed("the first line is not in canonical form")
    checkpoint: str = header["checkpoint"]
    return checkpoint.encode()


def _report_vouching(report: Report, checkpoint: Checkpoint, rules: Rules, trust: Trust) -> None:
    vouching = {*(vkey.text for vkey in checkpoint.signers), rules.genesis_hash, *rules.keys}
    asked = [*(vkey.text for vkey in trust.vkeys), *(key.id for key in trust.keys), *trust.hashes]
    trusted = [item for item in asked if item in vouching]
    if trusted:
        report.say(f"confirmed by {', '.join(trusted)}")
    elif asked:
        report.find("trust.mismatch", "nothing that is trusted vouches for this log")
    else:
        report.find("trust.none", "no key is trusted: the file shows nothing")


class _Bundle:
    """The entries of a bundle, in order."""

    def __init__(self, report: Report, rules: Rules, checkpoint: Checkpoint) -> None:
        self.report, self.rules, self.checkpoint = report, rules, checkpoint
        self.pointer, self.last = f"0:{rules.genesis_hash}", -1
        self.changes: dict[int, Entry] = {}
        """By number: entries that may have changed keys or policy."""

    def add(self, line: bytes, path: list[bytes]) -> None:
        """The next one. Raises Malformed where the file is no bundle."""
        entry = decode_entry(line)
        number = entry["sequence_number"]
        if number <= self.last:
            raise Malformed(f"entry {number} stands behind entry {self.last}")
        self.last = number
        try:
            check_entry(entry, line)
            root = climb(leaf_hash(digest_of(entry)), number, self.checkpoint.size, path)
            if root != self.checkpoint.root:
                raise Wrong("the path leads to another root", "proof.inclusion")
            if number:
                self._follow(entry["environment"].get(RULES))
            self._check_signature(entry)
            if acts(entry) and entry["action_type"] in KEY_CHANGES | POLICY_CHANGES:
                self.changes[number] = entry
        except Malformed as error:
            self.report.find("entry.canonical", str(error), number)
        except Fault as error:
            self.report.find(error.code or "proof.inclusion", str(error), number)

    def _follow(self, stated: str | None) -> None:
        """The keys under this pointer. Raises Wrong."""
        chain = list[Entry]()
        wanted, limit = stated, sys.maxsize
        while wanted != self.pointer:
            match = re.fullmatch("(0|[1-9][0-9]{0,15}):([0-9a-f]{64})", wanted or "")
            number = int(match[1]) if match else -1
            if not int(self.pointer.partition(":")[0]) < number < limit:
                raise Wrong("the entry names other rules than those before it led to", "entry.rules")
            change = self.changes.get(number)
            if change is None:
                raise Wrong(f"entry {number}, which changed the rules, is not here", "entry.unjudged")
            if match is None or change["entry_hash"] != match[2]:
                raise Wrong(f"entry {number} is not the one that pointers name", "entry.rules")
            chain.append(change)
            wanted, limit = change["environment"].get(RULES), number
        for change in reversed(chain):
            if change["action_type"].endswith("_signing_key"):
                self.rules.change(change)
        self.pointer = stated or self.pointer
        if self.changes and int(self.pointer.partition(":")[0]) < max(self.changes):
            raise Wrong("the entry names older rules than an entry before it made", "entry.rules")

    def _check_signature(self, entry: Entry) -> None:
        signature, key = parse_signature(entry), self.rules.keys.get(entry["signing_key_id"])
        if key is None:
            raise Wrong("the entry's key is not in force", "entry.signing_key")
        if entry["signature_algorithm"].removesuffix("+BATCH") != key.algorithm:
            raise Wrong("the entry names another algorithm than its key's", "entry.algorithm")
        key.verify(signature.value, signed_message(signature, entry))


# --- the command line ---


def parse_trust(items: list[str]) -> Trust:
    """Each item is a vkey, a public key file, or 64 hex digits. Raises Malformed or OSError."""
    trust = Trust([], [], [])
    for item in items:
        if fits(item, HASH):
            trust.hashes.append(item)
        elif item.count("+") >= 2:
            trust.vkeys.append(parse_vkey(item))
        else:
            trust.keys.append(load_key(Path(item).read_text(encoding="ascii")))
    return trust


def verify(report: Report, subject: Path, checkpoint: Path | None, trust: Trust) -> None:
    """Whatever the path is. What is found is in the report."""
    kind = "log"
    try:
        if subject.is_dir():
            verify_log(report, subject, trust)
            return
        with open_plain(subject) as file:
            start = file.read(64)
            file.seek(0)
            if start.startswith(BUNDLE):
                kind = "export"
                verify_bundle(report, file, trust)
            elif start.startswith((PROOF.encode(), CONSISTENCY.encode())) or subject.suffix != ".jsonl":
                kind = "proof"
                verify_proof(report, file.read(), trust)
            else:
                verify_export(report, file, checkpoint.read_bytes() if checkpoint else None, trust)
    except Fault as error:
        code = error.code or "log.no_genesis"
        if kind == "export" and isinstance(error, Malformed):
            code = "export.malformed"
        if kind == "proof":
            code = "proof.malformed" if isinstance(error, Malformed) else PROOF_CODES.get(code, code)
        report.find(code, str(error), 0 if code == "log.newer" or code.startswith("entry.") else None)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        report.find("log.missing" if missing else f"{kind}.unreadable", str(error))


PROOF_CODES = {
    "checkpoint.signature": "proof.checkpoint", "entry.action_hash": "proof.hash",
    "entry.entry_hash": "proof.hash", "entry.signature": "proof.entry_signature",
    "entry.signature_form": "proof.entry_signature", "entry.algorithm": "proof.entry_signature",
}  # fmt: skip
"""What a finding of a log is in a proof file."""


def main() -> int:
    """Verify what the arguments name, print the report, return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("subject", type=Path, help="a log's directory, exported entries, or a proof file")
    parser.add_argument("--trust", action="append", default=[], metavar="KEY")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint, beside exported entries")
    arguments = parser.parse_args()
    try:
        trust = parse_trust(arguments.trust)
    except (Malformed, OSError, ValueError) as error:
        parser.error(f"--trust: {error}")
    report = Report()
    try:
        verify(report, arguments.subject, arguments.checkpoint, trust)
    except Exception as error:  # noqa: BLE001 - a traceback would leave with 1, which means TAMPERED
        report = Report()
        what = f"the verifier failed, and nothing was verified: {type(error).__name__}: {error}"
        report.find("log.unreadable", what)
    lines = [report.verdict, *(f"  {fact}" for fact in report.facts)]
    if report.faults > FINDINGS_SHOWN:
        lines.append(f"  and {report.faults - FINDINGS_SHOWN} more")
    text = "\n".join(lines)  # a log is written by strangers: no control character reaches the terminal
    text = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody reads it any more; the exit code says the verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_CODES[report.verdict]


if __name__ == "__main__":
    sys.exit(main())
