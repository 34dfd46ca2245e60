"""Signed notes: C2SP signed-note v1.0.0, and verifier keys (vkey).

    text ending in a newline
    <empty line>
    — <key name> <base64(4-byte key ID || signature)>

One spelling only: what parses is formatted again and compared. It signs
nothing itself and knows no file; a signer is a function from bytes to bytes.
Only signatures over the text as it is (type 0x01) are verified here; what the
timestamped ones of checkpoints cover, `cosignature` knows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestlog._internal.core.curves import check_ed25519_key
from attestlog.errors import MalformedNoteError, MalformedSignatureError, SignatureInvalidError, TrustError

NOTE_SIZE_MAX_BYTES: Final = 1 << 20
"""A checkpoint with many post-quantum cosignatures stays far below this."""

SIGNATURES_MAX: Final = 100
"""As Go's sumdb/note: bounds the work a hostile note can ask for."""

KEY_NAME_SIZE_MAX_BYTES: Final = 255
"""For names of our own and of keys that are to be trusted: what an ML-DSA cosignature can carry."""

ED25519: Final = 0x01
"""Signature type byte of an Ed25519 signature over the note text."""

COSIGNATURE_ED25519: Final = 0x04
COSIGNATURE_ML_DSA_44: Final = 0x06
"""Signature type bytes of timestamped signatures over checkpoints."""

PUBLIC_KEY_SIZE_BYTES: Final = {ED25519: 32, COSIGNATURE_ED25519: 32, COSIGNATURE_ML_DSA_44: 1312}
"""By signature type: all types that a verifier key can have here."""

_OF_ED25519: Final = frozenset({ED25519, COSIGNATURE_ED25519})
_DASH: Final = "\u2014 "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """Name, signature type and public key; `format_vkey` is its text form."""

    name: str
    kind: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name || newline || type || public key)."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public_key).digest()[:4]


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: nothing in it is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]


Verify = Callable[[str, NoteSignature, VerifierKey], object]
"""Raises SignatureInvalidError unless the key made this line over the text."""


