"""Logs as a witness sees them, made by the judge of RFC 6962, and requests that a witness must refuse."""

from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.logs import CheckpointKey
from tests.support.rfc6962 import mth, proof

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint, sign_checkpoint
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    format_note,
)
from attestlog._internal.core.signature import PublicKey
from attestlog._internal.core.witness import (
    format_add_checkpoint,
    format_cosignatures,
)
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    MalformedCheckpointError,
    MalformedProofError,
    SignatureInvalidError,
    SplitViewError,
    StaleSizeError,
    TrustError,
    UnknownOriginError,
)

NAME = "witness.example.com/one"
NOW = 1_764_000_000


class MlDsaSigner:
    """An ML-DSA-44 key in memory."""

    uri = "memory:ml-dsa"

    def __init__(self) -> None:
        self._key = mldsa.MLDSA44PrivateKey.from_seed_bytes(sha256(b"witness").digest())
        public = self._key.public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.public_key = PublicKey("ML-DSA-44", public, spki)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)

    def close(self) -> None:
        pass


class SignedTree:
    """A log of `size_max` leaves, of which any prefix can be signed. Leaves from `fork` on are others."""

    def __init__(
        self, origin: str = "example.com/log", *, size_max: int = 40, fork: int | None = None
    ) -> None:
        self.origin, self.key = origin, CheckpointKey(name=origin)
        fork = size_max if fork is None else fork
        self.leaves = [b"%d%s" % (n, b"" if n < fork else b" forked") for n in range(size_max)]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, mth(self.leaves[:size]))

    def text(self, size: int) -> str:
        return format_checkpoint(self.checkpoint(size))

    def note(self, size: int, more: Sequence[NoteSignature] = ()) -> bytes:
        """Signed by the log; with `more` signature lines."""
        note = sign_checkpoint(self.checkpoint(size), [(self.key.verifier, self.key.sign)])
        return note + format_note("", more).removeprefix(b"\n") if more else note

    def proof(self, old: int, size: int) -> bytes:
        return b"".join(proof(old, self.leaves[:size])) if old else b""

    def request(self, old: int, size: int) -> bytes:
        """A good one."""
        return format_add_checkpoint(old, self.proof(old, size), self.note(size))


def check_answer(answer: bytes, tree: SignedTree, size: int, keys: tuple[VerifierKey, ...]) -> list[int]:
    """Every key cosigned this checkpoint; the times."""
    signed = open_signed_checkpoint(tree.note(size) + answer, keys)
    assert signed.checkpoint == tree.checkpoint(size)
    assert [item.key for item in signed.signatures] == list(keys)
    return [item.timestamp or 0 for item in signed.signatures]


def mutants(data: bytes) -> dict[str, bytes]:
    head, _, note = data.partition(b"\n\n")
    first, *hashes = head.split(b"\n")
    return {
        "empty": b"", "no note": head + b"\n\n", "no blank": head + b"\n" + note,
        "no old": b"\n".join(hashes) + b"\n\n" + note,
        "leading zero": b"old 07\n\n" + note, "negative": b"old -1\n\n" + note, "hex": b"old 0x1\n\n" + note,
        "plus": b"old +1\n\n" + note, "no number": b"old \n\n" + note, "two spaces": b"old  1\n\n" + note,
        "capital": b"Old 1\n\n" + note, "huge": b"old 9223372036854775808\n\n" + note,
        "trailing": first + b" \n\n" + note, "crlf": data.replace(b"\n", b"\r\n"),
        "short hash": first + b"\nAAAA\n\n" + note, "bad base64": first + b"\n%%%\n\n" + note,
        "unpadded": first + b"\n" + hashes[0].rstrip(b"=") + b"\n\n" + note,
        "64 hashes": first + (b"\n" + hashes[0]) * 64 + b"\n\n" + note, "not ascii": b"old \xb2\n\n" + note,
        "nothing signed": head + b"\n\n" + note.partition(b"\n\n")[0] + b"\n\n",
        "more after": data + b"x", "no last newline": data[:-1], "zero byte": data.replace(b"old", b"o\0d"),
    }  # fmt: skip


def forged(tree: SignedTree, size: int, root: bytes) -> bytes:
    return sign_checkpoint(Checkpoint(tree.origin, size, root), [(tree.key.verifier, tree.key.sign)])


def bad_requests(tree: SignedTree) -> dict[str, tuple[bytes, type[AttestlogError]]]:
    """Sent to a witness that has cosigned size 7."""
    fork, note = SignedTree(fork=5), tree.note(20)
    stranger = SignedTree("example.com/stranger")
    other_key = SignedTree()
    other_key.key = type(tree.key)(number=9, name=tree.origin)
    proof = bytearray(tree.proof(7, 20))
    proof[3] ^= 1
    bad_line = tree.text(20).encode() + b"\n" + tree.note(19).partition(b"\n\n")[2]
    empty = bytes(32)
    text = tree.text(20)
    return {
        "unknown origin": (stranger.request(0, 3), UnknownOriginError),
        "unknown key": (other_key.request(7, 20), TrustError),
        "bad signature": (format_add_checkpoint(7, tree.proof(7, 20), bad_line), SignatureInvalidError),
        "signature of another size": (
            format_add_checkpoint(7, tree.proof(7, 20), note.replace(b"\n20\n", b"\n21\n")),
            SignatureInvalidError,
        ),
        "old beyond size": (tree.request(7, 7).replace(b"old 7", b"old 8"), MalformedProofError),
        "old too small": (tree.request(6, 20), StaleSizeError),
        "old too large": (tree.request(8, 20), StaleSizeError),
        "old zero": (tree.request(0, 20), StaleSizeError),
        "smaller size": (tree.request(3, 5), StaleSizeError),
        "same size, other root": (
            format_add_checkpoint(7, b"", forged(tree, 7, fork.checkpoint(7).root)),
            SplitViewError,
        ),
        "same size, with a proof": (format_add_checkpoint(7, bytes(32), tree.note(7)), ConsistencyError),
        "forked": (fork.request(7, 20), ConsistencyError),
        "no proof": (format_add_checkpoint(7, b"", note), ConsistencyError),
        "proof too long": (format_add_checkpoint(7, tree.proof(7, 20) + bytes(32), note), ConsistencyError),
        "proof too short": (format_add_checkpoint(7, tree.proof(7, 20)[32:], note), ConsistencyError),
        "proof of another size": (format_add_checkpoint(7, tree.proof(7, 21), note), ConsistencyError),
        "proof changed": (format_add_checkpoint(7, bytes(proof), note), ConsistencyError),
        "empty with a root": (format_add_checkpoint(0, b"", forged(tree, 0, empty)), ConsistencyError),
        "extension line": (signed_text(tree, f"{text}extension\n"), MalformedCheckpointError),
        "root of 31 bytes": (signed_text(tree, f"{tree.origin}\n20\n{'A' * 40}\n"), MalformedCheckpointError),
    }  # fmt: skip


def signed_text(tree: SignedTree, text: str) -> bytes:
    key = tree.key.verifier
    line = NoteSignature(key.name, key.key_id, tree.key.sign(text.encode()))
    return format_add_checkpoint(7, tree.proof(7, 20), text.encode() + b"\n" + format_cosignatures([line]))
