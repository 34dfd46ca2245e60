"""One spelling of P-256 signatures in every place that has one, and keys under which anyone can sign."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support.curves import (
    FORGED,
    NOT_REDUCED,
    SMALL_ORDER,
    key_with_s,
    pem_of,
    respelled,
    spki_of,
    ssh_line_of,
)
from tests.support.people import Person, members_of
from tests.support.shapes import LOG, ORIGIN
from tests.support.ssh import blob, make_key, sign, sshsig

from attestlog._internal.core.curves import (
    P256_HALF_ORDER,
    P256_ORDER,
    check_ed25519_key,
    check_low_s,
    to_low_s,
)
from attestlog._internal.core.deriving import with_low_s
from attestlog._internal.core.entry import EntryDraft, parse_draft
from attestlog._internal.core.hashes import actor_message, batch_message
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_vkey
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.core.signature import (
    format_batch,
    load_public_key,
    verify_entry_signature,
)
from attestlog._internal.core.sshsig import decode_sshsig, low_s_sshsig, parse_ssh_key, verify_sshsig
from attestlog._internal.signers.asking import ask
from attestlog._internal.signers.sshsig import ssh_sign
from attestlog.errors import MalformedNoteError, MalformedSignatureError, SignatureInvalidError
from attestlog.testing import FaultSigner, MemorySigner

MESSAGE = sha256(b"entry").digest()


def test_half_of_the_order_is_the_largest_s() -> None:
    key, signature = key_with_s(P256_HALF_ORDER, MESSAGE)
    key.verify(signature, MESSAGE)
    assert to_low_s(signature) == signature
    key, signature = key_with_s(P256_HALF_ORDER + 1, MESSAGE)
    with pytest.raises(MalformedSignatureError, match="over half of the order") as raised:
        key.verify(signature, MESSAGE)
    assert raised.value.evidence()["found"] == f"{P256_HALF_ORDER + 1:x}"
    key.verify(to_low_s(signature), MESSAGE)


def test_half_is_the_half_of_the_order_of_p_256() -> None:
    assert f"{P256_HALF_ORDER:x}" == "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8"
    with pytest.raises(ValueError, match="parsing"):
        to_low_s(b"not DER")
    with pytest.raises(MalformedSignatureError):
        check_low_s(encode_dss_signature(1, P256_ORDER - 1))


def test_a_respelled_signature_that_does_not_verify_is_invalid_and_not_called_respelled() -> None:
    person = Person("ana", algorithm="P-256")
    with pytest.raises(SignatureInvalidError):
        person.public.verify(respelled(person.sign(b"another")), MESSAGE)


def test_an_entry_s_signature_in_both_forms() -> None:
    signer = MemorySigner()
    entry_hash = MESSAGE.hex()
    plain = ask(signer, MESSAGE)
    verify_entry_signature(signer.public_key, "ECDSA-P256-SHA256", plain.hex(), entry_hash)
    with pytest.raises(MalformedSignatureError, match="respelled"):
        verify_entry_signature(signer.public_key, "ECDSA-P256-SHA256", respelled(plain).hex(), entry_hash)
    root = sha256(b"\0" + MESSAGE).digest()
    batch = ask(signer, batch_message(root))
    for signature, is_good in ((batch, True), (respelled(batch), False)):
        text = format_batch(signature, 0, 1, b"")
        if is_good:
            verify_entry_signature(signer.public_key, "ECDSA-P256-SHA256+BATCH", text, entry_hash)
        else:
            with pytest.raises(MalformedSignatureError, match="respelled"):
                verify_entry_signature(signer.public_key, "ECDSA-P256-SHA256+BATCH", text, entry_hash)


def test_what_a_device_returns_is_brought_to_low_s() -> None:
    signer = FaultSigner(MemorySigner())
    signer.answer = lambda message: respelled(signer.inner.sign(message))
    assert decode_dss_signature(ask(signer, MESSAGE))[1] <= P256_HALF_ORDER
    signer.public_key.verify(ask(signer, MESSAGE), MESSAGE)
    signer.answer = lambda message: b"no DER at all"
    assert ask(signer, MESSAGE) == b"no DER at all"


def fields(data: bytes) -> list[bytes]:
    """The strings of RFC 4251 in a row."""
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def joined(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def respelled_sshsig(data: bytes) -> bytes:
    *head, inner = fields(data[10:])
    kind, signature = fields(inner)
    r, s = fields(signature)
    other = P256_ORDER - int.from_bytes(s, "big")
    spelled = other.to_bytes((other.bit_length() + 8) // 8, "big")
    return data[:10] + joined(*head, joined(kind, joined(r, spelled)))


def test_a_signature_of_openssh_is_respelled_around_what_is_signed(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ecdsa")
    made = blob(sign(tmp_path / "key", "attestlog-approval", MESSAGE))
    low = low_s_sshsig(made)
    high = respelled_sshsig(low)
    assert made in {low, high}
    assert low_s_sshsig(low) == low_s_sshsig(high) == low
    verify_sshsig(decode_sshsig(low), "attestlog-approval", MESSAGE)
    with pytest.raises(MalformedSignatureError, match="respelled"):
        verify_sshsig(decode_sshsig(high), "attestlog-approval", MESSAGE)
    edwards = bytes.fromhex(sshsig(Person("bo"), "attestlog-approval", MESSAGE))
    assert low_s_sshsig(edwards) == edwards


def test_ssh_sign_gives_the_low_s(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "ecdsa")
    for number in range(6):
        signature, data = ssh_sign(tmp_path / "key", "attestlog-approval", bytes([number]))
        assert low_s_sshsig(data) == data
        verify_sshsig(signature, "attestlog-approval", bytes([number]))


@pytest.mark.parametrize("hexed", [*SMALL_ORDER, *NOT_REDUCED])
def test_a_key_under_which_anyone_signs_is_refused_wherever_keys_are_read(hexed: str) -> None:
    raw = bytes.fromhex(hexed)
    with pytest.raises(MalformedSignatureError, match=r"small order|one spelling"):
        check_ed25519_key(raw)
    for data in (spki_of(hexed), pem_of(hexed).encode()):
        with pytest.raises(MalformedSignatureError):
            load_public_key(data)
    for kind in (0x01, 0x04):
        with pytest.raises(MalformedNoteError):
            parse_vkey(format_vkey(VerifierKey("example.com/log", kind, raw)))
    with pytest.raises(MalformedSignatureError):
        parse_ssh_key(ssh_line_of(hexed))


def test_the_eight_points_are_those_of_small_order() -> None:
    """Under each of the first two, one signature verifies over different messages: that is why."""
    forged = bytes.fromhex(FORGED)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(SMALL_ORDER[0]))
    key.verify(forged, b"one message")
    key.verify(forged, b"another")
    assert len({bytes.fromhex(item) for item in SMALL_ORDER}) == 8


def test_ordinary_keys_are_read() -> None:
    for number in range(20):
        person = Person("ana", number)
        raw: Any = person.public.key
        check_ed25519_key(raw.public_bytes_raw())
        assert load_public_key(person.public.pem.encode()) == person.public


def test_what_people_hand_in_is_brought_to_low_s() -> None:
    approver, actor = (Person(name, algorithm="ECDSA-P256-SHA256") for name in ("creator", "agent-7"))
    policy = parse_policy({
        "approvers": members_of(approver), "actors": {"agent-7": {"keys": [actor.public.pem]}}
    })  # fmt: skip
    facts = {"event_type": "ACTION", "action_type": "x", "actor_id": "agent-7", "required_approvals": 1}
    approval = approver.approve(facts, LOG)
    digest = sha256(b"{}").digest()
    proof = {
        "type": "actor_signature", "valid": True, "key_id": actor.key_id,
        "signature": actor.sign(actor_message(ORIGIN, digest)).hex(),
    }  # fmt: skip

    def stored(approval: dict[str, str], proof: dict[str, Any]) -> EntryDraft:
        draft = parse_draft({**facts, "received_approvals": [approval], "provided_proofs": [proof]})
        return with_low_s(policy, draft, LOG, digest.hex())

    def high(given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "signature": respelled(bytes.fromhex(given["signature"])).hex()}

    low = parse_draft({**facts, "received_approvals": [approval], "provided_proofs": [proof]})
    assert stored(approval, proof) is not low
    assert stored(approval, proof) == low
    assert stored(high(approval), high(proof)) == low
    # What does not verify in either spelling is recorded as it came.
    other = high({**approval, "signature": approver.sign(b"another").hex()})
    strange = high({**proof, "signature": actor.sign(b"another").hex()})
    assert stored(other, strange).received_approvals == [other]
    assert stored(other, strange).provided_proofs == [strange]
    for broken in ({**approval, "signature": "zz"}, {**approval, "algorithm": "SSHSIG"}):
        assert stored(broken, {**proof, "signature": "zz"}).received_approvals == [broken]
