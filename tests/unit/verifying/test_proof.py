"""Proofs from a server that lies: each kind of lie is refused by the client, with its code and its verdict.

The server holds the log's key or it does not; what it sends is well-formed. The
one-file verifier, which shares no code, refuses each as well.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.logs import ORIGIN, CheckpointKey, LogMaker, drafts
from tests.support.shapes import ed25519_key

from attestlog._internal.core import cosignature
from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.consistency import Prefix, format_consistency, parse_consistency
from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.core.merkle import Span, inclusion_paths
from attestlog._internal.core.note import NoteSignature, VerifierKey, format_note, format_vkey, parse_note
from attestlog._internal.core.proof import Proof, format_proof, parse_proof
from attestlog._internal.core.report import ProofReport, Verdict
from attestlog._internal.proving import prove, prove_prefix
from attestlog._internal.verifier import verify as one_file
from attestlog._internal.verifying import judge_log, judge_proof, proof, verify_proof
from attestlog.errors import AttestlogError, TrustError

KEY = CheckpointKey()
STRANGER = CheckpointKey(7)
WITNESS = VerifierKey("w1.example", 4, ed25519_key("w1").public_key().public_bytes_raw())
POLICY = f"log {KEY.vkey}\nwitness w1 {format_vkey(WITNESS)}\nquorum w1\n".encode()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    made = LogMaker(tmp_path_factory.mktemp("honest") / "log")
    made.append(*drafts(range(1, 12)))
    made.lay_out()
    return made


@pytest.fixture(scope="module")
def forked(log: LogMaker, tmp_path_factory: pytest.TempPathFactory) -> LogMaker:
    """The same log with entry 5 rewritten by who holds its keys; as long, and well signed."""
    made = LogMaker(tmp_path_factory.mktemp("lying") / "log")
    made.lines = log.lines.copy()
    made.reseal(5, action_payload={"task_id": "T-5", "number": 500})
    made.lay_out()
    return made


def signed(origin: str, size: int, root: bytes, key: CheckpointKey = KEY) -> bytes:
    signer = VerifierKey(origin, 1, key.verifier.public_key)
    return sign_checkpoint(Checkpoint(origin, size, root), [(signer, key.sign)])


def with_checkpoint(data: bytes, note: bytes) -> bytes:
    return data.partition(b"\n\n")[0] + b"\n\n" + note


def old_note(log: LogMaker, size: int) -> bytes:
    return signed(ORIGIN, size, Span().extended(log.leaves()[:size]).root())


def one_file_verdict(data: bytes, *trust: str) -> str:
    report = one_file.Report()
    try:
        one_file.verify_proof(report, data, one_file.parse_trust(list(trust)))
    except one_file.Malformed:
        return "MALFORMED"
    except one_file.Wrong:
        return "TAMPERED"
    return report.verdict


def test_proofs_across_tiles_and_segments(tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "log", segment_entries=256)
    for start in range(1, 600, 50):
        made.append(*drafts(range(start, min(start + 50, 600))))
    assert len(made.lines) == 600
    made.lay_out()
    for number in (0, 1, 254, 255, 256, 257, 511, 512, 598, 599):
        data = prove(made.root, number)
        report = judge_proof(data, trust=[KEY.vkey, made.key.public.pem], remember=False)
        assert (report.verdict, report.sequence_number) == (Verdict.VERIFIED, number)
        assert report.is_entry_key_trusted
        assert one_file_verdict(data, KEY.vkey) == "VERIFIED"
    for size in (1, 255, 256, 257, 512, 599, 600):
        data = prove_prefix(made.root, size)
        report = judge_proof(data, trust=[KEY.vkey], held=old_note(made, size), remember=False)
        assert (report.verdict, report.old_size) == (Verdict.VERIFIED, size)
        assert one_file_verdict(data, KEY.vkey) == "VERIFIED"


# --- proofs of one entry ---


def swapped_leaf(log: LogMaker) -> bytes:
    honest = parse_proof(prove(log.root, 5))
    return format_proof(Proof(5, honest.path, honest.checkpoint, log.lines[6]))


def swapped_leaf_renumbered(log: LogMaker) -> bytes:
    """Entry 6 under its own number, with the path of entry 5."""
    honest = parse_proof(prove(log.root, 5))
    return format_proof(Proof(6, honest.path, honest.checkpoint, log.lines[6]))


def proof_for_another_size(log: LogMaker) -> bytes:
    now = (log.root / "checkpoint").read_bytes()
    return with_checkpoint(prove(log.root, 5, checkpoint=old_note(log, 7)), now)


def stale_root(log: LogMaker) -> bytes:
    """A root of the past, signed again as if it were of now."""
    stale = Span().extended(log.leaves()[:7]).root()
    return with_checkpoint(prove(log.root, 5), signed(ORIGIN, 12, stale))


def other_logs_checkpoint(log: LogMaker) -> bytes:
    root = Span().extended(log.leaves()).root()
    return with_checkpoint(prove(log.root, 5), signed("example.com/other", 12, root))


def stripped_signature(log: LogMaker) -> bytes:
    data = prove(log.root, 5)
    return data[: data.rindex(b"\n\n") + 2]


def foreign_signature(log: LogMaker) -> bytes:
    root = Span().extended(log.leaves()).root()
    return with_checkpoint(prove(log.root, 5), signed(ORIGIN, 12, root, STRANGER))


def foreign_signature_under_our_name(log: LogMaker) -> bytes:
    """By a stranger's key, with the key ID of the log's."""
    note = parse_note((log.root / "checkpoint").read_bytes())
    line = NoteSignature(ORIGIN, KEY.verifier.key_id, STRANGER.sign(note.text.encode()))
    return with_checkpoint(prove(log.root, 5), format_note(note.text, [line]))


def entry_of_the_fork(log: LogMaker, forked: LogMaker) -> bytes:
    honest = parse_proof(prove(log.root, 5))
    return format_proof(Proof(5, honest.path, honest.checkpoint, forked.lines[5]))


def changed_payload(log: LogMaker) -> bytes:
    honest = parse_proof(prove(log.root, 5))
    assert honest.extra is not None
    extra = honest.extra.replace(b'"number":5', b'"number":6')
    return format_proof(Proof(5, honest.path, honest.checkpoint, extra))


def stripped_entry_signature(log: LogMaker) -> bytes:
    honest = parse_proof(prove(log.root, 5))
    signature = log.entry(5)["hsm_signature"].encode()
    assert honest.extra is not None
    return format_proof(Proof(5, honest.path, honest.checkpoint, honest.extra.replace(signature, b"")))


LIES: dict[str, tuple[Callable[[LogMaker], bytes], Verdict, str]] = {
    "swapped leaf": (swapped_leaf, Verdict.TAMPERED, "proof.inclusion"),
    "swapped leaf, renumbered": (swapped_leaf_renumbered, Verdict.TAMPERED, "proof.inclusion"),
    "proof for another size": (proof_for_another_size, Verdict.TAMPERED, "proof.inclusion"),
    "stale root": (stale_root, Verdict.TAMPERED, "proof.inclusion"),
    "another log's checkpoint": (other_logs_checkpoint, Verdict.FORKED, "trust.mismatch"),
    "signature stripped": (stripped_signature, Verdict.MALFORMED, "proof.malformed"),
    "signature foreign": (foreign_signature, Verdict.FORKED, "trust.mismatch"),
    "signature foreign, under our name": (
        foreign_signature_under_our_name, Verdict.TAMPERED, "proof.checkpoint",
    ),
    "payload changed": (changed_payload, Verdict.TAMPERED, "proof.hash"),
    "entry's signature stripped": (stripped_entry_signature, Verdict.TAMPERED, "proof.entry_signature"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_lie_about_an_entry_is_refused(name: str, log: LogMaker) -> None:
    make, verdict, code = LIES[name]
    data = make(log)
    report = judge_proof(data, trust=[KEY.vkey])
    assert report.verdict == verdict
    assert code in [finding.code for finding in report.findings]
    assert one_file_verdict(data, KEY.vkey) == verdict
    with pytest.raises(AttestlogError):
        verify_proof(data, trust=[KEY.vkey])


def test_an_entry_of_another_history_is_refused(log: LogMaker, forked: LogMaker) -> None:
    data = entry_of_the_fork(log, forked)
    report = judge_proof(data, trust=[KEY.vkey])
    assert (report.verdict, report.findings[-1].code) == (Verdict.TAMPERED, "proof.inclusion")
    assert one_file_verdict(data, KEY.vkey) == "TAMPERED"


def test_a_fork_by_the_keys_holder_is_seen_by_who_asks_for_witnesses(log: LogMaker, forked: LogMaker) -> None:
    """The fork proves its own entry to who trusts the key alone. Witnesses cosigned the other history."""
    honest, lying = prove(log.root, 5), prove(forked.root, 5)
    note = parse_note(parse_proof(honest).checkpoint)
    line = cosign(note.text, WITNESS, 1_761_825_600, ed25519_key("w1").sign)
    honest = with_checkpoint(honest, format_note(note.text, [*note.signatures, line]))
    moved = with_checkpoint(
        lying, format_note(parse_note(parse_proof(lying).checkpoint).text,
                           [*parse_note(parse_proof(lying).checkpoint).signatures, line]),
    )  # fmt: skip
    assert judge_proof(lying, trust=[KEY.vkey]).verdict == Verdict.VERIFIED
    assert judge_proof(honest, trust_policy=POLICY).verdict == Verdict.VERIFIED
    report = judge_proof(lying, trust_policy=POLICY)
    assert (report.verdict, report.findings[0].code) == (Verdict.FORKED, "trust.quorum")
    report = judge_proof(moved, trust_policy=POLICY)
    assert (report.verdict, report.findings[0].code) == (Verdict.TAMPERED, "proof.checkpoint")


# --- consistency ---


def test_another_history_is_no_continuation_of_what_is_held(log: LogMaker, forked: LogMaker) -> None:
    held = old_note(log, 8)
    data = prove_prefix(forked.root, 8)
    report = judge_proof(data, trust=[KEY.vkey], held=held)
    assert (report.verdict, report.findings[-1].code) == (Verdict.FORKED, "proof.held")
    honest = parse_consistency(prove_prefix(log.root, 8))
    note = (forked.root / "checkpoint").read_bytes()
    data = format_consistency(Prefix(8, honest.old_root, honest.path, note))
    report = judge_proof(data, trust=[KEY.vkey], held=held)
    assert (report.verdict, report.findings[-1].code) == (Verdict.TAMPERED, "proof.consistency")
    assert one_file_verdict(data, KEY.vkey) == "TAMPERED"


def test_a_proof_from_another_size_says_nothing_of_what_is_held(log: LogMaker) -> None:
    data = prove_prefix(log.root, 4)
    report = judge_proof(data, trust=[KEY.vkey], held=old_note(log, 8))
    assert (report.verdict, report.findings[-1].code) == (Verdict.UNKNOWN, "proof.held_size")
    assert judge_proof(data, trust=[KEY.vkey], held=old_note(log, 4)).verdict == Verdict.VERIFIED


def test_a_log_put_back_to_an_old_copy_cannot_continue_what_is_held(log: LogMaker) -> None:
    held, data = old_note(log, 8), prove_prefix(log.root, 7, checkpoint=old_note(log, 7))
    assert judge_proof(data, trust=[KEY.vkey], held=held).verdict != Verdict.VERIFIED
    with pytest.raises(AttestlogError, match="a prefix of it 1 to 7, not 8"):
        prove_prefix(log.root, held, checkpoint=old_note(log, 7))


# --- what the verdict rests on ---


def found(report: ProofReport) -> set[str]:
    return {finding.code for finding in report.findings}


def test_what_is_not_shown_is_said(log: LogMaker) -> None:
    data = prove(log.root, 5, payload=False)
    assert found(judge_proof(data)) == {"trust.none", "proof.payload", "proof.entry_key"}
    report = judge_proof(data, trust=[KEY.vkey, log.key.public.pem])
    assert found(report) == {"proof.payload", "proof.not_cosigned"}
    note = parse_note(parse_proof(data).checkpoint)
    line = cosign(note.text, WITNESS, 0, ed25519_key("w1").sign)
    cosigned = with_checkpoint(data, format_note(note.text, [*note.signatures, line]))
    assert "proof.signatures_unknown" in found(judge_proof(cosigned, trust=[KEY.vkey]))
    assert found(judge_proof(cosigned, trust_policy=POLICY)) == {"proof.payload", "proof.entry_key"}


def test_an_entry_whose_payload_is_erased_proves_itself(log: LogMaker, tmp_path: Path) -> None:
    made = LogMaker(tmp_path / "log")
    made.lines = log.lines.copy()
    made.lines[5] = erase_line(made.lines[5])
    made.lay_out()
    data = prove(made.root, 5)
    assert data == prove(made.root, 5, payload=False) == prove(log.root, 5, payload=False)
    report = judge_proof(data, trust=[KEY.vkey], remember=False)
    assert (report.verdict, report.has_payload) == (Verdict.VERIFIED, False)


def test_what_cannot_be_read_or_judged_is_unknown(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert found(judge_proof(tmp_path / "none", trust=[KEY.vkey])) == {"proof.unreadable"}
    monkeypatch.setattr(cosignature, "MLDSA44PublicKey", None)
    ml_dsa = VerifierKey("pq.example", 6, bytes(1312))
    data = prove(log.root, 5)
    note = parse_note(parse_proof(data).checkpoint)
    line = NoteSignature(ml_dsa.name, ml_dsa.key_id, bytes(2428))
    data = with_checkpoint(data, format_note(note.text, [*note.signatures, line]))
    report = judge_proof(data, trust=[KEY.vkey, format_vkey(ml_dsa)])
    assert (report.verdict, found(report)) == (Verdict.UNKNOWN, {"checkpoint.unsupported"})


def test_a_log_is_known_by_its_key_to_who_verified_it_before(log: LogMaker, tmp_path: Path) -> None:
    state = tmp_path / "state"
    data = prove(log.root, 5)
    assert found(judge_proof(data, state_dir=state)) == {"trust.none", "proof.entry_key"}
    assert judge_log(log.root, state_dir=state, workers=1).verdict == Verdict.VERIFIED
    report = judge_proof(data, state_dir=state)
    assert (report.verdict, report.signed_by) == (Verdict.VERIFIED, [KEY.vkey])
    assert "proof.key_remembered" in found(report)
    assert (report.is_key_remembered, report.self_attested, report.trusted_by) == (True, True, [])
    assert found(judge_proof(data, state_dir=state, remember=False)) == {"trust.none", "proof.entry_key"}
    stranger = judge_proof(data, state_dir=state, trust=[STRANGER.vkey])
    assert (stranger.verdict, stranger.signed_by) == (Verdict.FORKED, [])


def test_a_key_that_is_remembered_is_trusted_as_it_was_then(log: LogMaker, tmp_path: Path) -> None:
    state, genesis = tmp_path / "state", log.entry(0)["entry_hash"]
    data = prove(log.root, 5)
    judge_log(log.root, state_dir=state, workers=1)
    given = judge_proof(data, state_dir=state, trust=[KEY.vkey])
    assert (given.is_key_remembered, given.trusted_by) == (False, [KEY.vkey])
    assert judge_proof(data, state_dir=state).self_attested, "judging a proof changes no memory"
    judge_log(log.root, state_dir=state, workers=1, trust=[genesis])
    report = judge_proof(data, state_dir=state)
    assert (report.is_key_remembered, report.trusted_by) == (True, [genesis])


def test_under_an_examples_name_a_proof_may_be_of_each_log_that_its_key_signs(
    log: LogMaker, forked: LogMaker, tmp_path: Path
) -> None:
    state, other = tmp_path / "state", LogMaker(tmp_path / "other", first_id=900)
    other.append(*drafts(range(1, 12)))
    other.lay_out()
    for each in (log, other):
        assert judge_log(each.root, state_dir=state, workers=1).verdict == Verdict.VERIFIED
    for each in (log, other):
        for trust in ([], [KEY.vkey]):
            report = judge_proof(prove(each.root, 5), state_dir=state, trust=trust)
            assert (report.verdict, report.signed_by) == (Verdict.VERIFIED, [KEY.vkey])
    assert "memory.root" in found(judge_proof(prove(forked.root, 5), state_dir=state))


def test_a_fork_is_seen_by_who_remembers(log: LogMaker, forked: LogMaker, tmp_path: Path) -> None:
    state = tmp_path / "state"
    judge_log(log.root, state_dir=state, workers=1)
    for data in (prove(forked.root, 5), prove_prefix(forked.root, 8)):
        report = judge_proof(data, state_dir=state, trust=[KEY.vkey])
        assert (report.verdict, "memory.root" in found(report)) == (Verdict.FORKED, True)
    for path in state.glob("*.json"):
        path.write_bytes(b"{}")
    report = judge_proof(prove(log.root, 5), state_dir=state, trust=[KEY.vkey])
    assert (report.verdict, "memory.unreadable" in found(report)) == (Verdict.UNKNOWN, True)


def test_an_entry_nested_too_deep_is_no_defect(log: LogMaker) -> None:
    data = format_proof(Proof(5, b"", b"", b"[" * 100_000))
    assert judge_proof(data).verdict == Verdict.MALFORMED
    context = b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    deep = log.lines[5].replace(b'"actor_context":{}', b'"actor_context":' + context)
    honest = parse_proof(prove(log.root, 5))
    report = judge_proof(format_proof(Proof(5, honest.path, honest.checkpoint, deep)), trust=[KEY.vkey])
    assert (report.verdict, found(report) & {"proof.malformed"}) == (Verdict.MALFORMED, {"proof.malformed"})


def test_nothing_to_trust_is_an_error_of_trust(log: LogMaker) -> None:
    with pytest.raises(TrustError) as caught:
        verify_proof(prove(log.root, 5))
    assert (caught.value.need, len(caught.value.have)) == ([], 1)


def test_files_are_known_by_name_or_by_their_first_line(log: LogMaker, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (prove(log.root, 5), prove_prefix(log.root, 5)):
        path.write_bytes(data)
        assert proof.is_proof(path)
    path.write_bytes(b"{}")
    assert not proof.is_proof(path)
    assert not proof.is_proof(log.root)
    assert proof.is_proof(tmp_path / "none.tlog-proof")
    _, paths = inclusion_paths(log.leaves())
    assert base64.b64encode(paths[5][:32]) in prove(log.root, 5)
