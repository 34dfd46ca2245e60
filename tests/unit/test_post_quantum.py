"""ML-DSA: entries signed with it verify, and nothing that was changed does."""

from pathlib import Path

import pytest
from tests.unit.shapes import entry_id

from attestlog.audit import verify_log
from attestlog.core.report import Verdict
from attestlog.core.signature import ML_DSA_44, ML_DSA_65, load_public_key, public_key
from attestlog.errors import SignatureInvalidError
from attestlog.log import Log
from attestlog.signers.private_keys import make_key
from attestlog.testing import MemorySigner

DRAFT = {"event_type": "ACTION", "action_type": "deploy", "actor_id": "agent-1"}
SIGNATURE_SIZE_BYTES = {ML_DSA_44: 2420, ML_DSA_65: 3309}


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("algorithm", SIGNATURE_SIZE_BYTES)
def test_a_log_signed_with_ml_dsa(tmp_path: Path, algorithm: str, batch: bool) -> None:
    with Log.create(
        tmp_path / "log", origin="example.com/pq", batch=batch, signer=MemorySigner(algorithm),
        checkpoint_signer=MemorySigner("Ed25519"),
    ) as log:  # fmt: skip
        key = next(iter(log.genesis.entry_keys.values()))
        receipts = log.append_many([DRAFT] * 5)
    entry = receipts[2].entry
    assert entry.signature_algorithm == algorithm + ("+BATCH" if batch else "")
    assert len(entry.hsm_signature.partition(":")[0]) == 2 * SIGNATURE_SIZE_BYTES[algorithm]
    assert (key.algorithm, load_public_key(key.spki)) == (algorithm, key)
    assert load_public_key(key.pem.encode()) == key
    report = verify_log(tmp_path / "log", trust=[key.key_id], state_dir=tmp_path / "state")
    assert (report.verdict, report.size, report.trusted_by) == (Verdict.VERIFIED, 6, [key.key_id])


@pytest.mark.parametrize("algorithm", SIGNATURE_SIZE_BYTES)
def test_a_changed_signature_or_message_is_refused(algorithm: str) -> None:
    private = make_key(algorithm)
    key, message = public_key(private.public_key()), entry_id(1).encode()
    signature = MemorySigner(algorithm).sign(message)
    with pytest.raises(SignatureInvalidError):
        key.verify(signature, message)
    signer = MemorySigner(algorithm)
    signature = signer.sign(message)
    signer.public_key.verify(signature, message)
    for bad, said in (
        (signature[:-1], message), (signature + b"\0", message), (b"", message), (signature, message + b"\0"),
        (signature[:9] + bytes([signature[9] ^ 1]) + signature[10:], message),
    ):  # fmt: skip
        with pytest.raises(SignatureInvalidError):
            signer.public_key.verify(bad, said)
