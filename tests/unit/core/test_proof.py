"""Proof files: one spelling, what opens them, and that nothing changed passes."""

import base64
from collections.abc import Callable

import pytest
from tests.support.shapes import ACTION, BOOT, ORIGIN, VIOLATION, ed25519_key, p256_key, sealed

from attestlog._internal.core import entry as entries
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.cosignature import Signed
from attestlog._internal.core.entry import PAYLOAD_SIZE_MAX_BYTES
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import inclusion_paths
from attestlog._internal.core.note import VerifierKey, format_note, parse_note
from attestlog._internal.core.proof import (
    HASHES_MAX,
    PROOF_HEADER,
    PROOF_SIZE_MAX_BYTES,
    Proof,
    format_proof,
    open_proof,
    parse_proof,
)
from attestlog._internal.core.signature import public_key
from attestlog._internal.core.trust import TrustedLog, TrustPolicy
from attestlog.errors import (
    AttestlogError,
    HashMismatchError,
    InclusionError,
    MalformedEntryError,
    MalformedError,
    MalformedProofError,
    MalformedSignatureError,
    SignatureInvalidError,
    TrustError,
)

LOG_KEY = ed25519_key("log")
LOG = VerifierKey(ORIGIN, 1, LOG_KEY.public_key().public_bytes_raw())
POLICY = TrustPolicy((TrustedLog(LOG),))
LINES = sealed([BOOT, ACTION, VIOLATION, ACTION, BOOT])
LEAVES = [leaf_hash(bytes.fromhex(entries.decode_line(line).entry_hash)) for line in LINES]
ROOT, PATHS = inclusion_paths(LEAVES)
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 5, ROOT), [(LOG, LOG_KEY.sign)])
READ = entries.decode_line(LINES[2])
ENTRY_KEY = public_key(p256_key().public_key())


def proof_of(index: int = 2, **changes: object) -> bytes:
    facts = {"index": index, "path": PATHS[index], "checkpoint": NOTE, "extra": LINES[index], **changes}
    return format_proof(Proof(**facts))  # type: ignore[arg-type]


GOOD = proof_of()


def test_the_lines_of_a_proof() -> None:
    header, extra, index, *rest = GOOD.decode().split("\n")
    assert (header, index) == ("c2sp.org/tlog-proof@v1", "index 2")
    assert base64.b64decode(extra.removeprefix("extra ")) == LINES[2]
    hashes = rest[: rest.index("")]
    assert [base64.b64decode(text) for text in hashes] == [
        PATHS[2][at : at + 32] for at in range(0, len(PATHS[2]), 32)
    ]
    assert "\n".join(rest[len(hashes) + 1 :]).encode() == NOTE


@pytest.mark.parametrize("index", range(5))
def test_every_entry_proves_itself(index: int) -> None:
    found = open_proof(proof_of(index), POLICY)
    assert found.entry == entries.decode_line(LINES[index])
    assert found.checkpoint.logs == (Signed(LOG),)
    assert found.checkpoint.signed.checkpoint == Checkpoint(ORIGIN, 5, ROOT)
    assert found.key is None
    assert open_proof(proof_of(index), TrustPolicy(), [LOG], [ENTRY_KEY]).key == ENTRY_KEY


def test_without_its_payload_an_entry_proves_itself_too() -> None:
    line = erase_line(LINES[2])
    found = open_proof(proof_of(extra=line), POLICY, entry_keys=[ENTRY_KEY])
    assert found.entry.action_payload is None
    assert found.entry.action_hash == entries.decode_line(LINES[2]).action_hash
    assert found.key == ENTRY_KEY


def test_a_tree_of_one_has_no_hashes() -> None:
    root, (path,) = inclusion_paths(LEAVES[:1])
    note = sign_checkpoint(Checkpoint(ORIGIN, 1, root), [(LOG, LOG_KEY.sign)])
    data = proof_of(0, path=path, checkpoint=note)
    assert b"index 0\n\nexample.com" in data
    assert open_proof(data, POLICY).entry.sequence_number == 0


def test_proofs_round_trip_with_and_without_extra() -> None:
    for proof in (Proof(2, PATHS[2], NOTE, LINES[2]), Proof(0, b"", b"any text\n", None)):
        assert parse_proof(format_proof(proof)) == proof


