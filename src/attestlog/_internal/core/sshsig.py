"""Public keys and signatures of OpenSSH, as `ssh-keygen` and `ssh-agent` make them.

A key is one line: `ssh-ed25519 AAAA… comment` or `ecdsa-sha2-nistp256 AAAA…`.
A signature is what `ssh-keygen -Y sign` writes (OpenSSH, PROTOCOL.sshsig,
version 1): over a namespace and the hash of the message, so that it can be
taken for nothing else. Ed25519 and P-256 only, as for every key here; other
kinds, certificates and hardware-backed `sk-` keys among them, are refused.
Verifying only.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.note import decode_base64
from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey, public_key
from attestlog.errors import MalformedNoteError, MalformedSignatureError, SignatureInvalidError

SSH_ED25519: Final = "ssh-ed25519"
SSH_P256: Final = "ecdsa-sha2-nistp256"

SSHSIG_SIZE_MAX_BYTES: Final = 4_096
"""One signature, armoured: a P-256 one has some 400 bytes; the namespace is ours and short."""

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_HASHES: Final = {"sha256": sha256, "sha512": sha512}
_KEY_LINE: Final = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp256) ([A-Za-z0-9+/]+={0,2})(?: [^\r\n]*)?\n?")
_INTEGER_SIZE_MAX_BYTES: Final = 33
"""Of r and s: 32 bytes, and one for the sign."""


@dataclass(frozen=True, slots=True)
class SSHSignature:
    """A parsed signature: nothing in it is verified yet."""

    key: PublicKey
    namespace: str
    hash_algorithm: str
    signature: bytes
    """As `PublicKey.verify` takes it: raw for Ed25519, DER for P-256."""


_ALGORITHMS: Final = (ECDSA_P256, ED25519)


def parse_ssh_key(text: str) -> PublicKey:
    """The key of one line. Raises MalformedSignatureError unless it is Ed25519 or P-256, in its spelling."""
    match = _KEY_LINE.fullmatch(text)
    if match is None:
        raise MalformedSignatureError(
            "not a public key of OpenSSH of type ssh-ed25519 or ecdsa-sha2-nistp256"
        )
    return _load_key(_decode_base64(match[2]), match[1])


def format_ssh_key(key: PublicKey) -> str:
    """The line, without a comment. Raises MalformedSignatureError unless it is Ed25519 or P-256."""
    if key.key is None or key.algorithm not in _ALGORITHMS:
        raise MalformedSignatureError(f"key is {key.algorithm}, want P-256 or Ed25519")
    return key.key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def parse_sshsig(text: str) -> SSHSignature:
    """The signature in the text that `ssh-keygen -Y sign` writes.

    Raises MalformedSignatureError unless it is one, whole, in its one spelling.
    """
    if len(text) > SSHSIG_SIZE_MAX_BYTES:
        raise MalformedSignatureError(f"SSH signature has {len(text)} characters, at most 4096 are read")
    lines = text.removesuffix("\n").split("\n")
    if lines[0] != _BEGIN or lines[-1] != _END:
        raise MalformedSignatureError(f"SSH signature does not stand between {_BEGIN!r} and {_END!r}")
    return decode_sshsig(unarmoured(text))


def unarmoured(text: str) -> bytes:
    """The bytes between first and last line. Raises MalformedSignatureError unless they are base64."""
    return _decode_base64("".join(text.removesuffix("\n").split("\n")[1:-1]))


def decode_sshsig(data: bytes) -> SSHSignature:
    """The signature in these bytes, without armour. Raises as `parse_sshsig`."""
    if data[:10] != _MAGIC + _VERSION.to_bytes(4, "big"):
        raise MalformedSignatureError("not an SSH signature of version 1")
    reader = _Reader(data[10:])
    blob, namespace, reserved, hashed_by, inner = (reader.string() for _ in range(5))
    reader.end()
    if reserved:
        raise MalformedSignatureError("SSH signature has reserved bytes")
    key_type = _Reader(blob).string().decode("ascii", "replace")
    key = _load_key(blob, key_type)
    try:
        name, hash_algorithm = namespace.decode("utf-8"), hashed_by.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedSignatureError("SSH signature names no hash or namespace") from None
    if hash_algorithm not in _HASHES:
        raise MalformedSignatureError(
            f"SSH signature is over a {hash_algorithm[:20]!r}, want sha256 or sha512"
        )
    return SSHSignature(key, name, hash_algorithm, _decode_inner(inner, key, key_type))


def low_s_sshsig(data: bytes) -> bytes:
    """The same signature, without armour, in its one spelling: with the low s of P-256.

    What is signed covers namespace, hash name and hash of the message, not the blob around them, so the blob
    may be respelled. Raises MalformedSignatureError as `decode_sshsig`.
    """
    parsed = decode_sshsig(data)
    if parsed.key.algorithm != ECDSA_P256:
        return data
    r, s = decode_dss_signature(to_low_s(parsed.signature))
    inner = _string(SSH_P256.encode()) + _string(_string(_integer(r)) + _string(_integer(s)))
    reader = _Reader(data[10:])
    before = [reader.string() for _ in range(4)]
    return data[:10] + b"".join(map(_string, before)) + _string(inner)


def verify_sshsig(signature: SSHSignature, namespace: str, message: bytes) -> None:
    """Raises SignatureInvalidError unless its key signed `message` under this namespace.

    Raises MalformedSignatureError for a P-256 signature that is not in its one spelling.
    """
    if signature.namespace != namespace:
        raise SignatureInvalidError(
            f"SSH signature is of namespace {signature.namespace[:80]!r}, want {namespace!r}",
            expected=namespace, found=signature.namespace,
        )  # fmt: skip
    digest = _HASHES[signature.hash_algorithm](message).digest()
    parts = (namespace.encode(), b"", signature.hash_algorithm.encode(), digest)
    signature.key.verify(signature.signature, _MAGIC + b"".join(map(_string, parts)))


def _load_key(blob: bytes, key_type: str) -> PublicKey:
    if key_type not in {SSH_ED25519, SSH_P256}:
        raise MalformedSignatureError(
            f"SSH key is of type {key_type[:40]!r}, want {SSH_ED25519} or {SSH_P256}"
        )
    try:
        key = public_key(load_ssh_public_key(f"{key_type} {base64.b64encode(blob).decode()}".encode()))
    except (ValueError, NotImplementedError, UnsupportedAlgorithm):
        raise MalformedSignatureError(f"not a public key of OpenSSH of type {key_type}") from None
    if format_ssh_key(key).partition(" ")[2] != base64.b64encode(blob).decode():
        raise MalformedSignatureError("SSH key is not in its one spelling")
    return key


def _decode_inner(inner: bytes, key: PublicKey, key_type: str) -> bytes:
    reader = _Reader(inner)
    kind, signature = reader.string(), reader.string()
    reader.end()
    if kind.decode("ascii", "replace") != key_type:
        raise MalformedSignatureError("SSH signature is not of its key's type")
    if key.algorithm == ED25519:
        return signature
    parts = _Reader(signature)
    r, s = parts.integer(), parts.integer()
    parts.end()
    return encode_dss_signature(r, s)


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _decode_base64(text: str) -> bytes:
    try:
        return decode_base64(text)
    except MalformedNoteError as error:
        raise MalformedSignatureError(str(error)) from None


class _Reader:
    """The fields of RFC 4251, section 5."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def string(self) -> bytes:
        start = self._place + 4
        stop = start + int.from_bytes(self._data[self._place : start], "big")
        if stop > len(self._data) or start > len(self._data):
            raise MalformedSignatureError("SSH signature stops within a field")
        self._place = stop
        return self._data[start:stop]

    def integer(self) -> int:
        data = self.string()
        value = int.from_bytes(data, "big")
        if len(data) > _INTEGER_SIZE_MAX_BYTES or _integer(value) != data:
            raise MalformedSignatureError("SSH signature has a number that is not in its one spelling")
        return value

    def end(self) -> None:
        if self._place != len(self._data):
            raise MalformedSignatureError("SSH signature has bytes after its last field")