def parse_note(data: bytes) -> Note:
    """Raises MalformedNoteError unless `data` is a signed note in its one spelling."""
    if len(data) > NOTE_SIZE_MAX_BYTES:
        raise MalformedNoteError(f"note has {len(data)} bytes, at most {NOTE_SIZE_MAX_BYTES} are read")
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedNoteError(f"byte {error.start} is not UTF-8") from None
    if any(character < " " and character != "\n" for character in content):
        raise MalformedNoteError("note holds a control character")
    body, blank, tail = content.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise MalformedNoteError("note has no blank line followed by whole signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise MalformedNoteError(f"note has {len(lines)} signatures, at most {SIGNATURES_MAX} are read")
    note = Note(body + "\n", tuple(map(_parse_signature, lines)))
    if format_note(note.text, note.signatures) != data:
        raise MalformedNoteError("note is not in its one spelling")
    return note


def format_note(text: str, signatures: Sequence[NoteSignature]) -> bytes:
    """The bytes of a note."""
    lines = [
        f"{_DASH}{line.name} {base64.b64encode(line.key_id + line.signature).decode()}\n"
        for line in signatures
    ]
    return (text + "\n" + "".join(lines)).encode()


def sign_note(text: str, key: VerifierKey, sign: Callable[[bytes], bytes]) -> NoteSignature:
    """One signature line over `text`, verified before it is returned.

    Raises SignatureInvalidError if `sign` returned anything else.
    """
    signature = NoteSignature(key.name, key.key_id, sign(text.encode()))
    verify_note_signature(text, signature, key)
    return signature


def open_note(data: bytes, keys: Sequence[VerifierKey], verify: Verify | None = None) -> Note:
    """Parse and verify: at least one key of `keys` signed, and no line of a known key is bad.

    Lines by unknown keys are ignored, as the format asks. `verify` is for notes whose
    keys may be of other types than 0x01.
    Raises MalformedNoteError, SignatureInvalidError or TrustError.
    """
    note = parse_note(data)
    if not verified_signatures(note, keys, verify):
        raise TrustError(
            "no known key signed the note",
            expected=[format_vkey(key) for key in keys],
            found=[f"{line.name}+{line.key_id.hex()}" for line in note.signatures],
        )
    return note


def verified_signatures(
    note: Note, keys: Sequence[VerifierKey], verify: Verify | None = None
) -> list[tuple[VerifierKey, NoteSignature]]:
    """The lines made by `keys`, each verified, with its key; lines by unknown keys are left out.

    Raises SignatureInvalidError if a line of a known key is bad, MalformedNoteError if two keys
    share a name and a key ID that stands in the note: nobody could say whose line that is.
    """
    known: dict[tuple[str, bytes], list[VerifierKey]] = {}
    for key in dict.fromkeys(keys):
        known.setdefault((key.name, key.key_id), []).append(key)
    found = []
    for line in note.signatures:
        named = known.get((line.name, line.key_id), [])
        if len(named) > 1:
            raise MalformedNoteError(f"two known keys are called {line.name}+{line.key_id.hex()}")
        for key in named:
            (verify or verify_note_signature)(note.text, line, key)
            found.append((key, line))
    return found


def verify_note_signature(text: str, line: NoteSignature, key: VerifierKey) -> None:
    """Raises SignatureInvalidError unless `key`, of type 0x01, made this line over `text`."""
    if key.kind != ED25519:
        raise MalformedNoteError(f"a key of type {key.kind:02x} signs checkpoints, no other notes")
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(line.signature, text.encode())
    except InvalidSignature:
        raise bad_line(line) from None


def bad_line(line: NoteSignature) -> SignatureInvalidError:
    """What to raise for a line that does not verify under the key it names."""
    return SignatureInvalidError(
        f"note signature by {line.name!r} does not verify", key_name=line.name, key_id=line.key_id.hex()
    )


def parse_vkey(text: str) -> VerifierKey:
    """`<name>+<8 hex digits>+<base64(type || key)>`, of type 0x01, 0x04 or 0x06.

    Raises MalformedNoteError.
    """
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    material = decode_base64(encoded)
    if not material or PUBLIC_KEY_SIZE_BYTES.get(material[0]) != len(material) - 1:
        raise MalformedNoteError("verifier key is not of type 01 or 04 with 32 bytes, nor 06 with 1312")
    check_key_name(name)
    key = VerifierKey(name, material[0], material[1:])
    if key.kind in _OF_ED25519:
        try:
            check_ed25519_key(key.public_key)
        except MalformedSignatureError as error:
            raise MalformedNoteError(f"verifier key: {error}") from None
    if format_vkey(key) != text:
        raise MalformedNoteError(f"verifier key has another key ID than its own {key.key_id.hex()}")
    return key


def format_vkey(key: VerifierKey) -> str:
    """The text form of a verifier key."""
    encoded = base64.b64encode(bytes([key.kind]) + key.public_key).decode()
    return f"{key.name}+{key.key_id.hex()}+{encoded}"


def check_key_name(name: str) -> None:
    """Raises MalformedNoteError unless `name` has 1-255 bytes, no Unicode space, control or `+`."""
    size_bytes = len(name.encode("utf-8", "surrogatepass"))
    if size_bytes > KEY_NAME_SIZE_MAX_BYTES:
        raise MalformedNoteError(f"key name has {size_bytes} bytes, want 1 to {KEY_NAME_SIZE_MAX_BYTES}")
    _check_characters(name)


def _check_characters(name: str) -> None:
    """What the format asks of any key's name; more would make notes with unknown keys unreadable."""
    if not name:
        raise MalformedNoteError("key name is empty")
    if any(
        character.isspace() or character == "+" or character < " " or "\ud800" <= character <= "\udfff"
        for character in name
    ):
        raise MalformedNoteError(f"key name {name!r} holds a space, a control character or a plus sign")


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise MalformedNoteError("a signature line is not '\u2014 name base64'")
    _check_characters(name)
    blob = decode_base64(encoded)
    if len(blob) < 5:
        raise MalformedNoteError("a signature line has no signature after its key ID")
    return NoteSignature(name, blob[:4], blob[4:])


def decode_base64(text: str) -> bytes:
    """Standard, padded, in its one spelling; raises MalformedNoteError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedNoteError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise MalformedNoteError("base64 is not in its one spelling")
    return data