def test_a_proof_without_an_entry_is_none_of_ours() -> None:
    with pytest.raises(MalformedProofError, match="extra is missing"):
        open_proof(proof_of(extra=None), POLICY)


def text(old: str, new: str) -> bytes:
    assert old in GOOD.decode()
    return GOOD.decode().replace(old, new, 1).encode()


HASH = base64.b64encode(PATHS[2][:32]).decode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        NOTE,
        GOOD[1:],
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        text("@v1", "@v2"),
        text("@v1\n", "@v1 \n"),
        text("@v1\n", "@v1\n\n"),
        text("extra ", "extra  "),
        text("extra ", "Extra "),
        text("extra ", "extra extra "),
        text("extra ", "extra"),
        proof_of(extra=b""),
        text("index 2", "index 02"),
        text("index 2", "index +2"),
        text("index 2", "index 2 "),
        text("index 2", "index 2_0"),
        text("index 2", "index \uff12"),
        text("index 2", "index -1"),
        text("index 2", "index 9223372036854775808"),
        text("index 2", "index 99999999999999999999"),
        text("index 2", "index"),
        text("index 2\n", ""),
        text("index 2", "index 2\nindex 2"),
        text(HASH, HASH[:-1]),
        text(HASH, HASH.replace("=", "")),
        text(HASH, f" {HASH}"),
        text(HASH, f"{HASH}\t"),
        text(HASH, f"{HASH[:8]}\n{HASH[8:]}"),
        text(HASH, base64.b64encode(PATHS[2][:31]).decode()),
        text(HASH, base64.b64encode(PATHS[2][:33]).decode()),
        text(HASH, base64.urlsafe_b64encode(b"\xff" * 32).decode()),
        GOOD.partition(b"\n\n")[0],
        GOOD.replace(b"\n\n", b"\n", 1),
        text("index 2", "index 2\x0b"),
        text("index 2", "index 2\u2028"),
    ],
    ids=range(36),
)
def test_what_is_no_proof(data: bytes) -> None:
    with pytest.raises(MalformedProofError):
        open_proof(data, POLICY)


def test_the_trailing_bits_of_base64_are_zero() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = HASH[:-2] + alphabet[alphabet.index(HASH[-2]) + 1] + "="
    assert base64.b64decode(other) == base64.b64decode(HASH)
    with pytest.raises(MalformedProofError, match="one spelling"):
        parse_proof(text(HASH, other))


def test_number_of_hashes_at_the_limit_and_one_past_it() -> None:
    assert parse_proof(proof_of(path=bytes(32 * HASHES_MAX))).path == bytes(32 * HASHES_MAX)
    with pytest.raises(MalformedProofError, match="64 hashes"):
        parse_proof(proof_of(path=bytes(32 * HASHES_MAX + 32)))


def test_size_at_the_limit_and_one_past_it() -> None:
    rest = len(proof_of(checkpoint=b""))
    assert parse_proof(proof_of(checkpoint=b"x" * (PROOF_SIZE_MAX_BYTES - rest))).index == 2
    with pytest.raises(MalformedProofError, match="bytes"):
        parse_proof(proof_of(checkpoint=b"x" * (PROOF_SIZE_MAX_BYTES - rest + 1)))
    assert PROOF_SIZE_MAX_BYTES > PAYLOAD_SIZE_MAX_BYTES * 4 // 3 + (1 << 20)


# --- what does not hold ---


def entry_changed(old: bytes, new: bytes) -> bytes:
    assert old in LINES[2]
    return proof_of(extra=LINES[2].replace(old, new))


def foreign() -> bytes:
    other = ed25519_key("other")
    key = VerifierKey(ORIGIN, 1, other.public_key().public_bytes_raw())
    return proof_of(checkpoint=sign_checkpoint(Checkpoint(ORIGIN, 5, ROOT), [(key, other.sign)]))


def signed(checkpoint: Checkpoint) -> bytes:
    key = VerifierKey(checkpoint.origin, 1, LOG.public_key)
    return sign_checkpoint(checkpoint, [(key, LOG_KEY.sign)])


