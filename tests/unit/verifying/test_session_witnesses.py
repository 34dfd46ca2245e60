"""The verifiers and a trust policy: whose cosignatures a log's checkpoint needs, and who is lacking."""

from pathlib import Path

import msgspec
import pytest
from tests.support.audits import codes
from tests.support.logs import ORIGIN, CheckpointKey, LogMaker, drafts
from tests.support.shapes import ed25519_key

from attestlog._internal.core import cosignature
from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import NoteSignature, VerifierKey, format_note, format_vkey, parse_note
from attestlog._internal.core.report import Cosigner, Finding, Report, Verdict
from attestlog._internal.core.trust import Group, TrustedLog, TrustedWitness, TrustPolicy
from attestlog._internal.storage.publishing import publish_log
from attestlog._internal.verifying import judge_log, judge_published
from attestlog._internal.verifying.session import judge_witnesses
from attestlog._internal.verifying.whole import check_checkpoint
from attestlog.errors import MalformedTrustError, NotFoundError

NOW_S = 1_761_825_600
NAMES = ("w1", "w2", "w3")


def key(name: str) -> VerifierKey:
    return VerifierKey(f"{name}.example", 4, ed25519_key(name).public_key().public_bytes_raw())


WITNESSES = tuple(TrustedWitness(name, key(name)) for name in NAMES)
TWO_OF_THREE = TrustPolicy((), WITNESSES, (Group("g", 2, NAMES),), "g")


@pytest.fixture
def log(tmp_path: Path) -> LogMaker:
    made = LogMaker(tmp_path / "log")
    made.append(*drafts(range(1, 5)))
    made.lay_out()
    return made


def cosigned(log: LogMaker, *names: str, bad: bool = False) -> None:
    """The log's checkpoint gets a line by each of these witnesses."""
    path = log.root / "checkpoint"
    note = parse_note(path.read_bytes())
    lines = [cosign(note.text, key(name), NOW_S, ed25519_key(name).sign) for name in names]
    if bad:
        lines = [NoteSignature(line.name, line.key_id, bytes(72)) for line in lines]
    path.write_bytes(format_note(note.text, [*note.signatures, *lines]))


def judge(log: LogMaker, policy: TrustPolicy, *trust: str, published: bool = False) -> Report:
    if published:
        public = log.root.parent / "public"
        publish_log(log.root, public)
        return judge_published(public, trust_policy=policy, trust=trust, remember=False, full=True)
    return judge_log(log.root, trust_policy=policy, trust=trust, remember=False, workers=1)


@pytest.mark.parametrize("published", [False, True])
def test_a_quorum_that_is_met(log: LogMaker, published: bool) -> None:
    cosigned(log, "w3", "w1")
    report = judge(log, TWO_OF_THREE, log.checkpoint_key.vkey, published=published)
    assert report.verdict == Verdict.VERIFIED
    assert report.cosigned_by == [
        Cosigner(name=name, vkey=format_vkey(key(name)), timestamp=NOW_S) for name in ("w3", "w1")
    ]
    assert report.trusted_by == [log.checkpoint_key.vkey]


@pytest.mark.parametrize("published", [False, True])
def test_a_quorum_that_is_not(log: LogMaker, published: bool) -> None:
    cosigned(log, "w2")
    report = judge(log, TWO_OF_THREE, log.checkpoint_key.vkey, published=published)
    assert report.verdict == Verdict.FORKED
    (finding,) = [item for item in report.findings if item.code == "trust.quorum"]
    assert finding.found == ["w2"]
    assert finding.expected == ["group g: 2 of w1 w2 w3, 1 cosigned"]


def test_a_bad_line_by_a_witness(log: LogMaker) -> None:
    cosigned(log, "w1", "w2")
    cosigned(log, "w3", bad=True)
    report = judge(log, TWO_OF_THREE)
    assert (report.verdict, codes(report)) == (Verdict.TAMPERED, [("checkpoint.cosignature", None)])
    report = judge(log, TrustPolicy())
    assert report.verdict == Verdict.VERIFIED


def test_what_cannot_be_verified_here_is_unknown(log: LogMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    ml_dsa = VerifierKey(ORIGIN, 6, bytes(1312))
    note = parse_note((log.root / "checkpoint").read_bytes())
    line = NoteSignature(ml_dsa.name, ml_dsa.key_id, bytes(2428))
    both = format_note(note.text, [*note.signatures, line])
    genesis = msgspec.structs.replace(log.genesis, checkpoint_keys=[log.checkpoint_key.verifier, ml_dsa])
    monkeypatch.setattr(cosignature, "MLDSA44PublicKey", None)
    findings: list[Finding] = []
    assert check_checkpoint(both, genesis, findings) is None
    policy = TrustPolicy((), (TrustedWitness("w", ml_dsa),), (), "w")
    findings += judge_witnesses(both, [log.checkpoint_key.verifier], policy, Report())
    assert [(item.code, item.verdict) for item in findings] == [("checkpoint.unsupported", "UNKNOWN")] * 2


def test_the_policys_logs_are_trusted(log: LogMaker) -> None:
    report = judge(log, TrustPolicy((TrustedLog(log.checkpoint_key.verifier),)))
    assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [log.checkpoint_key.vkey])
    stranger = CheckpointKey(9, ORIGIN)
    report = judge(log, TrustPolicy((TrustedLog(stranger.verifier),)))
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("trust.mismatch", None)])


def test_without_a_policy_cosignatures_say_nothing(log: LogMaker) -> None:
    cosigned(log, "w1")
    report = judge_log(log.root, remember=False, workers=1)
    assert (report.verdict, report.cosigned_by) == (Verdict.VERIFIED, [])


def test_a_policy_that_cannot_be_read(log: LogMaker, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        judge_log(log.root, trust_policy=tmp_path / "none", remember=False)
    with pytest.raises(MalformedTrustError):
        judge_log(log.root, trust_policy=b"quorum\n", remember=False)
