"""Cosignatures: what each type signs, byte by byte, and that nothing else passes."""

import base64
from hashlib import sha256

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from tests.support.shapes import ed25519_key

from attestlog._internal.core import cosignature
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint, open_checkpoint
from attestlog._internal.core.cosignature import (
    TIMESTAMP_MAX,
    Signed,
    checkpoint_message,
    cosign,
    ed25519_message,
    open_signed_checkpoint,
    subtree_message,
)
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    format_note,
    format_vkey,
    open_note,
    parse_vkey,
    sign_note,
)
from attestlog.errors import (
    MalformedCheckpointError,
    MalformedNoteError,
    MalformedSignatureError,
    MissingExtraError,
    SignatureInvalidError,
    TrustError,
)

ORIGIN = "example.com/agents"
TEXT = format_checkpoint(Checkpoint(ORIGIN, 20_852_163, sha256(b"root").digest()))
NOW_S = 1_679_315_147

LOG = VerifierKey(ORIGIN, 1, ed25519_key("log").public_key().public_bytes_raw())
WITNESS = VerifierKey("witness.example/w1", 4, ed25519_key("w1").public_key().public_bytes_raw())
ML_DSA = mldsa.MLDSA44PrivateKey.from_seed_bytes(sha256(b"ml-dsa").digest())
POST_QUANTUM = VerifierKey("witness.example/pq", 6, ML_DSA.public_key().public_bytes_raw())
LOG_PQ = VerifierKey(ORIGIN, 6, ML_DSA.public_key().public_bytes_raw())

LOG_LINE = sign_note(TEXT, LOG, ed25519_key("log").sign)
SIGN = {WITNESS: ed25519_key("w1").sign, POST_QUANTUM: ML_DSA.sign, LOG_PQ: ML_DSA.sign}
KEYS = [LOG, WITNESS, POST_QUANTUM, LOG_PQ]
COSIGNERS = pytest.mark.parametrize("key", SIGN, ids=["Ed25519", "ML-DSA-44", "log with ML-DSA-44"])


def line(key: VerifierKey, timestamp: int = NOW_S, text: str = TEXT) -> NoteSignature:
    return cosign(text, key, timestamp, SIGN[key])


def note(*lines: NoteSignature, text: str = TEXT) -> bytes:
    return format_note(text, [LOG_LINE, *lines])


def test_what_ed25519_signs() -> None:
    b64 = base64.b64encode(sha256(b"root").digest()).decode()
    assert ed25519_message(NOW_S, TEXT) == (
        f"cosignature/v1\ntime 1679315147\n{ORIGIN}\n20852163\n{b64}\n".encode()
    )


def test_what_ml_dsa_signs() -> None:
    """The layout that another implementation pins in its tests: every number has its own bytes."""
    numbers = (0x0102030405060708, 0x0910111213141516, 0x1718191A1B1C1D1E)
    expected = b"subtree/v1\n\x00\x01a%s\x01b%s%s" % tuple(number.to_bytes(8, "big") for number in numbers)
    message = subtree_message("a", 0, "b", numbers[1:], b"\x42" * 32)
    assert message == expected.replace(numbers[0].to_bytes(8, "big"), bytes(8)) + b"\x42" * 32
    whole = checkpoint_message("a", numbers[0], Checkpoint("b", numbers[2], b"\x42" * 32))
    assert whole == expected.replace(numbers[1].to_bytes(8, "big"), bytes(8)) + b"\x42" * 32


@COSIGNERS
def test_lengths(key: VerifierKey) -> None:
    blob = line(key).key_id + line(key).signature
    assert len(blob) == {4: 76, 6: 2432}[key.kind]
    assert blob[4:12] == NOW_S.to_bytes(8, "big")


@COSIGNERS
def test_signing_and_opening(key: VerifierKey) -> None:
    found = open_signed_checkpoint(note(line(key)), [LOG, key])
    assert found.checkpoint.origin == ORIGIN
    assert found.signatures == (Signed(LOG), Signed(key, NOW_S))
    assert found.unknown == 0


