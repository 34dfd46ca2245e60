"""Proof files: C2SP tlog-proof. One entry proves itself, with the log gone, to whoever has one key.

    c2sp.org/tlog-proof@v1
    extra <base64 of the canonical entry>
    index <decimal>
    <base64 of a hash>…
    <empty line>
    <signed checkpoint, as it is>

The leaf is the entry's 32-byte entry_hash, so `extra`, which nobody signed, is
worth what its hash is worth: the entry is read from it and hashed again. Its
payload may be left out (null), as in an erased entry.

It says nothing of other entries, and not that the log still holds this one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from attestlog._internal.core import entry as entries
from attestlog._internal.core.checkpoint import SIZE_MAX, Checkpoint
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, Entry
from attestlog._internal.core.hashes import HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import verify_inclusion
from attestlog._internal.core.note import NOTE_SIZE_MAX_BYTES, VerifierKey, decode_base64
from attestlog._internal.core.signature import PublicKey, parse_signature, verify_entry_signature
from attestlog._internal.core.trust import TrustedCheckpoint, TrustPolicy, open_trusted_checkpoint
from attestlog.errors import HashMismatchError, InclusionError, MalformedNoteError, MalformedProofError

PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"

HASHES_MAX: Final = 63
"""Hashes in a proof: no tree of up to 2^63 - 1 leaves needs more."""

PROOF_SIZE_MAX_BYTES: Final = 4 * (LINE_SIZE_MAX_BYTES // 3 + 1) + NOTE_SIZE_MAX_BYTES + 4_096
"""The longest entry in base64, the longest note, 63 hashes and the rest."""

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Proof:
    """A parsed proof file: nothing in it is verified yet."""

    index: int
    path: bytes
    """Whole 32-byte hashes, the leaf's sibling first."""
    checkpoint: bytes
    """The signed note, not parsed."""
    extra: bytes | None = None


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry that is shown to be in the tree of a trusted checkpoint."""

    entry: Entry
    checkpoint: TrustedCheckpoint
    key: PublicKey | None = None
    """The trusted entry key that signed the entry; None: its signature was not looked at."""


def parse_proof(data: bytes) -> Proof:
    """Raises MalformedProofError unless `data` is a proof file in its one spelling, with any `extra`."""
    lines, checkpoint = split_proof(data, PROOF_HEADER)
    extra = decode_item(lines.pop(0), "extra") if lines and lines[0].startswith("extra ") else None
    if extra == b"":
        raise MalformedProofError("extra is empty")
    if not lines:
        raise MalformedProofError("there is no index")
    index = parse_count(lines.pop(0), "index")
    proof = Proof(index, decode_hashes(lines), checkpoint, extra)
    if format_proof(proof) != data:
        raise MalformedProofError("proof is not in its one spelling")
    return proof


def format_proof(proof: Proof) -> bytes:
    """The bytes of a proof file."""
    lines = [PROOF_HEADER]
    if proof.extra is not None:
        lines.append(f"extra {base64.b64encode(proof.extra).decode()}")
    lines += [f"index {proof.index}", *format_hashes(proof.path), "", ""]
    return "\n".join(lines).encode() + proof.checkpoint


def open_proof(
    data: bytes,
    trust_policy: TrustPolicy,
    log_keys: Iterable[VerifierKey] = (),
    entry_keys: Iterable[PublicKey] = (),
) -> ProvenEntry:
    """Parse and verify: the entry is in the tree of a checkpoint that the policy accepts.

    `log_keys` are logs trusted beside the policy's. The entry's own signature is verified if its
    key is one of `entry_keys`; else the tree alone vouches for the entry, and its signature for nothing.
    Raises a MalformedError, or TrustError, SignatureInvalidError, HashMismatchError, InclusionError.
    """
    proof = parse_proof(data)
    trusted = open_trusted_checkpoint(proof.checkpoint, trust_policy, log_keys)
    entry = read_proven_entry(proof)
    verify_entry_inclusion(proof, entry, trusted.signed.checkpoint)
    return ProvenEntry(entry, trusted, verify_by_known_key(entry, entry_keys))


def read_proven_entry(proof: Proof) -> Entry:
    """The entry that `extra` holds, whose hashes are its own. That it is in a log is not shown by this.

    Raises MalformedProofError, MalformedEntryError, MalformedSignatureError, TooLargeError or
    HashMismatchError.
    """
    if proof.extra is None:
        raise MalformedProofError("the proof holds no entry: extra is missing")
    entry = entries.decode_line(proof.extra)
    entry_hash, action_hash = entries.canonical_hashes(entry, proof.extra)
    found = entry.action_hash
    if action_hash not in {None, found}:
        raise HashMismatchError(
            "action_hash is not the hash of the payload",
            member="action_hash", expected=action_hash, found=found,
        )  # fmt: skip
    if entry_hash != entry.entry_hash:
        raise HashMismatchError(
            "entry_hash is not the hash of the entry",
            member="entry_hash", expected=entry_hash, found=entry.entry_hash,
        )  # fmt: skip
    parse_signature(entry.hsm_signature, entry.signature_algorithm)
    return entry


def verify_entry_inclusion(proof: Proof, entry: Entry, checkpoint: Checkpoint) -> None:
    """Raises InclusionError unless the proof leads from this entry, at its place, to the root."""
    if entry.sequence_number != proof.index:
        raise InclusionError(
            f"the proof is of index {proof.index}, its entry is entry {entry.sequence_number}",
            expected=proof.index, found=entry.sequence_number,
        )  # fmt: skip
    leaf = leaf_hash(bytes.fromhex(entry.entry_hash))
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)


def verify_by_known_key(entry: Entry, keys: Iterable[PublicKey]) -> PublicKey | None:
    """The key among `keys` that the entry names and that signed it; None if it names another.

    Raises SignatureInvalidError if it names one of them, which did not sign it.
    """
    for key in keys:
        if key.key_id == entry.signing_key_id:
            verify_entry_signature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)
            return key
    return None


# --- what proof files of either kind are made of ---


def split_proof(data: bytes, header: str) -> tuple[list[str], bytes]:
    """The lines from the header to the first empty line, and what follows. Raises MalformedProofError."""
    if len(data) > PROOF_SIZE_MAX_BYTES:
        raise MalformedProofError(f"proof has {len(data)} bytes, at most {PROOF_SIZE_MAX_BYTES} are read")
    head, blank, checkpoint = data.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedProofError(f"byte {error.start} is not ASCII") from None
    if first != header:
        raise MalformedProofError(f"the first line is {first[:80]!r}, want {header!r}", found=first[:80])
    if not blank:
        raise MalformedProofError("there is no empty line before the checkpoint")
    return lines, checkpoint


def parse_count(line: str, name: str) -> int:
    """The number after `name` and a space. Raises MalformedProofError."""
    key, _, decimal = line.partition(" ")
    if key != name or not _DECIMAL.fullmatch(decimal) or int(decimal) > SIZE_MAX:
        raise MalformedProofError(f"{line[:80]!r} is not '{name}' and a number up to {SIZE_MAX}")
    return int(decimal)


def decode_item(line: str, name: str) -> bytes:
    """The bytes after `name` and a space, in base64. Raises MalformedProofError."""
    key, _, encoded = line.partition(" ")
    if key != name:
        raise MalformedProofError(f"{line[:80]!r} is not '{name}' and base64")
    try:
        return decode_base64(encoded)
    except MalformedNoteError as error:
        raise MalformedProofError(f"{name}: {error}") from None


def decode_hashes(lines: Sequence[str]) -> bytes:
    """Hashes of 32 bytes, one a line in base64, joined. Raises MalformedProofError."""
    if len(lines) > HASHES_MAX:
        raise MalformedProofError(f"proof has {len(lines)} hashes, at most {HASHES_MAX} are needed")
    hashes = [decode_item(f"hash {line}", "hash") for line in lines]
    for digest in hashes:
        if len(digest) != HASH_SIZE_BYTES:
            raise MalformedProofError(f"a hash has {len(digest)} bytes, want {HASH_SIZE_BYTES}")
    return b"".join(hashes)


def format_hashes(path: bytes) -> list[str]:
    """One line in base64 for each hash."""
    hashes = (path[at : at + HASH_SIZE_BYTES] for at in range(0, len(path), HASH_SIZE_BYTES))
    return [base64.b64encode(digest).decode() for digest in hashes]