MUTANTS: dict[str, tuple[Callable[[], bytes], type[AttestlogError]]] = {
    "payload changed": (lambda: entry_changed(b"6.2", b"7.2"), HashMismatchError),
    "member changed": (lambda: entry_changed(b'"BLOCKED"', b'"SUCCESS"'), HashMismatchError),
    "entry_hash changed": (lambda: entry_changed(b'"entry_hash":"', b'"entry_hash":"0'), HashMismatchError),
    "not canonical": (lambda: entry_changed(b'"k_state":1', b'"k_state": 1'), MalformedEntryError),
    "not JSON": (lambda: proof_of(extra=b"not an entry"), MalformedEntryError),
    "a payload of another type": (lambda: proof_of(extra=b"[]"), MalformedEntryError),
    "signature stripped": (
        lambda: entry_changed(READ.hsm_signature.encode(), b""), MalformedSignatureError,
    ),
    "another entry": (lambda: proof_of(extra=LINES[1]), InclusionError),
    "another index": (lambda: proof_of(index=2, path=PATHS[3], extra=LINES[2]), InclusionError),
    "index as another says": (lambda: format_proof(Proof(3, PATHS[3], NOTE, LINES[2])), InclusionError),
    "path cut": (lambda: proof_of(path=PATHS[2][32:]), InclusionError),
    "path longer": (lambda: proof_of(path=PATHS[2] + ROOT), InclusionError),
    "another root": (lambda: proof_of(checkpoint=signed(Checkpoint(ORIGIN, 5, LEAVES[0]))), InclusionError),
    "another size": (lambda: proof_of(checkpoint=signed(Checkpoint(ORIGIN, 9, ROOT))), InclusionError),
    "smaller than the index": (
        lambda: proof_of(checkpoint=signed(Checkpoint(ORIGIN, 2, ROOT))), InclusionError,
    ),
    "another log's checkpoint": (
        lambda: proof_of(checkpoint=signed(Checkpoint("example.com/other", 5, ROOT))), TrustError,
    ),
    "a foreign signature": (foreign, TrustError),
    "a changed checkpoint": (lambda: text("\n5\n", "\n6\n"), SignatureInvalidError),
    "no signature": (lambda: proof_of(checkpoint=NOTE.partition(b"\n\n")[0] + b"\n"), MalformedError),
    "no checkpoint": (lambda: proof_of(checkpoint=b""), MalformedError),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_a_changed_proof_shows_nothing(name: str) -> None:
    make, error = MUTANTS[name]
    with pytest.raises(error):
        open_proof(make(), POLICY)


def test_every_changed_byte_is_seen_but_in_the_entrys_own_signature() -> None:
    """Which nothing in the file but the entry key can judge; given that key, it is seen as well."""
    start = LINES[2].index(b'"hsm_signature":"') + 17
    signature = range(start, LINES[2].index(b'"', start))
    for at in range(len(LINES[2])):
        mutant = bytearray(LINES[2])
        mutant[at] ^= 1
        data = proof_of(extra=bytes(mutant))
        with pytest.raises(AttestlogError):
            open_proof(data, POLICY, entry_keys=[ENTRY_KEY])
        if at not in signature:
            with pytest.raises(AttestlogError):
                open_proof(data, POLICY)
    for at in range(GOOD.index(b"\nindex"), len(GOOD)):
        data = GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]
        with pytest.raises(AttestlogError):
            open_proof(data, POLICY)


def test_an_entry_key_that_is_known_must_have_signed() -> None:
    other = public_key(p256_key("other").public_key())
    assert open_proof(GOOD, POLICY, entry_keys=[other]).key is None
    another = entries.decode_line(LINES[1])
    moved = LINES[2].replace(READ.hsm_signature.encode(), another.hsm_signature.encode())
    assert open_proof(proof_of(extra=moved), POLICY).key is None
    with pytest.raises(SignatureInvalidError):
        open_proof(proof_of(extra=moved), POLICY, entry_keys=[other, ENTRY_KEY])


def test_cosignatures_travel_with_the_checkpoint() -> None:
    note = parse_note(NOTE)
    twice = format_note(note.text, [*note.signatures, *note.signatures])
    assert open_proof(proof_of(checkpoint=twice), POLICY).checkpoint.logs == (Signed(LOG),)
    assert parse_proof(proof_of(checkpoint=twice)).checkpoint == twice
    assert GOOD.startswith(PROOF_HEADER.encode())
