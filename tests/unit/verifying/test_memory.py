"""The whole-log verifier: what it remembers, whom it trusts, where it resumes."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, make, segmented, verify
from tests.support.logs import OWNED, CheckpointKey, Key, LogMaker, draft, drafts, entry_id

from attestlog._internal import places
from attestlog._internal.core import canonical
from attestlog._internal.core.hashes import hex_hash
from attestlog._internal.core.report import Cosigner, Report, Verdict
from attestlog._internal.verifying import judge_log
from attestlog._internal.verifying import memory as remember_module
from attestlog._internal.verifying.session import judge_age
from attestlog.errors import MalformedConfigError, NoHomeError, NotFoundError, QueryError, StorageError

# --- memory ---


def test_a_tail_cut_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out(size=4)
    verify(log, tmp_path)
    del log.lines[10:]
    log.lay_out(size=4)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.TRUNCATED, [("memory.ahead", None)])
    assert (report.findings[0].expected, report.findings[0].found) == (11, 10)
    assert report.remembered_size is None


def test_a_history_rewritten_is_seen_by_who_remembers(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    log.append(draft(20))
    log.reseal(7, action_payload={})
    log.lay_out()
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("memory.root", None)])


def two_of(origin: str, tmp_path: Path) -> tuple[LogMaker, LogMaker]:
    """Two logs of one origin, laid out."""
    both = make(tmp_path / "one", origin=origin), make(tmp_path / "other", origin=origin, first_id=500)
    for log in both:
        log.lay_out()
    return both


def test_another_log_of_the_same_origin_is_seen_by_who_remembers(tmp_path: Path) -> None:
    one, other = two_of(OWNED, tmp_path)
    verify(one, tmp_path)
    report = verify(other, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("memory.genesis", 0)])


def test_under_an_examples_name_there_are_many_logs_and_each_is_remembered(tmp_path: Path) -> None:
    both = two_of("example.com/agents", tmp_path)
    for remembered in (None, 11):
        for log in both:
            report = verify(log, tmp_path)
            assert (report.findings, report.remembered_size) == ([], remembered)
    assert len(list((tmp_path / "state").glob("*.json"))) == 2
    for log in both:
        whole = list(log.lines)
        del log.lines[10:]
        log.lay_out()
        assert verify(log, tmp_path).verdict == Verdict.TRUNCATED
        log.lines = whole
        log.append(draft(20))
        log.reseal(7, action_payload={})
        log.lay_out()
        assert verify(log, tmp_path).verdict == Verdict.FORKED
    assert remember_module.forget(tmp_path / "state", "example.com/agents")
    assert not list((tmp_path / "state").glob("*.json"))


def test_growth_is_no_fault_and_memory_follows(log: LogMaker, tmp_path: Path) -> None:
    for number in range(3):
        assert verify(log, tmp_path).findings == []
        log.append(draft(number + 20))
        log.lay_out()
    report = verify(log, tmp_path)
    assert (report.remembered_size, report.size) == (13, 14)


def test_memory_does_not_go_backwards(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").glob("*.json"))
    before = path.read_bytes()
    log.lines.pop()
    log.lay_out()
    assert verify(log, tmp_path).verdict == Verdict.TRUNCATED
    assert path.read_bytes() == before


def test_a_log_with_a_fault_is_not_remembered(log: LogMaker, tmp_path: Path) -> None:
    log.lines[4] = log.lines[4].replace(b"T-4", b"T-x")
    log.write_entries()
    verify(log, tmp_path)
    assert not (tmp_path / "state").exists()


def test_without_remembering_nothing_is_read_or_written(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path, remember=False)
    assert not (tmp_path / "state").exists()
    verify(log, tmp_path)
    log.lines.pop()
    log.lay_out()
    report = verify(log, tmp_path, remember=False)
    assert (report.verdict, report.remembered_size) == (Verdict.VERIFIED, None)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"\xff", b'{"format_version":2}', b"x" * 100],
)
def test_memory_that_cannot_be_read_is_not_no_memory(log: LogMaker, tmp_path: Path, data: bytes) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").glob("*.json"))
    path.write_bytes(data)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("memory.unreadable", None)])
    assert path.read_bytes() == data


@pytest.mark.parametrize("member", ["origin", "checkpoint", "size"])
def test_memory_that_was_changed_is_not_believed(log: LogMaker, tmp_path: Path, member: str) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").glob("*.json"))
    memory = json.loads(path.read_bytes())
    memory[member] = {"origin": "x", "checkpoint": memory["checkpoint"].replace("11", "12"), "size": 5}[
        member
    ]
    path.write_text(json.dumps(memory))
    assert verify(log, tmp_path).verdict in {Verdict.UNKNOWN, Verdict.FORKED}


def test_memory_that_is_a_directory_is_not_no_memory(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    path = next((tmp_path / "state").glob("*.json"))
    path.unlink()
    path.mkdir()
    assert codes(verify(log, tmp_path)) == [("memory.unreadable", None)]


def test_a_state_directory_that_cannot_be_is_said(log: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = verify(log, tmp_path, state_dir=tmp_path / "file" / "state")
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.not_saved", None)])


def test_a_state_directory_that_cannot_be_looked_into_is_said(
    log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(remember_module, "recall", denied)
    report = verify(log, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.not_saved", None)])


def test_where_state_is_kept(log: LogMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{hex_hash(log.origin.encode())}-{log.entry(0)['entry_hash']}.json"
    monkeypatch.delenv("ATTESTLOG_STATE")
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "own"))
    judge_log(log.root)
    assert (tmp_path / "own" / "state" / name).is_file()
    monkeypatch.setenv("ATTESTLOG_STATE", str(tmp_path / "alone"))
    judge_log(log.root)
    assert (tmp_path / "alone" / name).is_file()


def test_nowhere_to_remember_is_said(log: LogMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise NoHomeError("this user has no home directory")

    monkeypatch.setattr(places, "state_dir", homeless)
    assert codes(judge_log(log.root)) == [("memory.not_saved", None)]


def test_memory_keeps_the_signed_checkpoint(log: LogMaker, tmp_path: Path) -> None:
    log.lay_out(size=7)
    verify(log, tmp_path)
    memory = json.loads(next((tmp_path / "state").glob("*.json")).read_bytes())
    assert memory["checkpoint"].encode() == (log.root / "checkpoint").read_bytes()
    assert (memory["checkpoint_size"], memory["size"]) == (7, 11)


def test_where_it_is_kept(tmp_path: Path) -> None:
    log, _ = two_of(OWNED, tmp_path)
    verify(log, tmp_path)
    assert [path.name for path in (tmp_path / "state").glob("*.json")] == [f"{hex_hash(OWNED.encode())}.json"]


# --- trust ---


def test_each_kind_of_trust_vouches(log: LogMaker, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_text(log.key.public.pem)
    key_id, vkey, digest = log.key.public.key_id, log.checkpoint_key.vkey, log.entry(0)["entry_hash"]
    for item, named in [
        (pem, key_id), (str(pem), key_id), (log.key.public.pem, key_id), (key_id, key_id), (vkey, vkey),
        (digest, digest),
    ]:  # fmt: skip
        report = verify(log, tmp_path, trust=[item])
        assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [named])
        assert not report.self_attested


def test_one_that_vouches_suffices(log: LogMaker, tmp_path: Path) -> None:
    report = verify(log, tmp_path, trust=["0" * 64, log.key.public.key_id])
    assert (report.verdict, report.trusted_by) == (Verdict.VERIFIED, [log.key.public.key_id])


@pytest.mark.parametrize("item", ["0" * 64, CheckpointKey(2).vkey, Key(2).public.pem])
def test_a_log_that_is_not_by_the_key_asked_for(log: LogMaker, tmp_path: Path, item: str) -> None:
    report = verify(log, tmp_path, trust=[item])
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("trust.mismatch", None)])
    assert report.trusted_by == []
    assert not (tmp_path / "state").exists()


def test_a_key_that_is_named_and_did_not_sign_does_not_vouch(log: LogMaker, tmp_path: Path) -> None:
    members = log.entry(0)
    signature = Key(2).sign(bytes.fromhex(members["entry_hash"])).hex()
    log.lines[0] = canonical.encode(members | {"hsm_signature": signature})
    log.write_entries()
    report = verify(log, tmp_path, trust=[log.key.public.key_id])
    assert report.trusted_by == []
    assert codes(report) == [("entry.signature", 0), ("trust.mismatch", None)]


def test_a_checkpoint_key_whose_checkpoint_is_gone_does_not_vouch(log: LogMaker, tmp_path: Path) -> None:
    (log.root / "checkpoint").unlink()
    report = verify(log, tmp_path, trust=[log.checkpoint_key.vkey])
    assert [code for code, _ in codes(report)] == ["checkpoint.missing", "trust.mismatch"]


def test_trust_that_says_nothing_is_the_callers_mistake(log: LogMaker, tmp_path: Path) -> None:
    (tmp_path / "no-key").write_text("hello")
    with pytest.raises(MalformedConfigError):
        verify(log, tmp_path, trust=[tmp_path / "no-key"])
    with pytest.raises(MalformedConfigError):
        verify(log, tmp_path, trust=["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
    with pytest.raises(NotFoundError):
        verify(log, tmp_path, trust=["nobody"])
    with pytest.raises(NotFoundError):
        verify(log, tmp_path, trust=["no\0body"])
    with pytest.raises(StorageError):
        verify(log, tmp_path, trust=[tmp_path])


# --- resuming ---


@pytest.mark.parametrize("start", range(1, 12))
def test_resuming(log: LogMaker, tmp_path: Path, start: int) -> None:
    verify(log, tmp_path)
    log.append(draft(20), draft(21, dependencies=[entry_id(999)]))
    log.lay_out()
    report = verify(log, tmp_path, start=start)
    assert (report.verdict, report.findings) == (Verdict.VERIFIED, [])
    assert (report.size, report.remembered_size, report.checkpoint_size) == (13, 11, 13)
    assert report.root == log.head.edge.root().hex()


def test_resuming_does_not_read_what_is_before(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    verify(log, tmp_path)
    log.segment(3).write_bytes(b"x" * 100)
    assert verify(log, tmp_path, start=7).findings == []
    assert verify(log, tmp_path, start=5).verdict != Verdict.VERIFIED


def test_resuming_sees_what_is_tampered_with_after(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    log.lines[4] = log.lines[4].replace(b"T-4", b"T-x")
    log.write_entries()
    assert codes(verify(log, tmp_path, start=3)) == [("entry.action_hash", 4)]
    log.reseal(4)
    log.write_entries()
    assert verify(log, tmp_path, start=3).verdict == Verdict.TAMPERED


def test_resuming_where_entries_are_gone(tmp_path: Path) -> None:
    log = segmented(tmp_path)
    verify(log, tmp_path)
    for count in range(10, 2, -1):
        del log.lines[count:]
        log.write_entries()
        report = verify(log, tmp_path, start=9)
        assert report.verdict == Verdict.TRUNCATED
        assert {"memory.ahead", "checkpoint.ahead", "tree.longer"} <= set(report.finding_counts)


def test_resuming_needs_a_stored_tree_that_leads_to_the_remembered_root(
    log: LogMaker, tmp_path: Path
) -> None:
    verify(log, tmp_path)
    path = log.root / "tree" / "0"
    whole = path.read_bytes()
    path.write_bytes(bytes(32) + whole[32:])
    report = verify(log, tmp_path, start=7)
    assert report.verdict == Verdict.TAMPERED  # the log's own checkpoint is not met either
    assert ("resume.tree", None) in codes(report)
    path.write_bytes(whole[:32])
    report = verify(log, tmp_path, start=7)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("resume.tree", 7)])


def test_resuming_where_it_cannot_be_asked_for(log: LogMaker, tmp_path: Path) -> None:
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=1)
    verify(log, tmp_path)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=12)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=-1)
    with pytest.raises(QueryError):
        verify(log, tmp_path, start=1, remember=False)


def test_resuming_with_memory_that_cannot_be_relied_on(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    next((tmp_path / "state").glob("*.json")).write_bytes(b"")
    report = verify(log, tmp_path, start=5)
    assert (report.verdict, codes(report)) == (Verdict.UNKNOWN, [("memory.unreadable", None)])


# --- two verifications at once ---


def while_the_other_is_read(log: LogMaker, other: LogMaker, tmp_path: Path) -> Report:
    """Verify `log`; when all of it is read, and before that is remembered, `other` is verified."""
    done: list[Report] = []

    def progress(some: int, total: int) -> None:
        if some == total and not done:
            done.append(verify(other, tmp_path))

    report = verify(log, tmp_path, progress=progress)
    assert done[0].verdict == Verdict.VERIFIED
    return report


@pytest.mark.parametrize("size", [8, 11, 12])
@pytest.mark.parametrize("origin", ["example.com/made", OWNED])
def test_of_two_forks_verified_at_once_the_second_is_a_fork(tmp_path: Path, size: int, origin: str) -> None:
    log, other = make(tmp_path / "one", origin=origin), make(tmp_path / "other", origin=origin)
    if size > 11:
        other.append(draft(11))
    other.reseal(7, action_payload={})
    del other.lines[size:]
    for each in (log, other):
        each.lay_out()
    report = while_the_other_is_read(log, other, tmp_path)
    wanted = (Verdict.TRUNCATED, "memory.ahead") if size > 11 else (Verdict.FORKED, "memory.root")
    assert (report.verdict, codes(report)[0][0]) == wanted
    assert verify(other, tmp_path).verdict == Verdict.VERIFIED, "what was remembered first stays"


def test_another_log_of_the_name_verified_at_once_is_a_fork(tmp_path: Path) -> None:
    report = while_the_other_is_read(*two_of(OWNED, tmp_path), tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.FORKED, [("memory.genesis", 0)])


@pytest.mark.parametrize("more", [0, 1, 40])
def test_a_log_that_grows_while_it_is_verified_twice_is_sound(
    log: LogMaker, tmp_path: Path, more: int
) -> None:
    grown: list[Report] = []

    def progress(some: int, total: int) -> None:
        if some == total and not grown:
            if more:
                log.append(*drafts(range(20, 20 + more)))
                log.lay_out()
            grown.append(verify(log, tmp_path))

    report = verify(log, tmp_path, progress=progress)
    assert [(each.verdict, each.findings) for each in (report, *grown)] == [(Verdict.VERIFIED, [])] * 2
    assert verify(log, tmp_path).remembered_size == 11 + more


# --- who vouched ---


def test_a_key_that_is_given_beats_a_memory_that_nobody_vouched_for(tmp_path: Path) -> None:
    true, strange = two_of(OWNED, tmp_path)
    trust = [true.checkpoint_key.vkey, true.entry(0)["entry_hash"]]
    assert verify(strange, tmp_path).verdict == Verdict.VERIFIED
    assert codes(verify(true, tmp_path)) == [("memory.genesis", 0)]
    assert codes(verify(true, tmp_path, trust=["0" * 64])) == [
        ("trust.mismatch", None), ("memory.genesis", 0),
    ]  # fmt: skip
    report = verify(true, tmp_path, trust=trust[1:])
    assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.replaced", 0)])
    assert (verify(true, tmp_path).findings, verify(true, tmp_path).remembered_size) == ([], 11)
    # And not the other way round: what is remembered now was vouched for.
    for some in ([], [strange.entry(0)["entry_hash"]]):
        assert codes(verify(strange, tmp_path, trust=some)) == [("memory.genesis", 0)]


def test_who_vouched_stays_known(log: LogMaker, tmp_path: Path) -> None:
    def vouched() -> list[str]:
        memory = remember_module.recall(tmp_path / "state", log.origin, log.entry(0)["entry_hash"])
        assert memory is not None
        return memory.trusted_by

    verify(log, tmp_path)
    assert vouched() == []
    verify(log, tmp_path, trust=[log.checkpoint_key.vkey])
    log.append(draft(20))
    log.lay_out()
    verify(log, tmp_path)
    assert vouched() == [log.checkpoint_key.vkey]


def test_another_log_at_the_same_place_is_said(tmp_path: Path) -> None:
    """Until a key that was given vouches for it, or the first one is forgotten."""
    first = make(tmp_path / "log", origin=OWNED)
    first.lay_out()
    alike = make(tmp_path / "log", origin=OWNED.replace("l", "1", 1), first_id=500)
    assert verify(first, tmp_path).findings == []
    alike.lay_out()
    for _ in range(2):
        report = verify(alike, tmp_path)
        assert (report.verdict, codes(report)) == (Verdict.VERIFIED, [("memory.place", None)])
        assert (report.findings[0].expected, report.findings[0].found) == (OWNED, alike.origin)
    assert remember_module.forget(tmp_path / "state", OWNED)
    assert verify(alike, tmp_path).findings == []
    first.lay_out()
    trust = [first.entry(0)["entry_hash"]]
    assert codes(verify(first, tmp_path, trust=trust)) == [("memory.place", None)]
    assert verify(first, tmp_path).findings == []


def test_what_cannot_be_read_of_a_place_is_said(log: LogMaker, tmp_path: Path) -> None:
    verify(log, tmp_path)
    (path,) = (tmp_path / "state" / "places").iterdir()
    path.write_bytes(b"{")
    assert codes(verify(log, tmp_path)) == [("memory.not_saved", None)]


def test_a_log_that_nothing_dates_late_enough_is_unknown(log: LogMaker, tmp_path: Path) -> None:
    """An older copy, cosigned as it was, is sound: only its age shows that there may be a later one."""
    for age_s, wanted in ((60.0, [("log.age", None)]), (1e9, []), (None, [])):
        report = verify(log, tmp_path, max_age_s=age_s)
        assert codes(report) == wanted
        assert report.verdict == (Verdict.UNKNOWN if wanted else Verdict.VERIFIED)


@pytest.mark.parametrize(
    "stamped, cosigned, quorum, last, is_young",
    [
        (None, None, True, None, False), (None, None, True, 5, True), (None, 5, True, 99, True),
        (None, 5, False, 99, False), (5, None, True, 99, True), (99, 99, True, 99, False),
    ],
)  # fmt: skip
def test_what_dates_a_log(
    stamped: int | None, cosigned: int | None, quorum: bool, last: int | None, is_young: bool
) -> None:
    now = time.time()
    report = Report(finding_counts={} if quorum else {"trust.quorum": 1})
    if stamped is not None:
        report.timestamped_at = datetime.fromtimestamp(now - stamped, UTC).isoformat()
    if cosigned is not None:
        report.cosigned_by = [Cosigner(name="w", vkey="", timestamp=int(now - cosigned))]
    found = list(judge_age(report, 50, None if last is None else now - last))
    assert [item.code for item in found] == ([] if is_young else ["log.age"])
    assert not list(judge_age(report, None))
