"""ML-DSA: entries and hybrid checkpoints signed with it verify, and nothing that was changed does."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.logs import MINIMAL, config_file
from tests.support.shapes import entry_id

from attestlog._internal.config import read_config
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.note import (
    COSIGNATURE_ML_DSA_44,
    ED25519,
    NoteSignature,
    format_note,
    format_vkey,
    parse_note,
)
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.core.signature import ML_DSA_44, ML_DSA_65, load_public_key, public_key
from attestlog._internal.log import Log
from attestlog._internal.signers import open_signer
from attestlog._internal.signers.private_keys import make_key
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log, judge_published
from attestlog.errors import (
    CorruptError,
    MalformedConfigError,
    SignatureInvalidError,
    SignerError,
    TrustError,
)
from attestlog.testing import FaultSigner, MemorySigner

SIGNATURE_SIZE_BYTES = {ML_DSA_44: 2420, ML_DSA_65: 3309}


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("algorithm", SIGNATURE_SIZE_BYTES)
def test_a_log_signed_with_ml_dsa(tmp_path: Path, algorithm: str, batch: bool) -> None:
    with Log.create(
        tmp_path / "log", origin="example.com/pq", batch=batch, signer=MemorySigner(algorithm),
        checkpoint_signer=MemorySigner("Ed25519"),
    ) as log:  # fmt: skip
        key = next(iter(log.genesis.entry_keys.values()))
        receipts = log.append_many([MINIMAL] * 5)
    entry = receipts[2].entry
    assert entry.signature_algorithm == algorithm + ("+BATCH" if batch else "")
    assert len(entry.hsm_signature.partition(":")[0]) == 2 * SIGNATURE_SIZE_BYTES[algorithm]
    assert (key.algorithm, load_public_key(key.spki)) == (algorithm, key)
    assert load_public_key(key.pem.encode()) == key
    report = judge_log(tmp_path / "log", trust=[key.key_id], state_dir=tmp_path / "state")
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


# --- hybrid checkpoints ---


@pytest.fixture
def hybrid(tmp_path: Path) -> Path:
    """A log whose checkpoints are signed with Ed25519 and ML-DSA-44."""
    keys: dict[str, Any] = {name: f"file:{tmp_path / 'keys' / name}.pem" for name in ROLES}
    made = Log.create(tmp_path / "log", origin="example.com/pq", clock=lambda: NOW_S * 1_000_000, **keys)
    with made as log:
        log.append_many([MINIMAL] * 3)
    return tmp_path / "log"


ROLES = ("signer", "checkpoint_signer", "checkpoint_pq_signer")
NOW_S = 1_700_000_000


def pq_uri(tmp_path: Path) -> str:
    return f"file:{tmp_path / 'keys' / 'checkpoint_pq_signer.pem'}"


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def test_a_log_with_hybrid_checkpoints(hybrid: Path, tmp_path: Path) -> None:
    genesis, note = open_source(hybrid).genesis(), (hybrid / "checkpoint").read_bytes()
    assert [key.kind for key in genesis.checkpoint_keys] == [ED25519, COSIGNATURE_ML_DSA_44]
    opened = open_signed_checkpoint(note, genesis.checkpoint_keys)
    assert [(line.key, line.timestamp) for line in opened.signatures] == [
        (genesis.checkpoint_keys[0], None), (genesis.checkpoint_keys[1], NOW_S),
    ]  # fmt: skip
    assert open_log_checkpoint(note, genesis) == opened.checkpoint
    vkeys = [format_vkey(key) for key in genesis.checkpoint_keys]
    report = judge_log(hybrid, trust=vkeys, state_dir=tmp_path / "state")
    assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, vkeys)
    assert read_config(open_source(hybrid)).signers.checkpoint_pq == pq_uri(tmp_path)
    with Log.open(hybrid) as log:
        log.append(MINIMAL)
    report = judge_log(hybrid, state_dir=tmp_path / "state")
    assert (report.verdict, report.checkpoint_size, report.remembered_size) == (Verdict.VERIFIED, 5, 4)


@pytest.mark.parametrize("kept", [0, 1])
def test_a_checkpoint_that_lacks_a_line_is_none(hybrid: Path, tmp_path: Path, kept: int) -> None:
    judge_log(hybrid, state_dir=tmp_path / "state")
    note = parse_note((hybrid / "checkpoint").read_bytes())
    (hybrid / "checkpoint").write_bytes(format_note(note.text, [note.signatures[kept]]))
    report = judge_log(hybrid, remember=False)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"checkpoint.signature"})
    with pytest.raises(TrustError, match="no signature by the log's key of type"):
        publish_log(hybrid, tmp_path / "public")
    with pytest.raises(CorruptError):
        Log.open(hybrid)


@pytest.mark.parametrize("place", [0, 1])
def test_a_line_that_does_not_verify_is_found(hybrid: Path, place: int) -> None:
    note = parse_note((hybrid / "checkpoint").read_bytes())
    lines = list(note.signatures)
    bad = lines[place].signature[:-1] + bytes([lines[place].signature[-1] ^ 1])
    lines[place] = NoteSignature(lines[place].name, lines[place].key_id, bad)
    (hybrid / "checkpoint").write_bytes(format_note(note.text, lines))
    report = judge_log(hybrid, remember=False)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, {"checkpoint.signature"})


def test_a_published_checkpoint_needs_both_lines_too(hybrid: Path, tmp_path: Path) -> None:
    public, state = tmp_path / "public", tmp_path / "state"
    publish_log(hybrid, public)
    judge_log(hybrid, state_dir=state)
    report = judge_published(public, state_dir=state, full=True)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, set())
    note = parse_note((public / "checkpoint").read_bytes())
    (public / "checkpoint").write_bytes(format_note(note.text, note.signatures[:1]))
    report = judge_published(public, state_dir=state, full=True)
    assert report.verdict == Verdict.TAMPERED
    assert codes(report) == {"checkpoint.signature", "published.partly_read"}


def one_file_verdict(path: Path, *trust: str) -> str:
    report = one_file.Report()
    one_file.verify(report, path, None, one_file.parse_trust(list(trust)))
    return report.verdict


def test_the_one_file_verifier_asks_for_both_lines_too(hybrid: Path) -> None:
    vkeys = [format_vkey(key) for key in open_source(hybrid).genesis().checkpoint_keys]
    assert [one_file_verdict(hybrid, vkey) for vkey in vkeys] == ["VERIFIED", "VERIFIED"]
    note = parse_note((hybrid / "checkpoint").read_bytes())
    for line in note.signatures:
        (hybrid / "checkpoint").write_bytes(format_note(note.text, [line]))
        assert one_file_verdict(hybrid) == "TAMPERED"


def test_without_its_signer_a_hybrid_log_is_not_opened(hybrid: Path, tmp_path: Path) -> None:
    config = config_file(hybrid)
    config.write_text(
        "".join(
            line
            for line in config.read_text().splitlines(keepends=True)
            if not line.startswith("checkpoint_pq")
        )
    )
    with pytest.raises(SignerError, match="need a signature with ML-DSA-44 too"):
        Log.open(hybrid)
    with pytest.raises(SignerError, match="which is not the log's"):
        Log.open(hybrid, checkpoint_pq_signer=MemorySigner(ML_DSA_44))
    with Log.open(hybrid, checkpoint_pq_signer=pq_uri(tmp_path)) as log:
        log.append(MINIMAL)
    assert judge_log(hybrid, remember=False).checkpoint_size == 5


@pytest.mark.parametrize("algorithm", ["Ed25519", ML_DSA_65])
def test_a_key_of_another_algorithm_signs_no_checkpoints(tmp_path: Path, algorithm: str) -> None:
    with pytest.raises(MalformedConfigError, match="want ML-DSA-44"):
        Log.create(tmp_path / "log", origin="example.com/pq", checkpoint_pq_signer=MemorySigner(algorithm))
    assert not (tmp_path / "log").exists()


def test_a_signer_that_returns_anything_else_signs_no_checkpoint(hybrid: Path, tmp_path: Path) -> None:
    signer = FaultSigner(open_signer(pq_uri(tmp_path)))
    before = (hybrid / "checkpoint").read_bytes()
    log = Log.open(hybrid, checkpoint_pq_signer=signer)
    log.append(MINIMAL)
    signer.answer = lambda message: bytes(2420)
    with pytest.raises(SignerError, match="does not verify"):
        log.checkpoint()
    assert (hybrid / "checkpoint").read_bytes() == before
    signer.answer = None
    log.close()
    assert judge_log(hybrid, remember=False).checkpoint_size == 5