@pytest.mark.parametrize("timestamp", [0, 1, TIMESTAMP_MAX])
@COSIGNERS
def test_timestamps_at_the_limits(key: VerifierKey, timestamp: int) -> None:
    found = open_signed_checkpoint(note(line(key, timestamp)), [key])
    assert found.signatures == (Signed(key, timestamp),)


@pytest.mark.parametrize("timestamp", [-1, TIMESTAMP_MAX + 1])
def test_timestamps_past_the_limits_are_not_signed(timestamp: int) -> None:
    with pytest.raises(MalformedSignatureError):
        line(WITNESS, timestamp)


def test_a_timestamp_past_the_limit_does_not_verify() -> None:
    late = TIMESTAMP_MAX + 1
    signature = late.to_bytes(8, "big") + ed25519_key("w1").sign(ed25519_message(late, TEXT))
    with pytest.raises(SignatureInvalidError):
        open_signed_checkpoint(note(NoteSignature(WITNESS.name, WITNESS.key_id, signature)), [LOG, WITNESS])


@COSIGNERS
def test_every_part_is_covered(key: VerifierKey) -> None:
    good = line(key)
    for at in (0, 7, 8, 40, -1):
        mutant = bytearray(good.signature)
        mutant[at] ^= 1
        with pytest.raises(SignatureInvalidError):
            open_signed_checkpoint(note(NoteSignature(good.name, good.key_id, bytes(mutant))), [LOG, key])
    for other in ("example.com/other", ORIGIN):
        text = format_checkpoint(Checkpoint(other, 20_852_164, sha256(b"root").digest()))
        with pytest.raises(SignatureInvalidError):
            open_signed_checkpoint(format_note(text, [good]), [key])
    text = format_checkpoint(Checkpoint(ORIGIN, 20_852_163, sha256(b"another").digest()))
    with pytest.raises(SignatureInvalidError):
        open_signed_checkpoint(format_note(text, [good]), [key])


@pytest.mark.parametrize("cut", [slice(0, 7), slice(0, -1), slice(1, None)])
@COSIGNERS
def test_another_length_does_not_verify(key: VerifierKey, cut: slice) -> None:
    good = line(key)
    for signature in (good.signature[cut], good.signature + b"\0"):
        with pytest.raises(SignatureInvalidError):
            open_signed_checkpoint(note(NoteSignature(good.name, good.key_id, signature)), [LOG, key])


def test_an_ed25519_signature_of_the_note_is_no_cosignature() -> None:
    plain = ed25519_key("w1").sign(TEXT.encode())
    forged = NoteSignature(WITNESS.name, WITNESS.key_id, NOW_S.to_bytes(8, "big") + plain)
    with pytest.raises(SignatureInvalidError):
        open_signed_checkpoint(note(forged), [LOG, WITNESS])


def test_ml_dsa_covers_the_cosigners_name_and_ed25519_does_not() -> None:
    """Why an Ed25519 key must never stand under two names: its signature moves from one to the other."""
    for key, moves in ((WITNESS, True), (POST_QUANTUM, False)):
        renamed = VerifierKey("witness.example/other", key.kind, key.public_key)
        moved = NoteSignature(renamed.name, renamed.key_id, line(key).signature)
        if moves:
            assert open_signed_checkpoint(note(moved), [renamed]).signatures == (Signed(renamed, NOW_S),)
        else:
            with pytest.raises(SignatureInvalidError):
                open_signed_checkpoint(note(moved), [renamed])


def test_the_same_key_has_another_id_as_a_cosigner() -> None:
    plain = VerifierKey(WITNESS.name, 1, WITNESS.public_key)
    assert plain.key_id != WITNESS.key_id
    with pytest.raises(TrustError):
        open_signed_checkpoint(format_note(TEXT, [line(WITNESS)]), [plain])


@pytest.mark.parametrize("key", KEYS)
def test_vkeys_round_trip(key: VerifierKey) -> None:
    assert parse_vkey(format_vkey(key)) == key


def test_unknown_lines_are_counted_and_let_be() -> None:
    found = open_signed_checkpoint(note(line(WITNESS), line(POST_QUANTUM)), [LOG])
    assert (found.signatures, found.unknown) == ((Signed(LOG),), 2)


