"""Public keys and signatures of OpenSSH, as `ssh-keygen` and `ssh-agent` make them.

A key is one line: `ssh-ed25519 AAAA… comment` or `ecdsa-sha2-nistp256 AAAA…`; one that lives in a FIDO
authenticator begins with `sk-ssh-ed25519@openssh.com` or `sk-ecdsa-sha2-nistp256@openssh.com`.
A signature is what `ssh-keygen -Y sign` writes (OpenSSH, PROTOCOL.sshsig, version 1): over a namespace and
the hash of the message, so that it can be taken for nothing else. An authenticator signs over that
(PROTOCOL.u2f) the hash of its application, its flags and its counter: it must say that somebody touched it,
and be of the application that the key's line names. The counter is kept as it came and not judged: keys that
are copied or synchronised count as they like.

Ed25519 and P-256 only, as for every key here; other kinds and certificates are refused. Verifying only.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from attestlog._internal.core.curves import to_low_s
from attestlog._internal.core.note import decode_base64
from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey, public_key
from attestlog.errors import MalformedNoteError, MalformedSignatureError, SignatureInvalidError

SSH_ED25519: Final = "ssh-ed25519"
SSH_P256: Final = "ecdsa-sha2-nistp256"

SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_P256: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
"""Keys of FIDO authenticators."""

SSHSIG_SIZE_MAX_BYTES: Final = 4_096
"""One signature, armoured: a P-256 one has some 400 bytes; the namespace is ours and short."""

APPLICATION_LENGTH_MAX: Final = 255
"""Characters of a FIDO key's application: OpenSSH's are `ssh:`, perhaps with a name behind it."""

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"
_HASHES: Final = {"sha256": sha256, "sha512": sha512}
_TYPES: Final = (SSH_ED25519, SSH_P256, SK_ED25519, SK_P256)
_KEY_LINE: Final = re.compile(
    rf"({'|'.join(map(re.escape, _TYPES))}) ([A-Za-z0-9+/]+={{0,2}})(?: [^\r\n]*)?\n?"
)
_APPLICATION: Final = re.compile(rf"[!-~]{{1,{APPLICATION_LENGTH_MAX}}}")
_CURVE: Final = "nistp256"
_POINT_SIZE_BYTES: Final = 65
_USER_PRESENT: Final = 0x01
"""Flag of an authenticator: somebody touched it."""
_INTEGER_SIZE_MAX_BYTES: Final = 33
"""Of r and s: 32 bytes, and one for the sign."""


@dataclass(frozen=True, slots=True)
class FidoKey:
    """A key in a FIDO authenticator. It signs for one application, and only what `verify_sshsig` verifies."""

    key: PublicKey
    application: str

    @property
    def key_id(self) -> str:
        """Of the key itself, whatever it is used for."""
        return self.key.key_id

    @property
    def algorithm(self) -> str:
        """Of the key itself."""
        return self.key.algorithm


@dataclass(frozen=True, slots=True)
class SSHSignature:
    """A parsed signature: nothing in it is verified yet."""

    key: PublicKey | FidoKey
    namespace: str
    hash_algorithm: str
    signature: bytes
    """As `PublicKey.verify` takes it: raw for Ed25519, DER for P-256."""
    touched: bytes = b""
    """What an authenticator says beside it: a byte of flags, and its counter in four; else empty."""


def parse_ssh_key(text: str) -> PublicKey | FidoKey:
    """The key of one line. Raises MalformedSignatureError unless it is Ed25519 or P-256, in its spelling."""
    match = _KEY_LINE.fullmatch(text)
    if match is None:
        raise MalformedSignatureError(f"not a public key of OpenSSH of type {_one_of(_TYPES)}")
    return _load_key(_decode_base64(match[2]), match[1])


def format_ssh_key(key: PublicKey | FidoKey) -> str:
    """The line, without a comment. Raises MalformedSignatureError unless it is Ed25519 or P-256."""
    kind, blob = _spelled(key)
    return f"{kind} {base64.b64encode(blob).decode()}"


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
    return SSHSignature(key, name, hash_algorithm, *_decode_inner(inner, key, key_type))


def low_s_sshsig(data: bytes) -> bytes:
    """The same signature, without armour, in its one spelling: with the low s of P-256.

    What is signed covers namespace, hash name and hash of the message, not the blob around them, so the blob
    may be respelled. Raises MalformedSignatureError as `decode_sshsig`.
    """
    parsed = decode_sshsig(data)
    if parsed.key.algorithm != ECDSA_P256:
        return data
    r, s = decode_dss_signature(to_low_s(parsed.signature))
    reader = _Reader(data[10:])
    before = [reader.string() for _ in range(4)]
    kind = _Reader(reader.string()).string()
    inner = _string(kind) + _string(_string(_integer(r)) + _string(_integer(s))) + parsed.touched
    return data[:10] + b"".join(map(_string, before)) + _string(inner)


def verify_sshsig(signature: SSHSignature, namespace: str, message: bytes) -> None:
    """Raises SignatureInvalidError unless its key signed `message` under this namespace.

    A FIDO key must say that somebody was present. Raises MalformedSignatureError for a P-256 signature that
    is not in its one spelling.
    """
    if signature.namespace != namespace:
        raise SignatureInvalidError(
            f"SSH signature is of namespace {signature.namespace[:80]!r}, want {namespace!r}",
            expected=namespace, found=signature.namespace,
        )  # fmt: skip
    digest = _HASHES[signature.hash_algorithm](message).digest()
    parts = (namespace.encode(), b"", signature.hash_algorithm.encode(), digest)
    signed, key = _MAGIC + b"".join(map(_string, parts)), signature.key
    if isinstance(key, FidoKey):
        if not signature.touched[0] & _USER_PRESENT:
            raise SignatureInvalidError(
                "the FIDO key does not say that anybody was present", key_id=key.key_id
            )
        application = sha256(key.application.encode()).digest()
        signed, key = application + signature.touched + sha256(signed).digest(), key.key
    key.verify(signature.signature, signed)


def _load_key(blob: bytes, kind: str) -> PublicKey | FidoKey:
    if kind not in _TYPES:
        raise MalformedSignatureError(f"SSH key is of type {kind[:40]!r}, want {_one_of(_TYPES)}")
    reader = _Reader(blob)
    reader.string()
    if kind in (SSH_P256, SK_P256):
        reader.string()  # the curve's name: spelled again below
    material = reader.string()
    application = reader.string().decode("ascii", "replace") if kind in (SK_ED25519, SK_P256) else None
    try:
        if kind in (SSH_P256, SK_P256):
            loaded: object = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), material)
        else:
            loaded = Ed25519PublicKey.from_public_bytes(material)
    except (ValueError, UnsupportedAlgorithm):
        raise MalformedSignatureError(f"not a public key of OpenSSH of type {kind}") from None
    key = public_key(loaded)
    if application is not None and not _APPLICATION.fullmatch(application):
        raise MalformedSignatureError("FIDO key has no application of printable ASCII without spaces")
    found = key if application is None else FidoKey(key, application)
    if _spelled(found) != (kind, blob):
        raise MalformedSignatureError("SSH key is not in its one spelling")
    return found


def _spelled(key: PublicKey | FidoKey) -> tuple[str, bytes]:
    """Type and bytes of the key, of which its line is made."""
    plain = key.key if isinstance(key, FidoKey) else key
    kinds = {ED25519: (SSH_ED25519, SK_ED25519), ECDSA_P256: (SSH_P256, SK_P256)}.get(plain.algorithm)
    if plain.key is None or kinds is None:
        raise MalformedSignatureError(f"key is {plain.algorithm}, want P-256 or Ed25519")
    fields = [plain.spki[-32:]]
    if plain.algorithm == ECDSA_P256:
        fields = [_CURVE.encode(), plain.spki[-_POINT_SIZE_BYTES:]]
    if isinstance(key, FidoKey):
        fields.append(key.application.encode())
    kind = kinds[isinstance(key, FidoKey)]
    return kind, b"".join(map(_string, [kind.encode(), *fields]))


def _decode_inner(inner: bytes, key: PublicKey | FidoKey, key_type: str) -> tuple[bytes, bytes]:
    """The signature as `PublicKey.verify` takes it, and what an authenticator says beside it."""
    reader = _Reader(inner)
    kind, signature = reader.string(), reader.string()
    touched = reader.plain(_TOUCHED_SIZE_BYTES) if isinstance(key, FidoKey) else b""
    reader.end()
    if kind.decode("ascii", "replace") != key_type:
        raise MalformedSignatureError("SSH signature is not of its key's type")
    if key.algorithm == ED25519:
        return signature, touched
    parts = _Reader(signature)
    r, s = parts.integer(), parts.integer()
    parts.end()
    return encode_dss_signature(r, s), touched


_TOUCHED_SIZE_BYTES: Final = 5


def _one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


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

    def plain(self, size_bytes: int) -> bytes:
        """So many bytes, without their number before them."""
        data = self._data[self._place : self._place + size_bytes]
        if len(data) < size_bytes:
            raise MalformedSignatureError("SSH signature stops within a field")
        self._place += size_bytes
        return data

    def integer(self) -> int:
        data = self.string()
        value = int.from_bytes(data, "big")
        if len(data) > _INTEGER_SIZE_MAX_BYTES or _integer(value) != data:
            raise MalformedSignatureError("SSH signature has a number that is not in its one spelling")
        return value

    def end(self) -> None:
        if self._place != len(self._data):
            raise MalformedSignatureError("SSH signature has bytes after its last field")