def test_a_line_twice_is_one_signature() -> None:
    twice = note(line(WITNESS), line(WITNESS))
    assert open_signed_checkpoint(twice, [WITNESS]).signatures == (Signed(WITNESS, NOW_S),)


def test_two_keys_of_one_name_and_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = VerifierKey(WITNESS.name, 4, ed25519_key("w2").public_key().public_bytes_raw())
    monkeypatch.setattr(VerifierKey, "key_id", property(lambda _: b"same"))
    with pytest.raises(MalformedNoteError, match="two known keys"):
        open_signed_checkpoint(note(line(WITNESS)), [WITNESS, other])


def test_a_cosigners_key_opens_no_other_note() -> None:
    text = "not a checkpoint\n"
    signed = format_note(text, [NoteSignature(WITNESS.name, WITNESS.key_id, bytes(72))])
    with pytest.raises(MalformedNoteError, match="signs checkpoints"):
        open_note(signed, [WITNESS])
    forged = NoteSignature(POST_QUANTUM.name, POST_QUANTUM.key_id, bytes(8 + 2420))
    with pytest.raises(MalformedCheckpointError):
        open_signed_checkpoint(format_note(text, [forged]), [POST_QUANTUM])


def test_extension_lines_are_refused_whoever_signed() -> None:
    text = TEXT + "extension\n"
    message = ed25519_message(NOW_S, text)
    signature = NOW_S.to_bytes(8, "big") + ed25519_key("w1").sign(message)
    with pytest.raises(MalformedCheckpointError):
        open_signed_checkpoint(
            format_note(text, [NoteSignature(WITNESS.name, WITNESS.key_id, signature)]), [WITNESS]
        )


def test_names_at_the_limit_and_one_past_it() -> None:
    checkpoint = Checkpoint("o" * 255, 1, bytes(32))
    assert len(checkpoint_message("c" * 255, 0, checkpoint)) == 12 + 256 + 8 + 256 + 16 + 32
    for cosigner, origin in (("c" * 256, "o"), ("c", "ô" * 128), ("", "o"), ("c", "")):
        with pytest.raises(MalformedCheckpointError):
            checkpoint_message(cosigner, 0, Checkpoint(origin, 1, bytes(32)))


@pytest.mark.parametrize("timestamp, run", [(1, (1, 2)), (0, (2, 1)), (0, (-1, 1)), (0, (0, 2**63))])
def test_runs_that_nobody_cosigns(timestamp: int, run: tuple[int, int]) -> None:
    with pytest.raises(MalformedCheckpointError):
        subtree_message("a", timestamp, "b", run, bytes(32))


def test_a_signers_wrong_answer_is_not_written_down() -> None:
    with pytest.raises(SignatureInvalidError):
        cosign(TEXT, WITNESS, NOW_S, lambda _: bytes(64))
    with pytest.raises(MalformedSignatureError):
        cosign(TEXT, LOG, NOW_S, ed25519_key("log").sign)


def test_a_checkpoint_signed_with_both_types_opens_by_either() -> None:
    both = note(line(LOG_PQ, 0))
    assert open_checkpoint(both, [LOG]).origin == ORIGIN
    for keys in ([LOG], [LOG_PQ], [LOG, LOG_PQ]):
        assert [signed.key for signed in open_signed_checkpoint(both, keys).signatures] == keys


@pytest.mark.parametrize("how", ["not there", "not supported"])
def test_without_ml_dsa_a_line_is_neither_good_nor_bad(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsupported:
        @staticmethod
        def from_public_bytes(_: bytes) -> None:
            raise UnsupportedAlgorithm("no ML-DSA here")

    signed = note(line(POST_QUANTUM))
    monkeypatch.setattr(cosignature, "MLDSA44PublicKey", None if how == "not there" else Unsupported)
    with pytest.raises(MissingExtraError):
        open_signed_checkpoint(signed, [LOG, POST_QUANTUM])
    assert open_signed_checkpoint(signed, [LOG]).unknown == 1
